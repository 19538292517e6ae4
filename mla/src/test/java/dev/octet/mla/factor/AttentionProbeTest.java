package dev.octet.mla.factor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The report's figures against attention written out by itself. */
class AttentionProbeTest {
    /**
     * The layer's output, {@code [tokens][out]}, with keys and values through factors, or its own if there are none.
     */
    private static double[][] attention(AttentionWeights w, Tensor x, int[] lengths, boolean causal, LatentFactors f,
            boolean bf16) {
        int tokens = (int) x.dim(0);
        double[][] q = linear(w.query(), w.queryBias(), rows(x), tokens);
        double[][] k;
        double[][] v;
        if (f == null) {
            k = linear(w.key(), w.keyBias(), rows(x), tokens);
            v = linear(w.value(), w.valueBias(), rows(x), tokens);
        } else {
            double[][] c = linear(f.down(), f.downBias(), rows(x), tokens);
            for (double[] row : c) {
                for (int i = 0; i < row.length; i++) {
                    row[i] = bf16 ? BFloat16.toFloat(BFloat16.fromFloat((float) row[i])) : (float) row[i];
                }
            }
            k = linear(f.keyUp(), f.keyBias(), c, tokens);
            v = linear(f.valueUp(), f.valueBias(), c, tokens);
        }
        double[][] context = new double[tokens][w.heads() * w.vDim()];
        int first = 0;
        for (int length : lengths) {
            for (int i = first; i < first + length; i++) {
                for (int h = 0; h < w.heads(); h++) {
                    int kv = h * w.kvHeads() / w.heads();
                    double[] p = new double[length];
                    double sum = 0;
                    for (int j = 0; j < (causal ? i - first + 1 : length); j++) {
                        double s = 0;
                        for (int d = 0; d < w.qkDim(); d++) {
                            s += q[i][h * w.qkDim() + d] * k[first + j][kv * w.qkDim() + d];
                        }
                        p[j] = Math.exp(s / Math.sqrt(w.qkDim()));
                        sum += p[j];
                    }
                    for (int j = 0; j < length; j++) {
                        for (int d = 0; d < w.vDim(); d++) {
                            context[i][h * w.vDim() + d] += p[j] / sum * v[first + j][kv * w.vDim() + d];
                        }
                    }
                }
            }
            first += length;
        }
        return linear(w.output(), null, context, tokens);
    }

    private static double[][] rows(Tensor x) {
        double[][] rows = new double[(int) x.dim(0)][(int) x.dim(1)];
        for (int t = 0; t < rows.length; t++) {
            for (int h = 0; h < rows[t].length; h++) {
                rows[t][h] = x.getFloat(t, h);
            }
        }
        return rows;
    }

    private static double[][] linear(Tensor weight, Tensor bias, double[][] x, int tokens) {
        float[] b = bias == null ? new float[(int) weight.dim(0)] : bias.toFloatArray();
        double[][] y = new double[tokens][b.length];
        for (int t = 0; t < tokens; t++) {
            for (int n = 0; n < b.length; n++) {
                y[t][n] = b[n];
                for (int i = 0; i < weight.dim(1); i++) {
                    y[t][n] += weight.getFloat(n, i) * x[t][i];
                }
            }
        }
        return y;
    }

    private static double relative(double[][] expected, double[][] actual) {
        double e = 0;
        double n = 0;
        for (int t = 0; t < expected.length; t++) {
            for (int i = 0; i < expected[t].length; i++) {
                e += Math.pow(actual[t][i] - expected[t][i], 2);
                n += Math.pow(expected[t][i], 2);
            }
        }
        return Math.sqrt(e / n);
    }

