/**
 * What an implementation of the FP8 operations provides to be found through {@link java.util.ServiceLoader}.
 */
@NullMarked
package dev.octet.fp8.spi;

import org.jspecify.annotations.NullMarked;
