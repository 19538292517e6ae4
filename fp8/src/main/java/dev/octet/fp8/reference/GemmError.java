package dev.octet.fp8.reference;

import dev.octet.core.Tensor;
import dev.octet.fp8.Granularity;

/** How far GEMM results may be, and are, from the exact ones. */
public final class GemmError {
    /** Unit roundoff of FP32. */
    private static final double U = 0x1p-24;
    /** Half the smallest FP32 subnormal: the most that one rounding to a subnormal number changes. */
    private static final double ETA = 0x1p-150;

    private GemmError() {}

    /**
     * {@return the largest possible distance between an FP32 GEMM's sum and the exact one, whatever the order in which
     * the 128 products of a block are added}
     *
     * <p>With {@code u = 2^-24} it is {@code u * (127 + blocks + 4) * magnitude}: at most 127 roundings add up a block's
     * exact products, one rounds {@code sA*sB}, one the product with the sum, at most {@code blocks - 1} the sum over
     * blocks; what is left of the 4 covers products of these errors. A second term, {@code 2^-149 * (codeMagnitude +
     * blocks)}, is there for scales so small that {@code sA*sB} (off by 2<sup>-150</sup>, times a block's sum) or its
     * product with a sum (off by 2<sup>-150</sup>) is subnormal. The bound holds as long as nothing overflows FP32.
     *
     * @param depth K
     * @param magnitude {@code SUM |A*B| * |sA*sB|} of the element
     * @param codeMagnitude {@code SUM |A*B|} of the element, without scales
     */
    public static double bound(long depth, double magnitude, double codeMagnitude) {
        long blocks = Math.ceilDiv(depth, (long) Granularity.BLOCK);
        return U * (127 + blocks + 4) * magnitude + 2 * ETA * (codeMagnitude + blocks);
    }

    /**
     * {@return {@code 1 - 2 * SUM x*y / SUM (x*x + y*y)} in double, the metric of DeepGEMM's tests: 0 for equal tensors,
     * about half the squared relative error for close ones; 0 if both are all zero}
     *
     * @param x F32, BF16 or F16
     * @param y F32, BF16 or F16, of the same shape
     * @throws IllegalArgumentException if the shapes differ or a dtype is no float
     */
    public static double calcDiff(Tensor x, Tensor y) {
        if (!x.shape().equals(y.shape())) {
            throw new IllegalArgumentException("y has shape " + y.shape() + ", it must be " + x.shape());
        }
        return calcDiff(widen(x.toFloatArray()), widen(y.toFloatArray()));
    }

    /**
     * {@return the same for arrays}
     *
     * @param x values
     * @param y as many
     * @throws IllegalArgumentException if the lengths differ
     */
    public static double calcDiff(double[] x, double[] y) {
        if (x.length != y.length) {
            throw new IllegalArgumentException("y has " + y.length + " elements, x has " + x.length);
        }
        double product = 0;
        double squares = 0;
        for (int i = 0; i < x.length; i++) {
            product += x[i] * y[i];
            squares += x[i] * x[i] + y[i] * y[i];
        }
        return squares == 0 ? 0 : 1 - 2 * product / squares;
    }

    private static double[] widen(float[] values) {
        double[] wide = new double[values.length];
        for (int i = 0; i < wide.length; i++) {
            wide[i] = values[i];
        }
        return wide;
    }
}