    @ParameterizedTest
    @CsvSource({"4, 4, 8, 8, 33, false, F32", "6, 2, 5, 7, 40, true, F32", "8, 1, 3, 9, 17, false, BF16",
        "4, 4, 8, 8, 33, true, BF16"})
    void figuresAreThoseOfTheFactorsItHandsOut(int heads, int kvHeads, int qk, int v, int hidden, boolean causal,
            DType cache) {
        AttentionWeights w = Layers.weights(20, heads, kvHeads, qk, v, hidden, true);
        int[] lengths = {7, 0, 1, 12};
        Tensor x = Layers.activations(21, 20, hidden);
        LatentFactorization f = LatentFactorization.ofActivations(w,
                Layers.statistics(Layers.activations(20, 200, hidden)), FactorOptions.DEFAULT);
        int[] ranks = {5, 2, f.maxRank(), 5};
        List<LatentError> errors = new AttentionProbe(w, x, lengths, causal).latent(f, ranks, cache);
        double[][] expected = attention(w, x, lengths, causal, null, false);
        for (int i = 0; i < ranks.length; i++) {
            LatentError e = errors.get(i);
            assertEquals(ranks[i], e.rank());
            assertEquals((long) ranks[i] * cache.byteSize(), e.bytesPerToken());
            assertEquals((long) kvHeads * (qk + v) * cache.byteSize(), e.uncompressedBytesPerToken());
            try (LatentFactors factors = f.factors(ranks[i], DType.F32)) {
                double[][] actual = attention(w, x, lengths, causal, factors, cache == DType.BF16);
                // The factors that are handed out are rounded to FP32, and a BF16 latent may fall to the other side
                // then.
                assertEquals(relative(expected, actual), e.output().relative(), cache == DType.F32 ? 2e-6 : 2e-3);
                double[][] k = linear(w.key(), w.keyBias(), rows(x), 20);
                double[][] latents = linear(factors.down(), factors.downBias(), rows(x), 20);
                double[][] approximate = linear(factors.keyUp(), factors.keyBias(), latents, 20);
                assertEquals(relative(k, approximate), e.keys().relative(), cache == DType.F32 ? 2e-6 : 3e-3);
            }
        }
        assertTrue(errors.get(2).output().relative() < (cache == DType.F32 ? 1e-5 : 2e-2), "the largest rank is exact");
        assertTrue(errors.get(2).weights().relative() < 1e-10);
        assertTrue(errors.get(1).output().relative() > errors.get(0).output().relative());
        assertEquals(errors.get(0), errors.get(3));
    }

    @Test
    void anOrdinaryCacheLosesItsRoundingAlone() {
        AttentionWeights w = Layers.weights(22, 4, 4, 8, 8, 32, true);
        AttentionProbe probe = new AttentionProbe(w, Layers.activations(22, 30, 32), new int[] {30}, false);
        double bf16 = probe.uncompressed(DType.BF16).relative();
        double f32 = probe.uncompressed(DType.F32).relative();
        assertTrue(bf16 > 1e-4 && bf16 < 3e-2, "BF16 keeps 8 bits: " + bf16);
        assertTrue(f32 > 1e-9 && f32 < 1e-6, "FP32 keeps 24 bits: " + f32);
    }

    @Test
    void aLongSequenceOfLargeScoresStaysFinite() {
        AttentionWeights w = Layers.weights(23, 2, 1, 16, 4, 24, true);
        Tensor x = Layers.random(new Random(23), DType.BF16, 100, 64, 24);
        LatentFactorization f = LatentFactorization.ofWeights(w, Weighting.BALANCED);
        LatentError e = new AttentionProbe(w, x, new int[] {64}, true).latent(f, new int[] {4}, DType.F32).getFirst();
        assertTrue(Double.isFinite(e.output().relative()) && e.output().relative() > 0);
    }

    @Test
    void totalsAddBytesAndSquares() {
        LatentError a = new LatentError(4, 8, 32, new SquaredError(1, 4, 5), SquaredError.NONE, SquaredError.NONE,
                new SquaredError(9, 100, 100));
        LatentError b = new LatentError(4, 8, 32, new SquaredError(3, 12, 11), SquaredError.NONE, SquaredError.NONE,
                new SquaredError(16, 0, 50));
        LatentError sum = LatentError.total(List.of(a, b));
        assertEquals(16, sum.bytesPerToken());
        assertEquals(4, sum.compression());
        assertEquals(0.5, sum.weights().relative());
        assertEquals(4.0 / 32, sum.weights().calcDiff());
        assertEquals(0.5, sum.output().relative());
        assertEquals(0, sum.keys().relative());
        assertThrows(IllegalArgumentException.class, () -> LatentError.total(List.of()));
        LatentError other = new LatentError(5, 8, 32, a.weights(), a.keys(), a.values(), a.output());
        assertThrows(IllegalArgumentException.class, () -> LatentError.total(List.of(a, other)));
    }

