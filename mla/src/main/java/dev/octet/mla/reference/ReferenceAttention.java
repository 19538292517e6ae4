package dev.octet.mla.reference;

import dev.octet.mla.AttentionOptions;
import java.util.Arrays;

/**
 * Multi-head latent attention in FP64, one sequence at a time: what all backends are measured against. Matrices are
 * arrays of rows; whatever belongs to a head has the head as its first index.
 *
 * <p>A query that sees nothing has the output 0 and the log-sum-exp +Infinity. A NaN in a key that a query sees, or a
 * score of +Infinity, makes its row and log-sum-exp NaN; when all scores are -Infinity the row is NaN and the
 * log-sum-exp -Infinity. What a query does not see has no influence. All methods are safe for use by several threads.
 */
public final class ReferenceAttention {
    private ReferenceAttention() {}

    /**
     * What attention gives for one head.
     *
     * @param out a row for each query
     * @param lse each query's natural logarithm of the sum of the exponentials of its scores
     */
    public record Result(double[][] out, double[] lse) {}

    /**
     * Attention of one head: {@code softmax(scale * Q * K^T) * V} over the keys that each query sees. Queries and keys
     * end together, as {@link AttentionOptions} says.
     *
     * @param queries one row for each query
     * @param keys one row for each key, as long as a query's
     * @param values one row for each key, of at least {@code valueDim} values: in the absorbed form they are the
     *     beginnings of the keys
     * @param valueDim how many values of a row count
     * @param options what a query sees
     * @return outputs of {@code valueDim} values
     */
    public static Result attend(double[][] queries, double[][] keys, double[][] values, int valueDim,
            AttentionOptions options) {
        double[][] out = new double[queries.length][valueDim];
        double[] lse = new double[queries.length];
        for (int i = 0; i < queries.length; i++) {
            long position = (long) keys.length - queries.length + i;
            int first = Math.toIntExact(options.firstKey(position));
            int end = Math.toIntExact(options.endKey(position, keys.length));
            if (first >= end) {
                lse[i] = Double.POSITIVE_INFINITY;
                continue;
            }
            double[] scores = new double[end - first];
            double max = Double.NEGATIVE_INFINITY;
            for (int j = first; j < end; j++) {
                scores[j - first] = options.scale() * dot(queries[i], keys[j]);
                max = Math.max(max, scores[j - first]); // NaN if one is
            }
            max = max == Double.NEGATIVE_INFINITY ? 0 : max;
            double sum = 0;
            for (int j = first; j < end; j++) {
                double weight = Math.exp(scores[j - first] - max);
                sum += weight;
                for (int c = 0; c < valueDim; c++) {
                    out[i][c] += weight * values[j][c];
                }
            }
            for (int c = 0; c < valueDim; c++) {
                out[i][c] /= sum;
            }
            lse[i] = max + Math.log(sum);
        }
        return new Result(out, lse);
    }

    /**
     * The naive form (DeepSeek-V2 equations 10 to 19): latents are decompressed to keys and values of each head, which
     * are then attended to.
     *
     * @param queryNope {@code [heads][queries][dn]}, the part of queries without position
     * @param queryRope {@code [heads][queries][dr]}, the part with, turned already
     * @param latents {@code [keys][c]}, normalised
     * @param ropeKeys {@code [keys][dr]}, shared by all heads, turned already
     * @param upKeys {@code [heads][dn][c]}, the matrix W_UK
     * @param upValues {@code [heads][dv][c]}, the matrix W_UV
     * @param options what a query sees
     * @return of each head, outputs of {@code dv} values
     */
    public static Result[] naive(double[][][] queryNope, double[][][] queryRope, double[][] latents,
            double[][] ropeKeys, double[][][] upKeys, double[][][] upValues, AttentionOptions options) {
        Result[] heads = new Result[queryNope.length];
        for (int h = 0; h < heads.length; h++) {
            double[][] queries = join(queryNope[h], queryRope[h]);
            double[][] keys = join(timesTransposed(latents, upKeys[h]), ropeKeys);
            double[][] values = timesTransposed(latents, upValues[h]);
            heads[h] = attend(queries, keys, values, upValues[h].length, options);
        }
        return heads;
    }

