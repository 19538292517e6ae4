package dev.octet.mla.factor;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.util.Random;

/**
 * Layers and activations from a seed. Nothing here is closed: they are small, and the garbage collector is not asked.
 */
final class Layers {
    private Layers() {}

    static Tensor random(Random random, DType dtype, double scale, long... dims) {
        float[] values = new float[(int) Shape.of(dims).elements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (scale * random.nextGaussian());
        }
        return Matrix64.tensor(values, dtype, dims);
    }

    /** Keys five times as large as values, as they often are, so that the weighting matters. */
    static AttentionWeights weights(long seed, int heads, int kvHeads, int qkDim, int vDim, int hidden,
            boolean biases) {
        Random r = new Random(seed);
        double s = 1 / Math.sqrt(hidden);
        return new AttentionWeights(heads, kvHeads,
                random(r, DType.F32, s, heads * qkDim, hidden),
                random(r, DType.F32, 5 * s, kvHeads * qkDim, hidden),
                random(r, DType.BF16, s, kvHeads * vDim, hidden),
                random(r, DType.F32, s, hidden, heads * vDim),
                biases ? random(r, DType.F32, 0.3, heads * qkDim) : null,
                biases ? random(r, DType.F32, 0.3, kvHeads * qkDim) : null,
                biases ? random(r, DType.F32, 0.3, kvHeads * vDim) : null);
    }

    /** Correlated channels of very different size around a mean, as activations are. */
    static Tensor activations(long seed, int tokens, int hidden) {
        return activations(seed, tokens, hidden, hidden);
    }

    /** The same, all within {@code directions} directions of the mean. */
    static Tensor activations(long seed, int tokens, int hidden, int directions) {
        Random r = new Random(1000 + seed);
        Random model = new Random(77); // the same distribution for every seed
        double[] mean = model.doubles(hidden, -2, 2).toArray();
        double[] mix = model.doubles((long) directions * hidden, -1, 1).toArray();
        float[] values = new float[tokens * hidden];
        for (int t = 0; t < tokens; t++) {
            double[] x = mean.clone();
            for (int d = 0; d < directions; d++) {
                double g = r.nextGaussian() * Math.pow(0.9, d);
                for (int h = 0; h < hidden; h++) {
                    x[h] += g * mix[d * hidden + h];
                }
            }
            for (int h = 0; h < hidden; h++) {
                values[t * hidden + h] = (float) x[h];
            }
        }
        return Tensor.of(values, tokens, hidden);
    }

    static ActivationStatistics statistics(Tensor activations) {
        ActivationStatistics s = new ActivationStatistics((int) activations.dim(1));
        s.add(activations);
        return s;
    }
}
