package dev.octet.benchmarks.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.safetensors.TensorInfo;
import dev.octet.core.safetensors.TensorSource;
import dev.octet.fp8.Checkpoint;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.moe.ExpertMlp;
import dev.octet.moe.ExpertWeights;
import dev.octet.moe.Routing;
import dev.octet.moe.RoutingWeight;
import dev.octet.moe.reference.ReferenceExperts;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The experts of a layer at the dimensions of DeepSeek-V2-Lite and DeepSeek-V3 on a real model's embeddings.
 *
 * <p>Tokens. MiniLM's rows have 384 values, so a token is as many as fill the hidden size: the word embeddings of the
 * sentence's words from the token's own on, one after the other, the last one cut. Blocks of 128 that share a scale are
 * then a third of a real row each. Divided by its root mean square, as a model's norm does in front of its experts, and
 * rounded to BF16. Weights are normally distributed.
 *
 * <p>Bars. {@code calc_diff} against FP64 with the same weights, which is what a converted FP8 checkpoint computes:
 * below 1e-3. Against the BF16 weights before they were quantised: what normally distributed tokens have, 2.04e-3, with
 * 8 % for chance; moe's page derives it.
 */
class ExpertMlpRealTokensTest {
    private static final int LAYER = 1;
    private static final int TOKENS = 6;
    private static final int EXPERTS = 2;

    /** Weights in memory. */
    private record InMemory(Map<String, Tensor> tensors) implements TensorSource {
        @Override
        public Set<String> names() {
            return tensors.keySet();
        }

        @Override
        public TensorInfo info(String name) {
            Tensor t = tensor(name);
            return new TensorInfo(name, "BF16", t.shape(), 0, 2 * t.shape().elements());
        }

        @Override
        public Tensor tensor(String name) {
            Tensor t = tensors.get(name);
            if (t == null) {
                throw new IllegalArgumentException("no tensor '" + name + "'");
            }
            return t;
        }

        @Override
        public void close() {
            tensors.values().forEach(Tensor::close);
        }
    }

