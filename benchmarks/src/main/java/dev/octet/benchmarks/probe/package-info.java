/**
 * Probes of the machine's limits: how many FP32 multiply-adds, how many bytes read and how many bytes copied it can do
 * in a second with a given number of threads. They are written like the kernels they are limits for: Vector API loops
 * on a {@link dev.octet.core.cpu.CpuPool}.
 */
@NullMarked
package dev.octet.benchmarks.probe;

import org.jspecify.annotations.NullMarked;
