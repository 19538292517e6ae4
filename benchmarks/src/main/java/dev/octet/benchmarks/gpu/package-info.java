/**
 * Benchmarks of a GPU, by themselves: they need neither JMH nor LibTorch, so that they run from a bundle on a host
 * without a JDK. {@link dev.octet.benchmarks.gpu.GpuBenchmarks} is the command, {@link
 * dev.octet.benchmarks.gpu.GpuCase} what it measures, {@link dev.octet.benchmarks.gpu.GpuTimer} how.
 */
@NullMarked
package dev.octet.benchmarks.gpu;

import org.jspecify.annotations.NullMarked;
