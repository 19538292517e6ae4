package dev.octet.moe.cpu;

import dev.octet.core.DType;

/**
 * Inner products of four rows with one or four others, in FP32. Lane l adds the products of elements l, l + lanes,
 * and so on, in this order; then the lanes are added. So a sum is the same whichever rows are worked on together.
 */
interface RouterKernels {
    /** Rows of either side of a tile. */
    int ROWS = 4;

    /** {@return what the length of a packed row is a multiple of} */
    int lanes();

    /**
     * Adds the products of four rows with four: {@code sums[a][b][lane]}, from {@code sumsAt}.
     *
     * @param a {@code float[ROWS][stride]}, from {@code aAt}
     * @param b {@code float[ROWS][stride]}, from {@code bAt}
     * @param length elements of a row that take part
     */
    void tile(float[] a, int aAt, float[] b, int bAt, int stride, int length, float[] sums, int sumsAt);

    /**
     * The same for one packed row and four rows in memory, side by side: {@code sums[0][b][lane]}.
     *
     * @param b address of the first row
     * @param bStride bytes from one row to the next
     * @param type F32 or BF16
     */
    void row(float[] a, int aAt, long b, long bStride, DType type, int length, float[] sums);

    /** Makes floats of BF16 values that stand side by side. */
    void widen(long row, float[] to, int at, int length);

    /** {@return the sum of the lanes, which begin at {@code at}} */
    static float add(float[] sums, int at, int lanes) {
        for (int step = lanes >> 1; step > 0; step >>= 1) {
            for (int l = 0; l < step; l++) {
                sums[at + l] += sums[at + l + step];
            }
        }
        return sums[at];
    }
}
