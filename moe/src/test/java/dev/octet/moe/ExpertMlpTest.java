package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.ScaleFormat;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * A layer of experts against FP64 without quantisation. {@link E4m3Error} derives what to expect, here with so much
 * room as a small layer's few blocks of values need; {@link ExpertMlpModelsTest} has large ones.
 */
@Tag("backend")
class ExpertMlpTest {
    /** Chance in some thousand activations; in a few hundred, or with one value a block, it is {@code TINY}. */
    private static final double ROOM = 1.4;
    private static final double TINY = 4;
    private static final double AGAINST_BF16 = E4m3Error.Operands.F32.ofAll();
    private static final double AGAINST_SAME_WEIGHTS = E4m3Error.Operands.F32.ofActivations();

    static Tensor tokens(SplittableRandom r, DType dtype, int tokens, int hidden) {
        float[] values = new float[tokens * hidden];
        for (int i = 0; i < values.length; i++) {
            values[i] = BFloat16.toFloat(BFloat16.fromFloat((float) r.nextGaussian()));
        }
        Tensor t = Tensor.allocate(dtype, Shape.of(tokens, hidden));
        t.copyFrom(values);
        return t;
    }

    static Routing routing(SplittableRandom r, int tokens, int topK, int experts) {
        Routing routing = TokenPermutationTest.random(r, tokens, topK, experts);
        for (int i = 0; i < tokens * topK; i++) {
            int e = routing.experts().segment().getAtIndex(ValueLayout.JAVA_INT, i);
            routing.weights().segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, e < 0 ? 0 : (float) r.nextDouble(0.1, 1));
        }
        return routing;
    }

    static Tensor run(ExpertMlp mlp, Tensor hidden, Routing routing, DType dtype) {
        Tensor out = Tensor.allocate(dtype, hidden.shape());
        out.segment().fill((byte) 0xFF);
        mlp.run(hidden, routing, out);
        return out;
    }

    @ParameterizedTest
    @CsvSource({"1,128,128,4,2,0,F32", "7,256,200,5,3,0,BF16", "40,200,130,3,2,70,F32", "23,384,256,6,6,256,BF16",
            "0,128,128,2,1,128,F32", "3,129,1,2,2,1,F32"})
    void againstTheReference(int tokens, int hidden, int inter, int experts, int topK, int shared, DType dtype) {
        SplittableRandom r = new SplittableRandom(tokens + 1);
        try (ExpertLayer layer = new ExpertLayer(hidden, inter, experts, shared, 1);
                ExpertWeights weights = layer.quantized(); Tensor x = tokens(r, dtype, tokens, hidden);
                Routing routing = routing(r, tokens, topK, experts); CpuPool pool = new CpuPool(3)) {
            double[][] same = ExpertLayer.reference(x, routing, weights);
            double[][] bf16 = layer.reference(x, routing);
            assertTrue(tokens == 0 || Arrays.stream(same[0]).anyMatch(v -> v != 0), "the first token has an expert");
            for (String backend : TestedBackends.names().toList()) {
                for (RoutingWeight place : RoutingWeight.values()) {
                    ExpertMlp mlp = new ExpertMlp(weights, place).on(backend);
                    try (Tensor out = run(mlp, x, routing, dtype);
                            Tensor more = run(mlp.with(pool), x, routing, dtype)) {
                        assertEquals(-1, out.segment().mismatch(more.segment()), "the same bits for three threads");
                        double room = tokens * inter < 1000 ? TINY : ROOM;
                        assertTrue(ExpertLayer.calcDiff(same, ExpertLayer.rows(out)) < room * AGAINST_SAME_WEIGHTS);
                        assertTrue(ExpertLayer.calcDiff(bf16, ExpertLayer.rows(out)) < room * AGAINST_BF16);
                    }
                }
            }
        }
    }

    /** Four roundings to E4M3 and no other: the same in FP64 differs by FP32 alone. */
    @ParameterizedTest
    @CsvSource({"256,200,0,F32", "384,256,130,POWER_OF_TWO", "129,1,1,F32"})
    void roundsNothingElse(int hidden, int inter, int shared, ScaleFormat scales) {
        SplittableRandom r = new SplittableRandom(3);
        float[][] w = new float[RoundedExperts.T][2];
        try (ExpertLayer layer = new ExpertLayer(hidden, inter, 2, shared, 1);
                ExpertWeights weights = layer.quantized(scales);
                Tensor x = tokens(r, DType.F32, RoundedExperts.T, hidden); Routing routing = toAll(r, w)) {
            double[][] expected = new RoundedExperts(layer, weights).run(x, w, RoundedExperts.E4M3);
            for (String backend : TestedBackends.names().toList()) {
                ExpertMlp mlp = new ExpertMlp(weights, RoutingWeight.AFTER_DOWN).on(backend);
                try (Tensor out = run(mlp, x, routing, DType.F32)) {
                    double more = ExpertLayer.calcDiff(expected, ExpertLayer.rows(out));
                    assertTrue(more < 1e-9, () -> backend + ": calc_diff " + more);
                }
            }
        }
    }

    /** Every token goes to all experts. */
    static Routing toAll(SplittableRandom r, float[][] w) {
        int experts = w[0].length;
        Routing routing = Routing.allocate(w.length, experts);
        for (int i = 0; i < w.length * experts; i++) {
            w[i / experts][i % experts] = (float) r.nextDouble(0.1, 1);
            routing.experts().segment().setAtIndex(ValueLayout.JAVA_INT, i, i % experts);
            routing.weights().segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, w[i / experts][i % experts]);
        }
        return routing;
    }

    @ParameterizedTest
    @MethodSource("dev.octet.moe.TestedBackends#names")
    void theOrderOfTokensDoesNotMatter(String backend) {
        SplittableRandom r = new SplittableRandom(6);
        int n = 61;
        try (ExpertWeights weights = ExpertWeights.random(128, 130, 5, 128, 1);
                Tensor x = tokens(r, DType.BF16, n, 128); Tensor mixed = Tensor.allocate(DType.BF16, x.shape());
                Routing routing = routing(r, n, 3, 5); Routing mixedRouting = Routing.allocate(n, 3)) {
            int[] order = new int[n];
            for (int i = 0; i < n; i++) {
                int j = r.nextInt(i + 1);
                order[i] = order[j];
                order[j] = i;
            }
            for (int i = 0; i < n; i++) {
                mixed.slice(0, i, i + 1).copyFrom(x.slice(0, order[i], order[i] + 1));
                mixedRouting.experts().slice(0, i, i + 1)
                        .copyFrom(routing.experts().slice(0, order[i], order[i] + 1));
                mixedRouting.weights().slice(0, i, i + 1)
                        .copyFrom(routing.weights().slice(0, order[i], order[i] + 1));
            }
            for (RoutingWeight place : RoutingWeight.values()) {
                ExpertMlp mlp = new ExpertMlp(weights, place).on(backend);
                try (Tensor out = run(mlp, x, routing, DType.F32);
                        Tensor other = run(mlp, mixed, mixedRouting, DType.F32)) {
                    float[][] a = ExpertLayer.rows(out);
                    float[][] b = ExpertLayer.rows(other);
                    for (int i = 0; i < n; i++) {
                        assertArrayEquals(a[order[i]], b[i]);
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("dev.octet.moe.TestedBackends#names")
    void slotsWithoutExpertsAndOneExpertForAll(String backend) {
        SplittableRandom r = new SplittableRandom(7);
        int[][] all = new int[20][];
        Arrays.fill(all, new int[] {2, -1});
        int[][] none = new int[20][];
        Arrays.fill(none, new int[] {-1, -1});
        try (ExpertWeights weights = ExpertWeights.random(128, 128, 4, 0, 1);
                ExpertWeights withShared = ExpertWeights.random(128, 128, 4, 128, 1);
                Tensor x = tokens(r, DType.F32, 20, 128); Routing toOne = Routings.of(all);
                Routing toNone = Routings.of(none); CpuPool pool = new CpuPool(2)) {
            ExpertMlp mlp = new ExpertMlp(weights, RoutingWeight.AFTER_DOWN).on(backend).with(pool);
            ExpertMlp sharing = new ExpertMlp(withShared, RoutingWeight.BEFORE_DOWN).on(backend);
            try (Tensor out = run(mlp, x, toOne, DType.F32); Tensor zeros = run(mlp, x, toNone, DType.F32);
                    Tensor shared = run(sharing, x, toNone, DType.F32)) {
                assertTrue(ExpertLayer.calcDiff(ExpertLayer.reference(x, toOne, weights), ExpertLayer.rows(out))
                        < ROOM * AGAINST_SAME_WEIGHTS);
                for (float f : zeros.toFloatArray()) {
                    assertEquals(0, f);
                }
                assertTrue(ExpertLayer.calcDiff(ExpertLayer.reference(x, toNone, withShared),
                        ExpertLayer.rows(shared)) < ROOM * AGAINST_SAME_WEIGHTS);
            }
        }
    }

    /** A NaN stays in its token. */
    @Test
    void nanStaysInItsToken() {
        SplittableRandom r = new SplittableRandom(8);
        try (ExpertWeights weights = ExpertWeights.random(128, 128, 2, 128, 1);
                Tensor x = tokens(r, DType.F32, 12, 128); Routing routing = routing(r, 12, 2, 2)) {
            x.segment().setAtIndex(ValueLayout.JAVA_FLOAT, 128 * 5 + 3, Float.NaN);
            try (Tensor out = run(new ExpertMlp(weights, RoutingWeight.AFTER_DOWN), x, routing, DType.F32)) {
                for (int t = 0; t < 12; t++) {
                    for (int c = 0; c < 128; c++) {
                        assertEquals(t == 5, Float.isNaN(out.getFloat(t, c)));
                    }
                }
            }
        }
    }

    private static void refused(String message, Executable call) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call);
        assertTrue(e.getMessage().startsWith(message), e.getMessage());
    }

    @Test
    void refusals() {
        SplittableRandom r = new SplittableRandom(9);
        ExpertWeights weights = ExpertWeights.random(128, 128, 2, 0, 1);
        ExpertMlp mlp = new ExpertMlp(weights, RoutingWeight.AFTER_DOWN);
        try (Tensor x = tokens(r, DType.F32, 3, 128); Tensor out = tokens(r, DType.F32, 3, 128);
                Tensor less = tokens(r, DType.F32, 2, 128); Tensor narrow = tokens(r, DType.F32, 3, 64);
                Tensor half = Tensor.allocate(DType.F16, x.shape());
                Routing routing = Routings.of(new int[][] {{0, 1}, {-1, 1}, {1, 0}});
                Routing wrong = Routings.of(new int[][] {{0, 1}, {-1, 2}, {1, 0}})) {
            float[] before = out.toFloatArray();
            refused("hidden is F16", () -> mlp.run(half, routing, out));
            refused("hidden has shape [3, 64], it must be [tokens, 128]", () -> mlp.run(narrow, routing, out));
            refused("out has shape [2, 128], it must be that of hidden, [3, 128]", () -> mlp.run(x, routing, less));
            refused("routing has 3 tokens, hidden has 2", () -> mlp.run(less, routing, less));
            refused("experts[1, 1] is 2, there are 2 experts", () -> mlp.run(x, wrong, out));
            weights.close();
            assertThrows(IllegalStateException.class, () -> mlp.run(x, routing, out));
            assertArrayEquals(before, out.toFloatArray(), "nothing is written");
        }
    }
}
