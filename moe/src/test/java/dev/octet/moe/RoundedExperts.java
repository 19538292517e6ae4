package dev.octet.moe;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import dev.octet.moe.reference.ReferenceExperts;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/**
 * A layer of experts in FP64 in which each rounding can be switched on by itself: with none of them it is the
 * reference, with all of those to E4M3 it is what {@link ExpertMlp} computes but for FP32.
 */
final class RoundedExperts {
    /** What is rounded: four operands to E4M3, or all weights and all results to BF16 as a BF16 model has them. */
    enum Rounding { TOKENS, GATE_UP, ACTIVATIONS, DOWN, BF16 }

    /** The roundings of an FP8 layer. */
    static final Set<Rounding> E4M3 = Collections.unmodifiableSet(EnumSet.range(Rounding.TOKENS, Rounding.DOWN));
    /** Tokens that are multiplied at once. */
    static final int T = 8;

    private final ExpertWeights weights;
    private final List<ReferenceExperts.Expert> original = new ArrayList<>();
    private final List<ReferenceExperts.Expert> dequantized = new ArrayList<>();

    /** Experts in the layer's order, then the shared ones if there are any. */
    RoundedExperts(ExpertLayer layer, ExpertWeights weights) {
        this.weights = weights;
        for (int e = 0; e < layer.experts.length; e++) {
            original.add(layer.experts[e]);
            dequantized.add(ExpertLayer.dequantized(weights.expert(e)));
        }
        ExpertWeights.Expert shared = weights.shared();
        if (layer.shared != null && shared != null) {
            original.add(layer.shared);
            dequantized.add(ExpertLayer.dequantized(shared));
        }
    }

    /**
     * {@return the sum over all experts for each of 8 tokens}
     *
     * @param routingWeights {@code [8][experts]}; shared experts have weight 1
     */
    double[][] run(Tensor hidden, float[][] routingWeights, Set<Rounding> on) {
        float[][] x = on.contains(Rounding.TOKENS) ? rounded(hidden) : ExpertLayer.rows(hidden);
        boolean bf16 = on.contains(Rounding.BF16);
        double[][] out = new double[T][(int) hidden.dim(1)];
        for (int e = 0; e < original.size(); e++) {
            ReferenceExperts.Expert first = (on.contains(Rounding.GATE_UP) ? dequantized : original).get(e);
            ReferenceExperts.Expert last = (on.contains(Rounding.DOWN) ? dequantized : original).get(e);
            double[][] gate = product(first.gate(), x, bf16);
            double[][] up = product(first.up(), x, bf16);
            int inter = gate[0].length;
            float[] h = new float[T * inter];
            for (int t = 0; t < T; t++) {
                for (int i = 0; i < inter; i++) {
                    float value = (float) ReferenceExperts.swiglu(gate[t][i], up[t][i]);
                    h[t * inter + i] = bf16 ? bf16(value) : value;
                }
            }
            double[][] y;
            try (Tensor activations = Tensor.of(h, T, inter)) {
                y = product(last.down(), on.contains(Rounding.ACTIVATIONS) ? rounded(activations)
                        : ExpertLayer.rows(activations), bf16);
            }
            for (int t = 0; t < T; t++) {
                float w = e < routingWeights[t].length ? routingWeights[t][e] : 1;
                for (int c = 0; c < y[t].length; c++) {
                    out[t][c] += w * y[t][c];
                }
            }
        }
        return out;
    }

    private static float bf16(double value) {
        return BFloat16.toFloat(BFloat16.fromFloat((float) value));
    }

    private float[][] rounded(Tensor t) {
        Scaling scaling = new Scaling(Granularity.BLOCK_1X128, weights.scaleFormat());
        try (ScaledTensor codes = Fp8.auto().quantize(t, DType.F8_E4M3, scaling)) {
            return ExpertLayer.rows(codes);
        }
    }

    /** {@code [8][rows of w]}, with 8 chains of sums side by side. */
    private static double[][] product(float[][] w, float[][] x, boolean bf16) {
        int columns = x[0].length;
        double[] turned = new double[columns * T];
        for (int c = 0; c < columns; c++) {
            for (int t = 0; t < T; t++) {
                turned[c * T + t] = x[t][c];
            }
        }
        double[][] out = new double[T][w.length];
        float[] rounded = new float[columns];
        for (int r = 0; r < w.length; r++) {
            if (bf16) {
                for (int c = 0; c < columns; c++) {
                    rounded[c] = bf16(w[r][c]);
                }
            }
            row(bf16 ? rounded : w[r], turned, out, r);
            for (int t = 0; bf16 && t < T; t++) {
                out[t][r] = bf16(out[t][r]);
            }
        }
        return out;
    }

    private static void row(float[] w, double[] x, double[][] out, int r) {
        double s0 = 0;
        double s1 = 0;
        double s2 = 0;
        double s3 = 0;
        double s4 = 0;
        double s5 = 0;
        double s6 = 0;
        double s7 = 0;
        for (int c = 0; c < w.length; c++) {
            double v = w[c];
            s0 += v * x[c * T];
            s1 += v * x[c * T + 1];
            s2 += v * x[c * T + 2];
            s3 += v * x[c * T + 3];
            s4 += v * x[c * T + 4];
            s5 += v * x[c * T + 5];
            s6 += v * x[c * T + 6];
            s7 += v * x[c * T + 7];
        }
        out[0][r] = s0;
        out[1][r] = s1;
        out[2][r] = s2;
        out[3][r] = s3;
        out[4][r] = s4;
        out[5][r] = s5;
        out[6][r] = s6;
        out[7][r] = s7;
    }
}
