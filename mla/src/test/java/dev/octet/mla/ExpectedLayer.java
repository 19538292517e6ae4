package dev.octet.mla;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.util.Arrays;

/**
 * A latent attention layer in FP64, written down from the equations (DeepSeek-V2 (9) to (19)) in the naive form, over
 * one sequence from its beginning: no tile and no cache. Between the hidden state and the output it rounds nothing, or
 * what {@link MlaLayer} rounds to fewer bits than FP32 in one of its forms.
 */
final class ExpectedLayer {
    enum Rounding {
        NONE,
        /** Inputs of GEMMs to FP8; latents, rotary keys, keys and values to BF16. */
        PREFILL,
        /** The same, but latents are multiplied as the BF16 cache has them, with matrices in BF16. */
        DECODE
    }

    private final MlaConfig c;
    private final ScaleFormat format;
    private final float[] qA;
    private final float[] qNorm;
    private final float[] qB;
    private final float[] kvA;
    private final float[] kvNorm;
    private final float[] kvB;
    private final float[] o;

    /** {@code [token][heads * qkHeadDim]}, {@code [token][kvLoraRank]}, {@code [token][qkRopeHeadDim]}. */
    record Compressed(double[][] queries, double[][] latents, double[][] ropeKeys) {}

    /** With the weights before they are quantised. */
    ExpectedLayer(MlaConfig config, MlaFloatWeights w) {
        c = config;
        format = ScaleFormat.F32;
        qA = w.qA().toFloatArray();
        qNorm = w.qNorm() == null ? null : w.qNorm().toFloatArray();
        qB = w.qB() == null ? null : w.qB().toFloatArray();
        kvA = w.kvA().toFloatArray();
        kvNorm = w.kvNorm().toFloatArray();
        kvB = w.kvB().toFloatArray();
        o = w.o().toFloatArray();
    }

    /** With the values that the quantised weights have. */
    ExpectedLayer(MlaWeights w) {
        c = w.config();
        format = w.o().scaling().format();
        try (Tensor fused = Fp8.on("reference").dequantize(w.qkvA(), DType.F32)) {
            qA = fused.slice(0, 0, c.queryRows()).toFloatArray();
            kvA = fused.slice(0, c.queryRows(), fused.dim(0)).toFloatArray();
        }
        qNorm = w.qNorm() == null ? null : w.qNorm().toFloatArray();
        qB = w.qB() == null ? null : floats(w.qB());
        kvNorm = w.kvNorm().toFloatArray();
        kvB = floats(w.kvB());
        o = floats(w.o());
    }

    private static float[] floats(ScaledTensor w) {
        try (Tensor t = Fp8.on("reference").dequantize(w, DType.F32)) {
            return t.toFloatArray();
        }
    }

    /** The input as an FP8 GEMM sees it. */
    private double[] quantized(double[] x, Rounding rounding) {
        if (rounding == Rounding.NONE) {
            return x;
        }
        Fp8 reference = Fp8.on("reference");
        try (Tensor row = Tensor.of(LayerRun.flat(new double[][] {x}), 1, x.length);
                ScaledTensor codes = reference.quantize(row, DType.F8_E4M3,
                        new Scaling(Granularity.BLOCK_1X128, format));
                Tensor back = reference.dequantize(codes, DType.F32)) {
            double[] y = new double[x.length];
            Arrays.setAll(y, i -> back.getFloat(0, i));
            return y;
        }
    }

    private static double[] toBFloat16(double[] x, Rounding rounding) {
        double[] y = x.clone();
        if (rounding != Rounding.NONE) {
            Arrays.setAll(y, i -> bFloat16((float) x[i]));
        }
        return y;
    }

    private static float bFloat16(float x) {
        return BFloat16.toFloat(BFloat16.fromFloat(x));
    }

    static double[] multiply(float[] w, double[] x) {
        double[] y = new double[w.length / x.length];
        for (int i = 0; i < y.length; i++) {
            for (int k = 0; k < x.length; k++) {
                y[i] += w[i * x.length + k] * x[k];
            }
        }
        return y;
    }

