/**
 * The driver's functions that Octet calls, behind the interface {@link dev.octet.cuda.driver.Driver} with handles as
 * {@code long}; {@link dev.octet.cuda.driver.NativeDriver} is the driver's own library. Not exported.
 */
@NullMarked
package dev.octet.cuda.driver;

import org.jspecify.annotations.NullMarked;
