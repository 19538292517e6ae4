/**
 * What a module or a device implements to be found through {@link java.util.ServiceLoader}.
 */
@NullMarked
package dev.octet.core.spi;

import org.jspecify.annotations.NullMarked;
