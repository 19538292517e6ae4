package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.mla.reference.AttentionError;
import dev.octet.mla.reference.AttentionError.Products;
import dev.octet.mla.reference.ReferenceAttention;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * What attention has to give for all tokens and heads: every value before its last rounding must lie within
 * {@link AttentionError}'s bound around {@link ReferenceAttention}'s value. That rounding is monotonic, so that the
 * value must lie between the roundings of the interval's two ends.
 */
final class ExpectedAttention {
    private final double[][][] out;
    private final double[][][] outBound;
    private final double[][][] likely;
    private final double[][] lse;
    private final double[][] lseBound;
    private final Products products;

    /** @param products what the kernels under test multiply */
    ExpectedAttention(int tokens, int heads, Products products) {
        this(products, new double[tokens][heads][], new double[tokens][heads][], new double[tokens][heads][],
                new double[tokens][heads], new double[tokens][heads]);
    }

    private ExpectedAttention(Products products, double[][][] out, double[][][] outBound, double[][][] likely,
            double[][] lse, double[][] lseBound) {
        this.products = products;
        this.out = out;
        this.outBound = outBound;
        this.likely = likely;
        this.lse = lse;
        this.lseBound = lseBound;
    }

    /** Adds one head of one sequence, whose first query is token {@code first}; several threads may, of several heads. */
    void add(int first, int head, double[][] queries, double[][] keys, double[][] values, int valueDim,
            AttentionOptions options) {
        ReferenceAttention.Result exact = ReferenceAttention.attend(queries, keys, values, valueDim, options);
        AttentionError.Bound bound = AttentionError.attend(queries, keys, values, valueDim, options, exact, products);
        for (int i = 0; i < queries.length; i++) {
            out[first + i][head] = exact.out()[i];
            outBound[first + i][head] = bound.out()[i];
            likely[first + i][head] = bound.likely()[i];
            lse[first + i][head] = exact.lse()[i];
            lseBound[first + i][head] = bound.lse()[i];
        }
    }

    /** Some of the tokens. */
    ExpectedAttention part(int from, int to) {
        return new ExpectedAttention(products, Arrays.copyOfRange(out, from, to),
                Arrays.copyOfRange(outBound, from, to), Arrays.copyOfRange(likely, from, to),
                Arrays.copyOfRange(lse, from, to), Arrays.copyOfRange(lseBound, from, to));
    }

    /** One token's outputs of one head. */
    double[] out(int token, int head) {
        return out[token][head];
    }

    /** What its outputs may be off by. */
    double[] outBound(int token, int head) {
        return outBound[token][head];
    }

    double lse(int token, int head) {
        return lse[token][head];
    }

    double lseBound(int token, int head) {
        return lseBound[token][head];
    }

    /** The whole result of random data, whose roundings have no reason to push the same way. */
    void checkRandom(String what, Layout.Placed actual, Layout.@Nullable Placed actualLse) {
        compare(what + ", the likely bound", actual, null, likely);
        check(what, actual, actualLse);
    }

    /** The whole result, and that nothing around it was touched. Erases it. */
    void check(String what, Layout.Placed actual, Layout.@Nullable Placed actualLse) {
        compare(what, actual, actualLse, outBound);
        assertTrue(actual.surroundingsUntouched(), what + ": memory around out was written");
        assertTrue(actualLse == null || actualLse.surroundingsUntouched(), what + ": memory around lse was written");
    }

    private void compare(String what, Layout.Placed actual, Layout.@Nullable Placed actualLse, double[][][] bounds) {
        DType dtype = actual.view().dtype();
        float[] values = actual.view().toFloatArray();
        float[] lses = actualLse == null ? null : actualLse.view().toFloatArray();
        int at = 0;
        for (int t = 0; t < out.length; t++) {
            for (int h = 0; h < out[t].length; h++) {
                for (int c = 0; c < out[t][h].length; c++) {
                    within(what, "out", t, h, c, values[at++], out[t][h][c], bounds[t][h][c], dtype);
                }
                if (lses != null) {
                    within(what, "lse", t, h, 0, lses[t * out[t].length + h], lse[t][h], lseBound[t][h], DType.F32);
                }
            }
        }
    }

    private static void within(String what, String tensor, int t, int h, int c, float actual, double exact,
            double bound, DType dtype) {
        boolean fits;
        if (Double.isNaN(exact)) {
            fits = Float.isNaN(actual);
        } else if (Double.isInfinite(exact)) {
            fits = actual == exact;
        } else {
            fits = round(exact - bound, dtype) <= actual && actual <= round(exact + bound, dtype);
        }
        if (!fits) {
            fail(String.format("%s: %s[%d, %d, %d] is %s, it must be %s +- %s, off by %s", what, tensor, t, h, c,
                    actual, exact, bound, Math.abs(actual - exact)));
        }
    }

    /** To FP32 first: an interval's end may be rounded twice, since a kernel's FP32 value is, too. */
    static float round(double value, DType dtype) {
        float f = (float) value;
        return dtype == DType.BF16 ? BFloat16.toFloat(BFloat16.fromFloat(f)) : f;
    }

    /** The largest bound in relation to the largest output: to see that a bound means something. */
    double relativeBound() {
        double largest = 0;
        double largestBound = 0;
        for (int t = 0; t < out.length; t++) {
            for (int h = 0; h < out[t].length; h++) {
                for (int c = 0; c < out[t][h].length; c++) {
                    largest = Math.max(largest, Math.abs(out[t][h][c]));
                    largestBound = Math.max(largestBound, outBound[t][h][c]);
                }
            }
        }
        return largest == 0 ? 0 : largestBound / largest;
    }

    /** The rows of one head: {@code values} are {@code [tokens, heads, dim]}. */
    static double[][] head(float[] values, int heads, int dim, int first, int count, int head) {
        double[][] rows = new double[count][dim];
        for (int i = 0; i < count; i++) {
            for (int c = 0; c < dim; c++) {
                rows[i][c] = values[((first + i) * heads + head) * dim + c];
            }
        }
        return rows;
    }
}
