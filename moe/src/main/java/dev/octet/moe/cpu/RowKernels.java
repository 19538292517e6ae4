package dev.octet.moe.cpu;

/**
 * Loops over rows with unit stride, at addresses. Implementations give the same bits. A row of BF16 is rounded to
 * nearest, ties to even, when it is written; a NaN becomes the quiet one with its sign.
 */
interface RowKernels {
    /**
     * Makes a row the weighted sum of others, in FP32 from +0 on, with a fused multiply-add for each in their order.
     *
     * @param rows where the rows are
     * @param weights theirs
     * @param count how many there are; there may be more elements in the arrays
     * @param bf16 whether the rows are BF16, not F32
     * @param out where the sum goes
     * @param outBf16 whether it is BF16
     * @param first the first column
     * @param end the column behind the last
     */
    void sum(long[] rows, float[] weights, int count, boolean bf16, long out, boolean outBf16, int first, int end);

    /** Makes columns of a row those of another one times a weight. */
    void scale(long row, float weight, long out, boolean bf16, int first, int end);

    /** Copies a row. */
    void copy(long row, long out, long bytes);

    /** Reads a row. */
    void load(long row, boolean bf16, float[] x, int n);
}
