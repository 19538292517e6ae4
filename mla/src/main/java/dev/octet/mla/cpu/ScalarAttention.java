package dev.octet.mla.cpu;

/** Attention of backend {@code scalar}. */
final class ScalarAttention {
    static final CpuAttention CPU = new CpuAttention(ScalarAttentionKernels.KERNELS);

    private ScalarAttention() {}
}