    private double[] norm(double[] x, float[] weight) {
        double squares = 0;
        for (double v : x) {
            squares += v * v;
        }
        double[] y = new double[x.length];
        for (int i = 0; i < y.length; i++) {
            y[i] = x[i] / Math.sqrt(squares / x.length + c.rmsNormEps()) * weight[i];
        }
        return y;
    }

    /** Angles are rounded to FP32, as the operation is defined. */
    private void turn(double[] x, int at, int position) {
        float[] f = Rope.of(c).frequencies();
        for (int j = 0; j < f.length; j++) {
            double angle = position * f[j];
            double a = x[at + 2 * j];
            double b = x[at + 2 * j + 1];
            x[at + 2 * j] = a * Math.cos(angle) - b * Math.sin(angle);
            x[at + 2 * j + 1] = a * Math.sin(angle) + b * Math.cos(angle);
        }
    }

    Compressed compress(double[][] hidden, Rounding rounding) {
        int tokens = hidden.length;
        Compressed r = new Compressed(new double[tokens][], new double[tokens][], new double[tokens][]);
        for (int t = 0; t < tokens; t++) {
            double[] x = quantized(hidden[t], rounding);
            double[] q = multiply(qA, x);
            r.queries[t] = qB == null ? q : multiply(qB, quantized(norm(q, qNorm), rounding));
            for (int h = 0; h < c.heads(); h++) {
                turn(r.queries[t], h * c.qkHeadDim() + c.qkNopeHeadDim(), t);
            }
            double[] kv = multiply(kvA, x);
            r.latents[t] = toBFloat16(norm(Arrays.copyOf(kv, c.kvLoraRank()), kvNorm), rounding);
            r.ropeKeys[t] = Arrays.copyOfRange(kv, c.kvLoraRank(), kv.length);
            turn(r.ropeKeys[t], 0, t);
            r.ropeKeys[t] = toBFloat16(r.ropeKeys[t], rounding);
        }
        return r;
    }

    /** {@return the outputs {@code [token][hiddenSize]} of a whole sequence} */
    double[][] run(double[][] hidden, int window, Rounding rounding) {
        Compressed all = compress(hidden, rounding);
        float[] up = kvB.clone();
        for (int i = 0; rounding == Rounding.DECODE && i < up.length; i++) {
            up[i] = bFloat16(up[i]);
        }
        double[][] keyValues = new double[hidden.length][];
        double[][] out = new double[hidden.length][];
        for (int t = 0; t < hidden.length; t++) {
            keyValues[t] = rounding == Rounding.PREFILL
                    ? toBFloat16(multiply(up, quantized(all.latents[t], rounding)), rounding)
                    : multiply(up, all.latents[t]);
            double[] attention = attend(all, keyValues, t, window == 0 ? 0 : Math.max(0, t - window + 1));
            out[t] = multiply(o, quantized(attention, rounding));
        }
        return out;
    }

    private double[] attend(Compressed all, double[][] keyValues, int token, int first) {
        int nope = c.qkNopeHeadDim();
        int size = nope + c.vHeadDim();
        double[] attention = new double[c.heads() * c.vHeadDim()];
        for (int h = 0; h < c.heads(); h++) {
            double[] weights = new double[token + 1];
            double sum = 0;
            for (int j = first; j <= token; j++) {
                double score = 0;
                for (int i = 0; i < nope; i++) {
                    score += all.queries[token][h * c.qkHeadDim() + i] * keyValues[j][h * size + i];
                }
                for (int i = 0; i < c.qkRopeHeadDim(); i++) {
                    score += all.queries[token][h * c.qkHeadDim() + nope + i] * all.ropeKeys[j][i];
                }
                weights[j] = Math.exp(score * c.softmaxScale());
                sum += weights[j];
            }
            for (int j = first; j <= token; j++) {
                for (int i = 0; i < c.vHeadDim(); i++) {
                    attention[h * c.vHeadDim() + i] += weights[j] / sum * keyValues[j][h * size + nope + i];
                }
            }
        }
        return attention;
    }
}
