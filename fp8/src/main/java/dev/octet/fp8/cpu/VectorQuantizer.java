package dev.octet.fp8.cpu;

import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.ScaledTensor;

final class VectorQuantizer {
    private VectorQuantizer() {}

    static void quantize(Tensor source, ScaledTensor target, CpuPool pool) {
        throw new UnsupportedOperationException();
    }

    static void dequantize(ScaledTensor source, Tensor target, CpuPool pool) {
        throw new UnsupportedOperationException();
    }

    static void requantize(ScaledTensor source, ScaledTensor target, CpuPool pool) {
        throw new UnsupportedOperationException();
    }
}
