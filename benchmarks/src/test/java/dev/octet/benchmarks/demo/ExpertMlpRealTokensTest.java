package dev.octet.benchmarks.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.moe.ExpertLayer;
import dev.octet.moe.ExpertMlp;
import dev.octet.moe.ExpertWeights;
import dev.octet.moe.Routing;
import dev.octet.moe.RoutingWeight;
import java.lang.foreign.ValueLayout;
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
    private static final int TOKENS = 6;
    private static final int EXPERTS = 2;

    @ParameterizedTest
    @CsvSource({"2048,1408", "7168,2048"})
    void againstBothReferences(int hidden, int inter) throws Exception {
        SplittableRandom r = new SplittableRandom(5);
        try (ExpertLayer layer = new ExpertLayer(hidden, inter, EXPERTS, 0, 5); ExpertWeights weights = layer.quantized();
                Tensor x = tokens(hidden); Routing routing = Routing.allocate(TOKENS, EXPERTS);
                Tensor out = Tensor.allocate(DType.BF16, x.shape())) {
            for (int i = 0; i < TOKENS * EXPERTS; i++) {
                routing.experts().segment().setAtIndex(ValueLayout.JAVA_INT, i, i % EXPERTS);
                routing.weights().segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) r.nextDouble(0.1, 1));
            }
            new ExpertMlp(weights, RoutingWeight.AFTER_DOWN).run(x, routing, out);
            float[][] y = ExpertLayer.rows(out);
            double same = ExpertLayer.calcDiff(ExpertLayer.reference(x, routing, weights, DType.BF16), y);
            double bf16 = ExpertLayer.calcDiff(layer.reference(x, routing), y);
            System.out.printf("hidden %d inter %d: calc_diff %.3e against a converted checkpoint, %.3e against"
                    + " unquantised weights%n", hidden, inter, same, bf16);
            assertTrue(same < 1e-3, () -> "calc_diff " + same);
            assertTrue(bf16 < 1.08 * 2.04e-3, () -> "calc_diff " + bf16);
        }
    }

    /** Each token is made of the sentence's words: it goes on where the one before it began its second word. */
    @Test
    void tokensAreNeighbouringWords() throws Exception {
        try (Tensor x = tokens(2048)) {
            float[][] rows = ExpertLayer.rows(x);
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
}