    private static void refused(String part, Runnable call) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run, part);
        assertTrue(e.getMessage().contains(part), e.getMessage());
    }

    private static Tensor matrix(long rows, long columns) {
        return Tensor.allocate(DType.F32, Shape.of(rows, columns));
    }

    @Test
    void wrongArgumentsAreNamed() {
        Tensor m = matrix(8, 8);
        refused("heads is 0", () -> new AttentionWeights(0, 1, m, m, m, m));
        refused("kvHeads is 3, it must divide heads, 4", () -> new AttentionWeights(4, 3, m, m, m, m));
        refused("query has 9 rows, it takes a multiple of heads, 2",
                () -> new AttentionWeights(2, 2, matrix(9, 8), m, m, m));
        refused("key has shape [8, 8], it must be [4, 8]", () -> new AttentionWeights(2, 1, m, m, m, m));
        refused("value has shape [8, 7]", () -> new AttentionWeights(2, 2, m, m, matrix(8, 7), m));
        refused("output has shape [8, 9]", () -> new AttentionWeights(2, 2, m, m, m, matrix(8, 9)));
        refused("keyBias has shape [7]", () -> new AttentionWeights(2, 2, m, m, m, m, null,
                Tensor.allocate(DType.F32, Shape.of(7)), null));
        refused("value is F16", () -> new AttentionWeights(2, 2, m, m, Tensor.allocate(DType.F16, Shape.of(8, 8)), m));
        refused("query has shape [0, 8]", () -> new AttentionWeights(2, 2, matrix(0, 8), m, m, m));
        refused("hidden is 0", () -> new ActivationStatistics(0));
        refused("ridge is -1.0", () -> FactorOptions.DEFAULT.withRidge(-1));
        refused("ridge is NaN", () -> FactorOptions.DEFAULT.withRidge(Double.NaN));

        AttentionWeights w = Layers.weights(24, 2, 2, 4, 4, 8, true);
        ActivationStatistics s = new ActivationStatistics(8);
        refused("activations has shape [3, 7], it must be [tokens, 8]", () -> s.add(matrix(3, 7)));
        refused("activations is I32", () -> s.add(Tensor.allocate(DType.I32, Shape.of(3, 8))));
        Tensor nan = matrix(3, 8);
        nan.slice(0, 1, 2).slice(1, 2, 3).copyFrom(new float[] {Float.NaN});
        refused("activations[1, 2] is NaN", () -> s.add(nan));
        assertEquals(0, s.tokens());
        refused("activations hold no tokens", () -> LatentFactorization.ofActivations(w, s, FactorOptions.DEFAULT));
        s.add(matrix(3, 8));
        refused("activations are all the same", () -> LatentFactorization.ofActivations(w, s, FactorOptions.DEFAULT));
        refused("activations have 9 channels, weights read 8", () -> LatentFactorization.ofActivations(w,
                Layers.statistics(Layers.activations(1, 20, 9)), FactorOptions.DEFAULT));
        nan.slice(0, 1, 2).slice(1, 2, 3).copyFrom(new float[] {Float.POSITIVE_INFINITY});
        refused("value[1, 2] is Infinity", () -> LatentFactorization.ofWeights(
                new AttentionWeights(1, 1, matrix(8, 8), m, nan, matrix(8, 3)), Weighting.PLAIN));

        LatentFactorization f = LatentFactorization.ofWeights(w, Weighting.PLAIN);
        refused("rank is 0, it must be from 1 to 8", () -> f.factors(0, DType.F32));
        refused("rank is 9", () -> f.factors(9, DType.F32));
        refused("rank is -1", () -> f.leastError(-1));
        refused("dtype is F16", () -> f.factors(1, DType.F16));
        Tensor x = Layers.activations(24, 5, 8);
        refused("lengths[1] is -1", () -> new AttentionProbe(w, x, new int[] {6, -1}, true));
        refused("lengths add up to 6, activations have 5 tokens", () -> new AttentionProbe(w, x, new int[] {6}, true));
        AttentionProbe probe = new AttentionProbe(w, x, new int[] {5}, true);
        refused("rank is 9", () -> probe.latent(f, new int[] {1, 9}, DType.F32));
        refused("cache is F16", () -> probe.latent(f, new int[] {1}, DType.F16));
        refused("cache is F8_E4M3", () -> probe.uncompressed(DType.F8_E4M3));
        LatentFactorization other =
                LatentFactorization.ofWeights(Layers.weights(24, 2, 2, 4, 4, 9, true), Weighting.PLAIN);
        refused("factorization is of 16x9 weights, this layer has 16x8",
                () -> probe.latent(other, new int[] {1}, DType.F32));
    }
}
