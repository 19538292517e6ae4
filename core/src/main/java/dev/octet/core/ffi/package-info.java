/**
 * Native libraries of CPU kernels: how they are found, loaded, checked and called through {@link java.lang.foreign}.
 */
@NullMarked
package dev.octet.core.ffi;

import org.jspecify.annotations.NullMarked;
