package dev.octet.moe.cpu;

/** Loops over one row with unit stride, at an address. Implementations give the same bits. */
interface RowKernels {
    /** Adds {@code weight * row} to the sums, fused. */
    void add(long row, boolean bf16, float weight, float[] sums, int n);

    /** Reads a row. */
    void load(long row, boolean bf16, float[] x, int n);

    /** Writes a row, rounded to nearest, ties to even, where it is BF16; a NaN becomes the quiet one with its sign. */
    void store(float[] x, long row, boolean bf16, int n);
}