    @ParameterizedTest
    @CsvSource({"2048,1408", "7168,2048"})
    void againstBothReferences(int hidden, int inter) throws Exception {
        SplittableRandom r = new SplittableRandom(5);
        ReferenceExperts.Expert[] original = new ReferenceExperts.Expert[EXPERTS];
        try (InMemory source = new InMemory(new LinkedHashMap<>()); Tensor x = tokens(hidden);
                Routing routing = Routing.allocate(TOKENS, EXPERTS);
                Tensor out = Tensor.allocate(DType.BF16, x.shape())) {
            for (int e = 0; e < EXPERTS; e++) {
                String name = "model.layers." + LAYER + ".mlp.experts." + e + ".";
                original[e] = new ReferenceExperts.Expert(weight(r, source, name + "gate_proj.weight", inter, hidden),
                        weight(r, source, name + "up_proj.weight", inter, hidden),
                        weight(r, source, name + "down_proj.weight", hidden, inter));
            }
            for (int i = 0; i < TOKENS * EXPERTS; i++) {
                routing.experts().segment().setAtIndex(ValueLayout.JAVA_INT, i, i % EXPERTS);
                routing.weights().segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) r.nextDouble(0.1, 1));
            }
            try (ExpertWeights weights = ExpertWeights.read(new Checkpoint(source, ScaleFormat.F32), LAYER, EXPERTS)) {
                new ExpertMlp(weights, RoutingWeight.AFTER_DOWN).run(x, routing, out);
                ReferenceExperts.Expert[] converted = new ReferenceExperts.Expert[EXPERTS];
                Arrays.setAll(converted, e -> converted(weights.expert(e)));
                double same = calcDiff(x, routing, converted, out);
                double bf16 = calcDiff(x, routing, original, out);
                System.out.printf("hidden %d inter %d: calc_diff %.3e against a converted checkpoint, %.3e against"
                        + " unquantised weights%n", hidden, inter, same, bf16);
                assertTrue(same < 1e-3, () -> "calc_diff " + same);
                assertTrue(bf16 < 1.08 * 2.04e-3, () -> "calc_diff " + bf16);
            }
        }
    }

    /** Each token is made of the sentence's words: it goes on where the one before it began its second word. */
    @Test
    void tokensAreNeighbouringWords() throws Exception {
        try (Tensor x = tokens(2048)) {
            float[][] rows = rows(x);
            assertEquals(TOKENS, rows.length);
            for (int t = 0; t + 1 < TOKENS; t++) {
                double here = 0;
                double there = 0;
                double product = 0;
                for (int c = 0; c + MiniLm.HIDDEN < 2048; c++) {
                    here += rows[t][c + MiniLm.HIDDEN] * rows[t][c + MiniLm.HIDDEN];
                    there += rows[t + 1][c] * rows[t + 1][c];
                    product += rows[t][c + MiniLm.HIDDEN] * rows[t + 1][c];
                }
                assertEquals(1, product / Math.sqrt(here * there), 1e-5);
            }
        }
    }

    private static Tensor tokens(int hidden) throws Exception {
        try (MiniLm model = MiniLm.load()) {
            int[] words = MiniLm.tokenizer().encode(String.join(" ", Sentences.BUILT_IN), MiniLm.MAX_TOKENS).ids();
            float[] values = new float[TOKENS * hidden];
            for (int t = 0; t < TOKENS; t++) {
                double energy = 0;
                for (int c = 0; c < hidden; c++) {
                    float value = model.words().getFloat(words[1 + t + c / MiniLm.HIDDEN], c % MiniLm.HIDDEN);
                    values[t * hidden + c] = value;
                    energy += (double) value * value;
                }
                double norm = Math.sqrt(energy / hidden);
                for (int c = 0; c < hidden; c++) {
                    int i = t * hidden + c;
                    values[i] = BFloat16.toFloat(BFloat16.fromFloat((float) (values[i] / norm)));
                }
            }
            Tensor x = Tensor.allocate(DType.BF16, Shape.of(TOKENS, hidden));
            x.copyFrom(values);
            return x;
        }
    }

    private static float[][] weight(SplittableRandom r, InMemory source, String name, int rows, int columns) {
        float[][] values = new float[rows][columns];
        double unit = Math.sqrt(3.0 / columns) / (1 << 16);
        Tensor t = Tensor.allocate(DType.BF16, Shape.of(rows, columns));
        source.tensors.put(name, t);
        for (int i = 0; i < rows; i++) {
            for (int j = 0; j < columns; j++) {
                long bits = r.nextLong(); // four uniform numbers make one that is as good as normally distributed
                double sum = (bits & 0xFFFF) + (bits >>> 16 & 0xFFFF) + (bits >>> 32 & 0xFFFF) + (bits >>> 48) - 131070;
                short half = BFloat16.fromFloat((float) (sum * unit));
                values[i][j] = BFloat16.toFloat(half);
                t.segment().set(ValueLayout.JAVA_SHORT, 2 * ((long) i * columns + j), half);
            }
        }
        return values;
    }

    /** The conversion of an FP8 checkpoint to BF16: code times scale, rounded to BF16. */
    private static ReferenceExperts.Expert converted(ExpertWeights.Expert e) {
        float[][] gateUp = converted(e.gateUp());
        int padded = gateUp.length / 2;
        return new ReferenceExperts.Expert(Arrays.copyOf(gateUp, e.inter()),
                Arrays.copyOfRange(gateUp, padded, padded + e.inter()), converted(e.down()));
    }

    private static float[][] converted(ScaledTensor weight) {
        try (Tensor t = Fp8.auto().dequantize(weight, DType.BF16)) {
            return rows(t);
        }
    }

    private static float[][] rows(Tensor t) {
        int columns = (int) t.dim(1);
        float[] flat = t.toFloatArray();
        float[][] rows = new float[(int) t.dim(0)][];
        Arrays.setAll(rows, i -> Arrays.copyOfRange(flat, i * columns, (i + 1) * columns));
        return rows;
    }

    private static double calcDiff(Tensor hidden, Routing routing, ReferenceExperts.Expert[] experts, Tensor out) {
        float[][] x = rows(hidden);
        float[][] y = rows(out);
        float[] w = routing.weights().toFloatArray();
        int[] ids = new int[EXPERTS];
        Arrays.setAll(ids, e -> e);
        double error = 0;
        double squares = 0;
        for (int t = 0; t < TOKENS; t++) {
            double[] expected = ReferenceExperts.token(x[t], ids, Arrays.copyOfRange(w, t * EXPERTS, (t + 1) * EXPERTS),
                    experts, null);
            for (int c = 0; c < expected.length; c++) {
                error += (expected[c] - y[t][c]) * (expected[c] - y[t][c]);
                squares += expected[c] * expected[c] + (double) y[t][c] * y[t][c];
            }
        }
        return error / squares;
    }
}
