package dev.octet.fp8.reference;

import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaledTensor;

final class ReferenceQuantizer {
    private ReferenceQuantizer() {}

    static void cast(Tensor source, Tensor target, Overflow overflow, CpuPool pool) {
        throw new UnsupportedOperationException();
    }

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
