/**
 * Backend {@code cuda}: prepares and launches the kernels of the {@code .cu} files among this package's resources. What
 * prepares a launch knows no GPU, only a {@link dev.octet.fp8.cuda.Launcher}, so that tests run the same code with
 * kernels that a host compiler has built. Not exported.
 */
@NullMarked
package dev.octet.fp8.cuda;

import org.jspecify.annotations.NullMarked;