    /**
     * The absorbed form (DeepSeek-V2 section 2.1.2): W_UK is folded into the query, attention runs over the latents
     * themselves, and W_UV is applied to its result. In real numbers this is {@link #naive}.
     *
     * @param queryNope {@code [heads][queries][dn]}, the part of queries without position
     * @param queryRope {@code [heads][queries][dr]}, the part with, turned already
     * @param latents {@code [keys][c]}, normalised
     * @param ropeKeys {@code [keys][dr]}, shared by all heads, turned already
     * @param upKeys {@code [heads][dn][c]}, the matrix W_UK
     * @param upValues {@code [heads][dv][c]}, the matrix W_UV
     * @param options what a query sees
     * @return of each head, outputs of {@code dv} values
     */
    public static Result[] absorbed(double[][][] queryNope, double[][][] queryRope, double[][] latents,
            double[][] ropeKeys, double[][][] upKeys, double[][][] upValues, AttentionOptions options) {
        int latentDim = upKeys.length == 0 ? 0 : upKeys[0][0].length;
        double[][] keys = join(latents, ropeKeys);
        Result[] heads = new Result[queryNope.length];
        for (int h = 0; h < heads.length; h++) {
            double[][] queries = join(times(queryNope[h], upKeys[h]), queryRope[h]);
            Result overLatents = attend(queries, keys, keys, latentDim, options);
            heads[h] = new Result(timesTransposed(overLatents.out(), upValues[h]), overLatents.lse());
        }
        return heads;
    }

    /**
     * Joins one query's results over two disjoint sets of keys: {@code lse = ln(exp(lseA) + exp(lseB))} and
     * {@code out = exp(lseA - lse) * outA + exp(lseB - lse) * outB}. A set whose lse is +Infinity is empty: its output
     * is not looked at, and the result is the other set's as it is.
     *
     * @param outA the output over one set
     * @param lseA its log-sum-exp
     * @param outB the output over the other, as long
     * @param lseB its log-sum-exp
     * @param out where the output over both goes; may be outA or outB
     * @return the log-sum-exp over both
     */
    public static double merge(double[] outA, double lseA, double[] outB, double lseB, double[] out) {
        boolean emptyA = lseA == Double.POSITIVE_INFINITY;
        boolean emptyB = lseB == Double.POSITIVE_INFINITY;
        if (emptyA && emptyB) {
            Arrays.fill(out, 0);
            return Double.POSITIVE_INFINITY;
        }
        if (emptyA || emptyB) {
            System.arraycopy(emptyA ? outB : outA, 0, out, 0, out.length);
            return emptyA ? lseB : lseA;
        }
        double max = Math.max(lseA, lseB);
        max = max == Double.NEGATIVE_INFINITY ? 0 : max;
        double weightA = Math.exp(lseA - max);
        double weightB = Math.exp(lseB - max);
        for (int c = 0; c < out.length; c++) {
            out[c] = (weightA * outA[c] + weightB * outB[c]) / (weightA + weightB);
        }
        return max + Math.log(weightA + weightB);
    }

    private static double dot(double[] x, double[] y) {
        double sum = 0;
        for (int i = 0; i < x.length; i++) {
            sum += x[i] * y[i];
        }
        return sum;
    }

    /** {@code rows * matrix^T}. */
    private static double[][] timesTransposed(double[][] rows, double[][] matrix) {
        double[][] product = new double[rows.length][matrix.length];
        for (int i = 0; i < rows.length; i++) {
            for (int j = 0; j < matrix.length; j++) {
                product[i][j] = dot(matrix[j], rows[i]);
            }
        }
        return product;
    }

    /** {@code rows * matrix}. */
    private static double[][] times(double[][] rows, double[][] matrix) {
        double[][] product = new double[rows.length][matrix[0].length];
        for (int i = 0; i < rows.length; i++) {
            for (int k = 0; k < matrix.length; k++) {
                for (int j = 0; j < product[i].length; j++) {
                    product[i][j] += rows[i][k] * matrix[k][j];
                }
            }
        }
        return product;
    }

    /** Rows of both, side by side. */
    static double[][] join(double[][] left, double[][] right) {
        double[][] joined = new double[left.length][];
        for (int i = 0; i < joined.length; i++) {
            joined[i] = new double[left[i].length + right[i].length];
            System.arraycopy(left[i], 0, joined[i], 0, left[i].length);
            System.arraycopy(right[i], 0, joined[i], left[i].length, right[i].length);
        }
        return joined;
    }
}
