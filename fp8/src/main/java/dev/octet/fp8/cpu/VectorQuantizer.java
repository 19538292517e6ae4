package dev.octet.fp8.cpu;

import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.ScaledTensor;

/** Quantisers on the Vector API. */
final class VectorQuantizer {
    private static final TileKernels KERNELS = WarmingKernels.SHARED;

    private VectorQuantizer() {}

    static void quantize(Tensor source, ScaledTensor target, CpuPool pool) {
        new Quantization(KERNELS, new FloatTiles.OfMatrix(KERNELS, MatrixView.of(source)), target).run(pool);
    }

    static void dequantize(ScaledTensor source, Tensor target, CpuPool pool) {
        new Dequantization(KERNELS, source).run(target, pool);
    }

    static void requantize(ScaledTensor source, ScaledTensor target, CpuPool pool) {
        new Quantization(KERNELS, new FloatTiles.OfScaled(new Dequantization(KERNELS, source)), target).run(pool);
    }
}
