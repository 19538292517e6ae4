package dev.octet.mla.reference;

import dev.octet.mla.AttentionOptions;
import dev.octet.mla.reference.ReferenceAttention.Result;

/**
 * How far attention in FP32 may be from {@link ReferenceAttention}, whatever the data: the worst case of its roundings,
 * to all orders, derived step by step in the module's README. It holds as long as no score and no sum overflows FP32.
 *
 * <p>Bounds are for results before their last rounding, to their own type. They are 0 for a query that sees nothing,
 * whose result is exact, and NaN where the result is.
 */
public final class AttentionError {
    /** Unit roundoff of FP32. */
    private static final double U = 0x1p-24;
    /** FP32's exponential is within 2 units in the last place, which are at most 4 {@link #U}. */
    private static final double EXP = 4 * U;
    /** Kernels add up at most so many products, then the sums of such blocks. */
    private static final int BLOCK = 128;
    /** Kernels rescale their sums after at least so many keys. */
    private static final int LEAST_KEYS = 64;

    private AttentionError() {}

    /** What the two products of attention are made of. */
    public enum Products {
        /** FP32 operands, FP32 sums. */
        FP32(1, 0, 0x1p-124),
        /**
         * Queries and weights are sums of two BF16 numbers, so that each product is two; keys and values are BF16, or
         * E4M3 with a scale that multiplies sums and weights. Sums are FP32, and subnormal numbers are 0.
         */
        SPLIT_BF16(2, 0x1p-17, 0x1p-116);

        /** Additions for each product. */
        private final int terms;
        /** What is left of a number once the largest BF16 numbers were taken away, in relation to it. */
        private final double rest;
        /** Below this an exponential may be 0, or a product subnormal, in relation to a value. */
        private final double underflow;

        Products(int terms, double rest, double underflow) {
            this.terms = terms;
            this.rest = rest;
            this.underflow = underflow;
        }

        /** Roundings that a term of a dot product meets: decoding, product, additions, scale and base of exponent. */
        private int scoreRoundings(int n) {
            return terms * Math.min(n, BLOCK) + Math.ceilDiv(n, BLOCK) + 6 * terms;
        }

        /** Roundings that a term of a weighted sum meets: product, additions, rescaling, the sum's own factor. */
        private int sumRoundings(int n) {
            return terms * Math.min(n, BLOCK) + 2 * Math.ceilDiv(n, LEAST_KEYS) + 4 * terms;
        }
    }

    /**
     * The largest possible distances, and those that are not to be expected on data without structure.
     *
     * @param out of each query's outputs
     * @param lse of each query's log-sum-exp
     * @param likely of each query's outputs, if roundings are independent and as often up as down: six deviations
     */
    public record Bound(double[][] out, double[] lse, double[][] likely) {}

    /** {@code (1 + u)^n - 1} is at most this (Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1). */
    private static double gamma(int n) {
        return n * U / (1 - n * U);
    }

    /**
     * {@return bounds for one head's {@link ReferenceAttention#attend}}
     *
     * @param queries as there
     * @param keys as there
     * @param values as there
     * @param valueDim as there
     * @param options as there
     * @param exact what it gave
     * @param products what the kernel in question multiplies
     */
    public static Bound attend(double[][] queries, double[][] keys, double[][] values, int valueDim,
            AttentionOptions options, Result exact, Products products) {
        double[][] out = new double[queries.length][valueDim];
        double[][] likely = new double[queries.length][valueDim];
        double[] lse = new double[queries.length];
        for (int i = 0; i < queries.length; i++) {
            long position = (long) keys.length - queries.length + i;
            int first = Math.toIntExact(options.firstKey(position));
            int end = Math.toIntExact(options.endKey(position, keys.length));
            if (first < end) {
                lse[i] = row(queries[i], keys, values, first, end, options.scale(), exact.out()[i], exact.lse()[i],
                        out[i], products);
                likely(queries[i], keys, values, first, end, options.scale(), exact.out()[i], exact.lse()[i],
                        likely[i], products);
            }
        }
        return new Bound(out, lse, likely);
    }

