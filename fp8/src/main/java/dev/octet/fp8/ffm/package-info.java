/**
 * Kernels in C for the instruction sets that the Vector API does not reach, called through {@link java.lang.foreign}.
 */
@NullMarked
package dev.octet.fp8.ffm;

import org.jspecify.annotations.NullMarked;
