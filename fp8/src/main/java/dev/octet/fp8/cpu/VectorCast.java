package dev.octet.fp8.cpu;

import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Overflow;

final class VectorCast {
    private VectorCast() {}

    static void cast(Tensor source, Tensor target, Overflow overflow, CpuPool pool) {
        throw new UnsupportedOperationException();
    }
}
