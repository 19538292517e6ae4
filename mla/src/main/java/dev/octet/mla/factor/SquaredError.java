package dev.octet.mla.factor;

/**
 * What is needed to say how far one array is from another, and to add that up over arrays.
 *
 * @param error the sum of {@code (actual - expected)^2}
 * @param expected the sum of {@code expected^2}
 * @param actual the sum of {@code actual^2}
 */
public record SquaredError(double error, double expected, double actual) {
    /** Nothing compared yet. */
    public static final SquaredError NONE = new SquaredError(0, 0, 0);

    /** {@return {@code |actual - expected| / |expected|} with Euclidean norms; 0 if both arrays are zero} */
    public double relative() {
        return error == 0 ? 0 : Math.sqrt(error / expected);
    }

    /**
     * {@return {@code 1 - 2 x.y / (x.x + y.y)}, the measure that low-precision kernels are usually held to; 0 if both
     * arrays are zero}
     */
    public double calcDiff() {
        return error == 0 ? 0 : error / (expected + actual); // the same, without cancellation
    }

    /**
     * {@return the error over both arrays of this comparison and both of another}
     *
     * @param other the other comparison
     */
    public SquaredError plus(SquaredError other) {
        return new SquaredError(error + other.error, expected + other.expected, actual + other.actual);
    }

    /** Compares columns {@code from} to {@code to} of two matrices of the same shape. */
    static SquaredError between(Matrix64 expected, Matrix64 actual, int from, int to) {
        double error = 0;
        double ee = 0;
        double aa = 0;
        for (int r = 0; r < expected.rows(); r++) {
            for (int i = r * expected.columns() + from; i < r * expected.columns() + to; i++) {
                double e = expected.data()[i];
                double a = actual.data()[i];
                error += (a - e) * (a - e);
                ee += e * e;
                aa += a * a;
            }
        }
        return new SquaredError(error, ee, aa);
    }
}
