/**
 * NVIDIA GPUs for kernels written in CUDA C++: {@link dev.octet.cuda.Cuda} says whether there is one,
 * {@link dev.octet.cuda.CudaDevice} is one, {@link dev.octet.cuda.CudaStream} orders its work,
 * {@link dev.octet.cuda.KernelSource} becomes a {@link dev.octet.cuda.CudaKernel}, and a
 * {@link dev.octet.cuda.KernelLaunch} is a call of it that is prepared once and made often.
 *
 * <p>A tensor on a GPU is {@link dev.octet.core.Tensor#allocate(dev.octet.core.Device, dev.octet.core.DType,
 * dev.octet.core.Shape) Tensor.allocate(Device.cuda(0), ...)}; its {@code address()} is the device pointer that kernels
 * take.
 */
@NullMarked
package dev.octet.cuda;

import org.jspecify.annotations.NullMarked;