    /** Fills in one query's bounds and returns that of its log-sum-exp. */
    private static double row(double[] query, double[][] keys, double[][] values, int first, int end, double scale,
            double[] exactOut, double exactLse, double[] out, Products products) {
        int n = end - first;
        double[] weights = new double[n];
        double[] magnitudes = new double[n];
        double largest = 0;
        for (int j = 0; j < n; j++) {
            double score = 0;
            double magnitude = 0;
            for (int c = 0; c < query.length; c++) {
                double product = query[c] * keys[first + j][c];
                score += product;
                magnitude += Math.abs(product);
            }
            weights[j] = Math.exp(scale * score - exactLse);
            magnitudes[j] = score == Double.NEGATIVE_INFINITY ? 0 : scale * magnitude; // a weight of exactly 0
            largest = Math.max(largest, magnitudes[j]);
        }
        // Every number that is ever an exponent is at most so large.
        double exponent = largest + Math.log(n);
        double scoreError = gamma(products.scoreRoundings(query.length)) + products.rest;
        double weightError = 12 * U * exponent + EXP * (Math.ceilDiv(n, LEAST_KEYS) + 2);
        double sumError = gamma(products.sumRoundings(n));
        double splitError = products.rest * (1 + sumError);
        double low = 0;
        double high = 0;
        for (int j = 0; j < n; j++) {
            double e = scoreError * magnitudes[j] + weightError;
            low += weights[j] * Math.exp(-e);
            high += weights[j] * Math.exp(e);
            double shift = weights[j] * Math.expm1(e);
            double rounding = (2 * sumError + splitError) / (1 - sumError) * weights[j] * Math.exp(e);
            for (int c = 0; c < out.length; c++) {
                double v = values[first + j][c];
                out[c] += shift * Math.abs(v - exactOut[c]) + rounding * Math.abs(v)
                        + products.underflow * (1 + Math.abs(v) + Math.abs(exactOut[c]));
            }
        }
        for (int c = 0; c < out.length; c++) {
            out[c] /= low;
        }
        return Math.max(Math.log(high), -Math.log(low)) + sumError / (1 - sumError) + 4 * U * exponent
                + products.underflow * n;
    }

    /** Six deviations of the sum of all roundings, each as if it were as large as it can be but of either sign. */
    private static void likely(double[] query, double[][] keys, double[][] values, int first, int end, double scale,
            double[] exactOut, double exactLse, double[] likely, Products products) {
        int n = end - first;
        int dim = likely.length;
        double[] shift = new double[dim];
        double[] squares = new double[dim];
        double[] stretch = new double[dim];
        double[] own = new double[dim]; // where values are keys
        double ofAll = EXP * EXP * (Math.ceilDiv(n, LEAST_KEYS) + 2);
        for (int j = first; j < end; j++) {
            double score = 0;
            double square = 0;
            for (int c = 0; c < query.length; c++) {
                double product = scale * query[c] * keys[j][c];
                score += product;
                square += product * product;
            }
            double weight = Math.exp(score - exactLse);
            // Partial sums are as large as the score or as a sum of terms of random signs.
            double variance = U * U * (products.scoreRoundings(query.length) * (score * score + square)
                    + 9 * (score - exactLse) * (score - exactLse)) + products.rest * products.rest * square + ofAll;
            for (int c = 0; c < dim; c++) {
                double from = weight * (values[j][c] - exactOut[c]);
                shift[c] += variance * from * from;
                squares[c] += weight * values[j][c] * (weight * values[j][c]);
                stretch[c] += (score - exactLse) * from;
                own[c] += (c < query.length ? keys[j][c] : 0) * from;
            }
        }
        for (int c = 0; c < dim; c++) {
            double sums = U * U * products.sumRoundings(n) * (2 * exactOut[c] * exactOut[c] + squares[c])
                    + products.rest * products.rest * squares[c];
            // All exponents have the same rounded factor, and all scores the same rest of the query.
            likely[c] = 6 * Math.sqrt(shift[c] + sums) + 2 * U * Math.abs(stretch[c]) + products.underflow * n
                    + (c < query.length ? products.rest * Math.abs(scale * query[c] * own[c]) : 0);
        }
    }

    /**
     * Bounds for {@link ReferenceAttention#merge} of one query's results.
     *
     * @param outA as there
     * @param lseA as there
     * @param outB as there
     * @param lseB as there
     * @param exactOut what it gave
     * @param bound where those of the outputs go
     * @return that of the log-sum-exp
     */
    public static double merge(double[] outA, double lseA, double[] outB, double lseB, double[] exactOut,
            double[] bound) {
        if (lseA == Double.POSITIVE_INFINITY || lseB == Double.POSITIVE_INFINITY) {
            return 0; // the other one, as it is
        }
        double max = Math.max(lseA, lseB);
        double lse = max + Math.log(Math.exp(lseA - max) + Math.exp(lseB - max));
        double exponent = Math.max(finite(lseA), finite(lseB)) + 1;
        double e = 4 * U * exponent + 2 * EXP;
        for (int c = 0; c < bound.length; c++) {
            double a = Math.exp(lseA - lse);
            double b = Math.exp(lseB - lse);
            bound[c] = (Math.expm1(e) * (a * Math.abs(outA[c] - exactOut[c]) + b * Math.abs(outB[c] - exactOut[c]))
                    + gamma(8) * Math.exp(e) * (a * Math.abs(outA[c]) + b * Math.abs(outB[c]))) / Math.exp(-e)
                    + Products.FP32.underflow * (1 + Math.abs(outA[c]) + Math.abs(outB[c]));
        }
        return 4 * U * exponent + 2 * EXP;
    }

    /** The exponential of -Infinity is exactly 0. */
    private static double finite(double lse) {
        return lse == Double.NEGATIVE_INFINITY ? 0 : Math.abs(lse);
    }
}
