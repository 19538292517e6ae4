/**
 * The CPU backends: Vector API kernels, and the scalar code that runs where the Vector API is not there.
 */
@NullMarked
package dev.octet.fp8.cpu;

import org.jspecify.annotations.NullMarked;
