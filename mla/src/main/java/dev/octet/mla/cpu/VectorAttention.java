package dev.octet.mla.cpu;

/** Attention of backend {@code cpu}, apart so that the backend's class loads without the Vector API. */
final class VectorAttention {
    static final CpuAttention CPU = new CpuAttention(VectorAttentionKernels.KERNELS);

    private VectorAttention() {}
}
