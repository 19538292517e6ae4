package dev.octet.fp8.reference;

/**
 * What {@link ReferenceGemm#exact} returns: a matrix {@code [rows, columns]} of sums in double, row-major, and what
 * their error bounds need.
 *
 * @param rows M
 * @param columns N
 * @param depth K
 * @param sums {@code SUM over b: sA * sB * SUM over k in b: A * B}
 * @param magnitudes {@code SUM over b: |sA * sB| * SUM over k in b: |A * B|}
 * @param codeMagnitudes {@code SUM over k: |A * B|} without scales, which bounds what underflow can cost
 */
public record ExactResult(int rows, int columns, long depth, double[] sums, double[] magnitudes,
        double[] codeMagnitudes) {
    /**
     * {@return one sum}
     *
     * @param row m
     * @param column n
     */
    public double sum(int row, int column) {
        return sums[row * columns + column];
    }

    /**
     * {@return how far an FP32 GEMM's sum may be from {@link #sum}, before the epilogue and the final cast; see
     * {@link GemmError#bound}}
     *
     * @param row m
     * @param column n
     */
    public double bound(int row, int column) {
        int i = row * columns + column;
        return GemmError.bound(depth, magnitudes[i], codeMagnitudes[i]);
    }
}
