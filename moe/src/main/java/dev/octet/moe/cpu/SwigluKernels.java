package dev.octet.moe.cpu;

/** Loops over one row, or one block of it. Implementations give the same bits. */
interface SwigluKernels {
    /**
     * {@code h = g / (1 + exp(-g)) * u * weight}, in this order, each operation rounded to FP32; {@link ScoreMath} has
     * the exponential.
     *
     * @param gate address of the n floats g
     * @param up address of the n floats u
     */
    void activate(long gate, long up, float weight, float[] h, int n);

    /** {@return the bits of the largest magnitude; those of a NaN if there is one} */
    int maxBits(float[] h, int at, int n);

    /** Casts n finite products {@code h * factor} to E4M3, saturating, and writes them to an address. */
    void encode(float[] h, int at, float factor, long codes, int n);
}
