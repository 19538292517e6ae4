package dev.octet.moe.reference;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.ScaledTensor;
import org.jspecify.annotations.Nullable;

/**
 * What a layer of experts computes, in plain loops over FP64 and without quantisation: the definition that the FP8
 * layer is held against (DeepSeek-V3 &sect;2.1.2, equation 12, without the residual).
 */
public final class ReferenceExperts {
    private ReferenceExperts() {}

    /**
     * One expert's weights.
     *
     * @param gate {@code [inter][hidden]}
     * @param up {@code [inter][hidden]}
     * @param down {@code [hidden][inter]}
     */
    public record Expert(float[][] gate, float[][] up, float[][] down) {}

    /**
     * {@code SUM weights[j] * expert[experts[j]](x) + shared(x)}.
     *
     * @param x {@code [hidden]}: one token
     * @param experts the token's experts, -1 for none
     * @param weights the weight of each
     * @param all every expert
     * @param shared the shared experts as one, or null
     * @return {@code [hidden]}
     */
    public static double[] token(float[] x, int[] experts, float[] weights, Expert[] all, @Nullable Expert shared) {
        double[] out = new double[x.length];
        for (int j = 0; j < experts.length; j++) {
            if (experts[j] >= 0) {
                add(out, weights[j], all[experts[j]], x);
            }
        }
        if (shared != null) {
            add(out, 1, shared, x);
        }
        return out;
    }

    private static void add(double[] out, double weight, Expert e, float[] x) {
        double[] h = new double[e.gate.length];
        for (int i = 0; i < h.length; i++) {
            h[i] = swiglu(dot(e.gate[i], x), dot(e.up[i], x));
        }
        for (int r = 0; r < out.length; r++) {
            double sum = 0;
            for (int i = 0; i < h.length; i++) {
                sum += e.down[r][i] * h[i];
            }
            out[r] += weight * sum;
        }
    }

    private static double dot(float[] a, float[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += (double) a[i] * b[i];
        }
        return sum;
    }

    /**
     * {@return {@code g / (1 + exp(-g)) * u}}
     *
     * @param g the gate projection
     * @param u the up projection
     */
    public static double swiglu(double g, double u) {
        return g / (1 + Math.exp(-g)) * u;
    }

    /** In FP64, rounded to FP32, then quantised by the reference of fp8. */
    static void swiglu(Tensor gateUp, @Nullable Tensor weights, ScaledTensor out) {
        int n = Math.toIntExact(out.columns());
        int rows = Math.toIntExact(out.rows());
        long up = gateUp.dim(1) / 2;
        float[] w = weights == null ? new float[0] : weights.toFloatArray();
        float[] row = new float[n];
        try (Tensor h = Tensor.allocate(DType.F32, Shape.of(rows, n))) {
            for (int r = 0; r < rows; r++) {
                for (int c = 0; c < n; c++) {
                    double value = swiglu(gateUp.getFloat(r, c), gateUp.getFloat(r, up + c));
                    row[c] = (float) (weights == null ? value : value * w[r]);
                }
                h.slice(0, r, r + 1L).copyFrom(row);
            }
            Fp8.on("reference").quantize(h, out);
        }
    }
}
