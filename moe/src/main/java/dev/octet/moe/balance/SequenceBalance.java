package dev.octet.moe.balance;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.moe.Routing;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The balance loss of one sequence (DeepSeek-V3 &sect;2.1.2, equations 17 to 20), which keeps a single sequence from
 * going to few experts:
 *
 * <pre>
 * L   = alpha SUM_i f_i P_i
 * f_i = experts / (topK T) * how many of the T tokens have expert i
 * P_i = 1/T SUM_t s'_ti,      s'_ti = s_ti / SUM_j s_tj
 * </pre>
 *
 * <p>The counts {@code f} have no gradient, so that
 * {@code dL/ds_tj = alpha / (T SUM_i s_ti) * (f_j - SUM_i f_i s'_ti)}. A token that goes nowhere, such as padding,
 * counts for nothing and has a gradient of zeros. Computed in FP64.
 *
 * @param loss {@code L}
 * @param loads {@code f}, 1 for each expert if all are chosen equally often
 * @param shares {@code P}, which add up to 1
 */
public record SequenceBalance(double loss, double[] loads, double[] shares) {
    /** Alpha of DeepSeek-V3. */
    public static final double ALPHA_V3 = 1e-4;

    /** Copies the arrays. */
    public SequenceBalance {
        loads = loads.clone();
        shares = shares.clone();
    }

    /**
     * The loss by the paper's own selection: each token's best {@code topK} scores, without bias and without groups; of
     * equal ones the lower index.
     *
     * @param scores F32 {@code [tokens, experts]}, one sequence, on the CPU: what the score function gives, without
     *     bias
     * @param topK experts of a token
     * @param alpha the loss's weight
     * @param gradient where {@code dL/dscores} is written, as {@code scores} is; null if it is not wanted
     * @return the loss
     * @throws IllegalArgumentException if a shape or dtype does not fit, topK is not 1 to the number of experts, alpha
     *     is negative or not finite, or a score is negative or not finite, or all of a token are 0: the message names
     *     the token
     */
    public static SequenceBalance of(Tensor scores, int topK, double alpha, @Nullable Tensor gradient) {
        checkMatrix("scores", scores);
        int experts = Math.toIntExact(scores.dim(1));
        if (topK < 1 || topK > experts) {
            throw new IllegalArgumentException("topK is " + topK + ", it must be 1 to the " + experts + " experts");
        }
        double[] s = read(scores);
        check(s, experts);
        int[] chosen = best(s, experts, topK);
        return of(scores, s, chosen, topK, alpha, gradient);
    }

    /**
     * The loss by the experts that tokens went to, which a bias and a limit on groups may have changed.
     *
     * @param scores F32 {@code [tokens, experts]}, one sequence, on the CPU: what the score function gives, without
     *     bias
     * @param routing where the tokens went; -1 in all places of a token that went nowhere
     * @param alpha the loss's weight
     * @param gradient where {@code dL/dscores} is written, as {@code scores} is; null if it is not wanted
     * @return the loss; 0 if no token went anywhere
     * @throws IllegalArgumentException as above, or if the routing has other tokens or experts than {@code scores}
     */
    public static SequenceBalance of(Tensor scores, Routing routing, double alpha, @Nullable Tensor gradient) {
        checkMatrix("scores", scores);
        if (routing.tokens() != scores.dim(0)) {
            throw new IllegalArgumentException(
                    "routing has " + routing.tokens() + " tokens, scores has " + scores.dim(0));
        }
        int experts = Math.toIntExact(scores.dim(1));
        int[] chosen = routing.expertsToArray(experts);
        double[] s = read(scores);
        for (int t = 0; t < routing.tokens(); t++) {
            if (goesSomewhere(chosen, t, routing.topK())) {
                check(s, experts, t);
            }
        }
        return of(scores, s, chosen, routing.topK(), alpha, gradient);
    }

    private static SequenceBalance of(Tensor scores, double[] s, int[] chosen, int topK, double alpha,
            @Nullable Tensor gradient) {
        if (!(alpha >= 0) || alpha == Double.POSITIVE_INFINITY) {
            throw new IllegalArgumentException("alpha is " + alpha + ", it must be finite and not negative");
        }
        if (gradient != null) {
            checkMatrix("gradient", gradient);
            if (!gradient.shape().equals(scores.shape())) {
                throw new IllegalArgumentException("gradient is " + gradient + ", it must be F32 " + scores.shape());
            }
        }
        double[] g = gradient == null ? null : new double[s.length];
        SequenceBalance result = compute(s, Math.toIntExact(scores.dim(1)), chosen, topK, alpha, g);
        if (gradient != null && g != null) {
            float[] rounded = new float[g.length];
            for (int i = 0; i < g.length; i++) {
                rounded[i] = (float) g[i];
            }
            gradient.copyFrom(rounded);
        }
        return result;
    }

    /** The definition, on checked numbers; {@code s} and {@code gradient} are {@code [T, experts]}. */
    static SequenceBalance compute(double[] s, int experts, int[] chosen, int topK, double alpha,
            double @Nullable [] gradient) {
        int rows = s.length / experts;
        double[] f = new double[experts];
        double[] p = new double[experts];
        double[] sums = new double[rows]; // 0 for a token that goes nowhere
        int tokens = 0;
        for (int t = 0; t < rows; t++) {
            if (!goesSomewhere(chosen, t, topK)) {
                continue;
            }
            tokens++;
            for (int i = 0; i < topK; i++) {
                if (chosen[t * topK + i] >= 0) {
                    f[chosen[t * topK + i]]++;
                }
            }
            for (int e = 0; e < experts; e++) {
                sums[t] += s[t * experts + e];
            }
            for (int e = 0; e < experts; e++) {
                p[e] += s[t * experts + e] / sums[t];
            }
        }
        double loss = 0;
        for (int e = 0; e < experts && tokens > 0; e++) {
            f[e] = f[e] * experts / ((double) topK * tokens);
            p[e] /= tokens;
            loss += f[e] * p[e];
        }
        for (int t = 0; t < rows && gradient != null; t++) {
            double mean = 0;
            for (int e = 0; e < experts && sums[t] > 0; e++) {
                mean += f[e] * s[t * experts + e] / sums[t];
            }
            for (int e = 0; e < experts; e++) {
                gradient[t * experts + e] = sums[t] > 0 ? alpha * (f[e] - mean) / (tokens * sums[t]) : 0;
            }
        }
        return new SequenceBalance(alpha * loss, f, p);
    }

    private static boolean goesSomewhere(int[] chosen, int token, int topK) {
        for (int i = 0; i < topK; i++) {
            if (chosen[token * topK + i] >= 0) {
                return true;
            }
        }
        return false;
    }

    private static int[] best(double[] s, int experts, int topK) {
        int[] chosen = new int[s.length / experts * topK];
        boolean[] taken = new boolean[experts];
        for (int t = 0; t < s.length / experts; t++) {
            Arrays.fill(taken, false);
            for (int i = 0; i < topK; i++) {
                int best = -1;
                for (int e = 0; e < experts; e++) {
                    if (!taken[e] && (best < 0 || s[t * experts + e] > s[t * experts + best])) {
                        best = e;
                    }
                }
                taken[best] = true;
                chosen[t * topK + i] = best;
            }
        }
        return chosen;
    }

    private static double[] read(Tensor scores) {
        float[] values = scores.toFloatArray();
        double[] s = new double[values.length];
        for (int i = 0; i < s.length; i++) {
            s[i] = values[i];
        }
        return s;
    }

    private static void check(double[] s, int experts) {
        for (int t = 0; t < s.length / experts; t++) {
            check(s, experts, t);
        }
    }

    private static void check(double[] s, int experts, int t) {
        double sum = 0;
        for (int e = 0; e < experts; e++) {
            double v = s[t * experts + e];
            if (!(v >= 0) || v == Double.POSITIVE_INFINITY) {
                throw new IllegalArgumentException(
                        "scores[" + t + ", " + e + "] is " + v + ", it must be finite and not negative");
            }
            sum += v;
        }
        if (sum == 0) {
            throw new IllegalArgumentException("scores of token " + t + " are all 0, they have no shares");
        }
    }

    private static void checkMatrix(String name, Tensor t) {
        if (t.dtype() != DType.F32 || t.shape().rank() != 2 || t.dim(1) < 1) {
            throw new IllegalArgumentException(name + " is " + t + ", it must be an F32 matrix [tokens, experts]");
        }
    }

    /** {@return a copy} */
    @Override
    public double[] loads() {
        return loads.clone();
    }

    /** {@return a copy} */
    @Override
    public double[] shares() {
        return shares.clone();
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof SequenceBalance b && Double.compare(loss, b.loss) == 0
                && Arrays.equals(loads, b.loads) && Arrays.equals(shares, b.shares);
    }

    @Override
    public int hashCode() {
        return 31 * Double.hashCode(loss) + 17 * Arrays.hashCode(loads) + Arrays.hashCode(shares);
    }
}
