package dev.octet.moe.balance;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.moe.Routing;
import dev.octet.moe.Routings;
import dev.octet.moe.traffic.NodeTopology;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class BalanceTest {
    // ---------------------------------------------------------------------------------------------- loads

    @Test
    void loadsOfARouting() {
        try (Routing r = Routings.of(new int[][] {{0, 3}, {-1, -1}, {3, 1}, {3, -1}})) {
            ExpertLoads loads = ExpertLoads.of(r, 4);
            assertEquals(ExpertLoads.of(1, 1, 0, 3), loads);
            assertEquals(loads.hashCode(), ExpertLoads.of(1, 1, 0, 3).hashCode());
            assertEquals("[1, 1, 0, 3]", loads.toString());
            assertEquals(5, loads.total());
            assertEquals(3, loads.max());
            assertEquals(1.25, loads.mean());
            assertEquals(1.4, loads.maxViolation(), 1e-15);
            assertEquals(-2 * 0.2 * Math.log(0.2) - 0.6 * Math.log(0.6), loads.entropy(), 1e-15);
            assertEquals(ExpertLoads.of(2, 3), loads.byNode(NodeTopology.contiguous(4, 2, 1)));
            assertEquals(ExpertLoads.of(1, 1, 0, 3), loads.byGpu(NodeTopology.contiguous(4, 2, 2)));
            assertEquals(ExpertLoads.of(2, 2, 0, 6), loads.plus(loads));
            assertThrows(IllegalArgumentException.class, () -> ExpertLoads.of(r, 3));
            assertThrows(IllegalArgumentException.class, () -> ExpertLoads.of(r, 0));
            assertThrows(IllegalArgumentException.class, () -> loads.byNode(NodeTopology.contiguous(5, 1, 1)));
            assertThrows(IllegalArgumentException.class, () -> loads.plus(ExpertLoads.of(1)));
        }
    }

    @Test
    void equalAndNoLoads() {
        ExpertLoads even = ExpertLoads.of(7, 7, 7);
        assertEquals(0, even.maxViolation());
        assertEquals(Math.log(3), even.entropy(), 1e-15);
        ExpertLoads none = ExpertLoads.of(0, 0);
        assertEquals(0, none.maxViolation());
        assertEquals(0, none.entropy());
        assertEquals(0, ExpertLoads.of(0, 9).entropy());
        assertEquals(1, ExpertLoads.of(0, 9).maxViolation());
    }

    @Test
    void loadsThatAreNoneAreRefused() {
        assertThrows(IllegalArgumentException.class, ExpertLoads::of);
        assertTrue(assertThrows(IllegalArgumentException.class, () -> ExpertLoads.of(1, -1)).getMessage()
                .startsWith("counts[1] is -1"));
        assertThrows(IllegalArgumentException.class, () -> ExpertLoads.of(Long.MAX_VALUE, 1));
        ExpertLoads most = ExpertLoads.of(Long.MAX_VALUE);
        assertThrows(IllegalArgumentException.class, () -> most.plus(most));
    }

    // ---------------------------------------------------------------------------------------------- bias

    @Test
    void theOverloadedFallAndTheUnderloadedRise() {
        float[] bias = {1, 1, 1, 1};
        SelectionBias.update(bias, ExpertLoads.of(10, 2, 5, 3), 0.25f);
        assertArrayEquals(new float[] {0.75f, 1.25f, 1, 1.25f}, bias);
        SelectionBias.update(bias, ExpertLoads.of(4, 4, 4, 4), 0.25f);
        SelectionBias.update(bias, ExpertLoads.of(10, 2, 5, 3), 0);
        assertArrayEquals(new float[] {0.75f, 1.25f, 1, 1.25f}, bias);
    }

    @Test
    void theMeanIsExact() {
        float[] bias = new float[3];
        SelectionBias.update(bias, ExpertLoads.of(1, 1, 2), 1); // 4/3
        assertArrayEquals(new float[] {1, 1, -1}, bias);
        bias = new float[3];
        long big = 1L << 60; // neighbours that a double does not tell apart
        SelectionBias.update(bias, ExpertLoads.of(big, big + 1, big - 1), 1);
        assertArrayEquals(new float[] {0, -1, 1}, bias);
    }

    @Test
    void theTensorsBiasIsTheArrays() {
        try (Tensor bias = Tensor.of(new float[] {0, 0.5f}, 2); Tensor matrix = Tensor.of(new float[2], 1, 2);
                Tensor bf16 = Tensor.allocate(DType.BF16, Shape.of(2))) {
            SelectionBias.update(bias, ExpertLoads.of(3, 1), SelectionBias.GAMMA_V3);
            assertArrayEquals(new float[] {-0.001f, 0.5f + 0.001f}, bias.toFloatArray());
            ExpertLoads loads = ExpertLoads.of(3, 1);
            assertThrows(IllegalArgumentException.class, () -> SelectionBias.update(matrix, loads, 1));
            assertThrows(IllegalArgumentException.class, () -> SelectionBias.update(bf16, loads, 1));
            for (float bad : new float[] {-1, Float.NaN, Float.POSITIVE_INFINITY}) {
                assertThrows(IllegalArgumentException.class, () -> SelectionBias.update(bias, loads, bad));
            }
            assertThrows(IllegalArgumentException.class, () -> SelectionBias.update(bias, ExpertLoads.of(1), 1));
            assertArrayEquals(new float[] {-0.001f, 0.5f + 0.001f}, bias.toFloatArray());
        }
    }

    /** A closed loop: experts with unequal favour, chosen by score and bias, become evenly loaded. */
    @Test
    void theRuleEvensOutLoads() {
        SplittableRandom random = new SplittableRandom(5);
        int experts = 8;
        int tokens = 400;
        float[] bias = new float[experts];
        double first = 0;
        double last = 0;
        for (int step = 0; step < 400; step++) {
            long[] counts = new long[experts];
            for (int t = 0; t < tokens; t++) {
                int best = 0;
                double value = -1;
                for (int e = 0; e < experts; e++) {
                    double choice = random.nextDouble() + 0.05 * e + bias[e];
                    if (choice > value || e == 0) {
                        best = e;
                        value = choice;
                    }
                }
                counts[best]++;
            }
            ExpertLoads loads = ExpertLoads.of(counts);
            first = step == 0 ? loads.maxViolation() : first;
            last = loads.maxViolation();
            SelectionBias.update(bias, loads, 0.002f);
        }
        assertTrue(first > 0.9 && last < 0.45, first + " became " + last);
    }

    // ---------------------------------------------------------------------------------------------- the loss

    @Test
    void perfectBalanceIsAlpha() {
        int experts = 6;
        float[] scores = new float[experts * experts];
        for (int t = 0; t < experts; t++) { // expert t and t+1 are the best of token t
            for (int e = 0; e < experts; e++) {
                scores[t * experts + e] = e == t ? 0.9f : e == (t + 1) % experts ? 0.7f : 0.1f + 0.01f * e;
            }
        }
        try (Tensor s = Tensor.of(scores, experts, experts)) {
            SequenceBalance b = SequenceBalance.of(s, 2, 1, null);
            assertArrayEquals(new double[] {1, 1, 1, 1, 1, 1}, b.loads());
            assertEquals(1, b.loss(), 1e-15);
            assertEquals(1e-4, SequenceBalance.of(s, 2, SequenceBalance.ALPHA_V3, null).loss(), 1e-19);
        }
    }

    @Test
    void byHand() {
        try (Tensor s = Tensor.of(new float[] {3, 1, 0, 2, 1, 1}, 2, 3); Tensor g = Tensor.of(new float[6], 2, 3)) {
            SequenceBalance b = SequenceBalance.of(s, 1, 2, g);
            assertArrayEquals(new double[] {3, 0, 0}, b.loads());
            assertArrayEquals(new double[] {0.625, 0.25, 0.125}, b.shares(), 1e-15);
            assertEquals(2 * 3 * 0.625, b.loss(), 1e-15);
            // 2 / (2 * 4) * (f - SUM f s'), with sums of 2.25 and 1.5
            assertArrayEquals(new float[] {0.1875f, -0.5625f, -0.5625f, 0.375f, -0.375f, -0.375f}, g.toFloatArray());
            assertEquals(b, SequenceBalance.of(s, 1, 2, null));
        }
    }

    @Test
    void gradientAgainstCentralDifferences() {
        SplittableRandom random = new SplittableRandom(17);
        for (int round = 0; round < 20; round++) {
            int experts = random.nextInt(2, 9);
            int tokens = random.nextInt(1, 7);
            int k = random.nextInt(1, experts + 1);
            double[] s = random.doubles((long) tokens * experts, 0.05, 1).toArray();
            int[] chosen = random.ints((long) tokens * k, -1, experts).toArray(); // padding and gaps, too
            double[] gradient = new double[s.length];
            SequenceBalance.compute(s, experts, chosen, k, 0.7, gradient);
            for (int i = 0; i < s.length; i++) {
                double h = 1e-5;
                double[] moved = s.clone();
                moved[i] = s[i] + h;
                double up = SequenceBalance.compute(moved, experts, chosen, k, 0.7, null).loss();
                moved[i] = s[i] - h;
                double down = SequenceBalance.compute(moved, experts, chosen, k, 0.7, null).loss();
                assertEquals((up - down) / (2 * h), gradient[i], 1e-8, "round " + round + ", score " + i);
            }
        }
    }

    /** The paper's own selection moves with the scores; away from ties a small step does not change it. */
    @Test
    void gradientOfTheWholeLossInFp32Scores() {
        SplittableRandom random = new SplittableRandom(23);
        int tokens = 5;
        int experts = 8;
        float[] scores = new float[tokens * experts];
        for (int i = 0; i < scores.length; i++) {
            scores[i] = (1 + i * 13 % 40) / 64f + random.nextInt(4) / 1024f; // all of a token 1/128 apart and more
        }
        try (Tensor s = Tensor.of(scores, tokens, experts); Tensor g = Tensor.of(new float[40], tokens, experts)) {
            SequenceBalance.of(s, 3, 1, g);
            float[] gradient = g.toFloatArray();
            float h = 1f / 4096; // exact in all sums
            for (int i = 0; i < scores.length; i++) {
                float[] moved = scores.clone();
                moved[i] += h;
                s.copyFrom(moved);
                double up = SequenceBalance.of(s, 3, 1, null).loss();
                moved[i] = scores[i] - h;
                s.copyFrom(moved);
                double down = SequenceBalance.of(s, 3, 1, null).loss();
                assertEquals((up - down) / (2 * h), gradient[i], 1e-6, "score " + i);
            }
        }
    }

    @Test
    void aRoutingDecidesWhatCounts() {
        float[] scores = {0.5f, 0.25f, 0.25f, Float.NaN, 0, 0, 0.25f, 0.5f, 0.25f};
        try (Tensor s = Tensor.of(scores, 3, 3); Tensor g = Tensor.of(new float[] {9, 9, 9, 9, 9, 9, 9, 9, 9}, 3, 3);
                Routing r = Routings.of(new int[][] {{2}, {-1}, {1}})) {
            SequenceBalance b = SequenceBalance.of(s, r, 1, g);
            assertArrayEquals(new double[] {0, 1.5, 1.5}, b.loads());
            assertArrayEquals(new double[] {0.375, 0.375, 0.25}, b.shares());
            assertEquals(0.9375, b.loss());
            assertArrayEquals(new float[3], Arrays.copyOfRange(g.toFloatArray(), 3, 6), "padding");
            assertTrue(assertThrows(IllegalArgumentException.class, () -> SequenceBalance.of(s, 1, 1, g)).getMessage()
                    .startsWith("scores[1, 0] is NaN"));
        }
        try (Tensor none = Tensor.of(new float[0], 0, 3)) {
            assertEquals(0, SequenceBalance.of(none, 1, 1, null).loss());
        }
    }

    @Test
    void bestOfEqualScoresIsTheFirst() {
        try (Tensor s = Tensor.of(new float[] {1, 1, 1, 1}, 1, 4)) {
            assertArrayEquals(new double[] {2, 2, 0, 0}, SequenceBalance.of(s, 2, 1, null).loads());
        }
    }

    @Test
    void whatHasNoLossIsRefused() {
        try (Tensor s = Tensor.of(new float[] {1, 1, 1, 1}, 2, 2); Tensor wide = Tensor.of(new float[6], 2, 3);
                Tensor zero = Tensor.of(new float[] {1, 1, 0, 0}, 2, 2);
                Tensor negative = Tensor.of(new float[] {1, 1, 0, -1}, 2, 2); Routing r = Routing.allocate(3, 1)) {
            refused("topK is 3", () -> SequenceBalance.of(s, 3, 1, null));
            refused("topK is 0", () -> SequenceBalance.of(s, 0, 1, null));
            refused("alpha is -1", () -> SequenceBalance.of(s, 1, -1, null));
            refused("alpha is NaN", () -> SequenceBalance.of(s, 1, Double.NaN, null));
            refused("gradient is", () -> SequenceBalance.of(s, 1, 1, wide));
            refused("scores of token 1 are all 0", () -> SequenceBalance.of(zero, 1, 1, null));
            refused("scores[1, 1] is -1", () -> SequenceBalance.of(negative, 1, 1, null));
            refused("routing has 3 tokens", () -> SequenceBalance.of(s, r, 1, null));
        }
    }

    private static void refused(String message, Executable call) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call);
        assertTrue(e.getMessage().startsWith(message), e::getMessage);
    }
}
