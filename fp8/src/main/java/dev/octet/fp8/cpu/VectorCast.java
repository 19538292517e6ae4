package dev.octet.fp8.cpu;

import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Overflow;

/** Casts on the Vector API. */
final class VectorCast {
    private static final TileKernels KERNELS = WarmingKernels.SHARED;

    private VectorCast() {}

    static void cast(Tensor source, Tensor target, Overflow overflow, CpuPool pool) {
        new Cast(KERNELS, source, target, overflow).run(pool);
    }
}
