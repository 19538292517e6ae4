package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import dev.octet.moe.RoundedExperts.Rounding;
import dev.octet.moe.reference.ReferenceExperts;
import java.util.EnumSet;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * A few experts at the dimensions of DeepSeek-V2-Lite and DeepSeek-V3: where the error of a layer comes from, each part
 * measured by itself and against {@link E4m3Error}, which derives it.
 *
 * <p>Two references. A checkpoint in FP8, such as DeepSeek-V3's, converted to BF16 and run in BF16: weights are the
 * same then, and {@code calc_diff} is below 1e-3, which is the bar. And a BF16 model whose weights are quantised here:
 * four roundings instead of two, whose sum is 2e-3; weights alone have 1.09e-3 of it, so that no format of activations
 * could bring it below 1e-3.
 */
class ExpertMlpModelsTest {
    private static final Set<Rounding> NONE = EnumSet.noneOf(Rounding.class);
    /** What chance leaves open: 8 tokens of V2-Lite have some 200 blocks of activations for each expert. */
    private static final double CHANCE = 0.08;

    @ParameterizedTest
    @CsvSource({"2048,1408,2,2816,F32", "7168,2048,2,0,F32", "2048,1408,2,2816,POWER_OF_TWO"})
    void whereTheErrorComesFrom(int hidden, int inter, int experts, int shared, ScaleFormat scales) {
        SplittableRandom r = new SplittableRandom(2);
        float[][] w = new float[RoundedExperts.T][experts];
        try (ExpertLayer layer = new ExpertLayer(hidden, inter, experts, shared, 2);
                ExpertWeights weights = layer.quantized(scales);
                Tensor x = ExpertMlpTest.tokens(r, DType.BF16, RoundedExperts.T, hidden);
                Routing routing = ExpertMlpTest.toAll(r, w)) {
            E4m3Error.Operands derived = scales == ScaleFormat.F32 ? E4m3Error.Operands.F32
                    : E4m3Error.Operands.POWER_OF_TWO;
            RoundedExperts model = new RoundedExperts(layer, weights);
            double[][] exact = model.run(x, w, NONE);
            for (Rounding one : RoundedExperts.E4M3) {
                near(one.name(), derived.calcDiff(one), ExpertLayer.calcDiff(exact, model.run(x, w, EnumSet.of(one))));
            }
            double[][] all = model.run(x, w, RoundedExperts.E4M3);
            near("all", derived.ofAll(), ExpertLayer.calcDiff(exact, all));
            double[][] converted = model.run(x, w, EnumSet.of(Rounding.GATE_UP, Rounding.DOWN, Rounding.BF16));
            double[][] bf16 = model.run(x, w, EnumSet.of(Rounding.BF16));
            ExpertMlp mlp = new ExpertMlp(weights, RoutingWeight.AFTER_DOWN);
            try (Tensor out = ExpertMlpTest.run(mlp, x, routing, DType.F32);
                    Tensor half = ExpertMlpTest.run(mlp, x, routing, DType.BF16)) {
                // FP32 may put an activation on the other side of a rounding's edge; any other rounding is more.
                double more = ExpertLayer.calcDiff(all, ExpertLayer.rows(out));
                assertTrue(more < 1e-7, () -> "calc_diff " + more + " beyond the four roundings");
                near("BF16 result", E4m3Error.BF16, ExpertLayer.calcDiff(all, ExpertLayer.rows(half)));
                double against = ExpertLayer.calcDiff(converted, ExpertLayer.rows(half));
                near("converted checkpoint", derived.ofActivations(), against);
                assertTrue(scales != ScaleFormat.F32 || against < 1e-3, () -> "calc_diff " + against);
                near("BF16 model", derived.ofAll(), ExpertLayer.calcDiff(bf16, ExpertLayer.rows(half)));
            }
        }
    }

    private static void near(String what, double expected, double actual) {
        System.out.printf("%-20s calc_diff %.3e, derived %.3e%n", what, actual, expected);
        assertEquals(expected, actual, CHANCE * expected, what);
    }

    /** One product of two rounded matrices: below 1e-3, as DeepGEMM asks of it. */
    @ParameterizedTest
    @CsvSource({"2048,1408", "7168,2048"})
    void eachProduct(int hidden, int inter) {
        SplittableRandom r = new SplittableRandom(2);
        try (ExpertLayer layer = new ExpertLayer(hidden, inter, 1, 0, 2); ExpertWeights weights = layer.quantized();
                Tensor x = ExpertMlpTest.tokens(r, DType.BF16, 3, hidden)) {
            stages(layer.experts[0], weights.expert(0), x);
        }
    }

    private static void stages(ReferenceExperts.Expert e, ExpertWeights.Expert w, Tensor x) {
        float[][] rows = ExpertLayer.rows(x);
        double[][] up = new double[rows.length][e.up().length];
        double[][] down = new double[rows.length][e.down().length];
        float[] h = new float[rows.length * e.up().length];
        for (int t = 0; t < rows.length; t++) {
            for (int i = 0; i < e.up().length; i++) {
                double g = 0;
                for (int c = 0; c < rows[t].length; c++) {
                    g += (double) e.gate()[i][c] * rows[t][c];
                    up[t][i] += (double) e.up()[i][c] * rows[t][c];
                }
                h[t * e.up().length + i] = (float) ReferenceExperts.swiglu(g, up[t][i]);
            }
            for (int i = 0; i < e.down().length; i++) {
                for (int c = 0; c < e.up().length; c++) {
                    down[t][i] += (double) e.down()[i][c] * h[t * e.up().length + c];
                }
            }
        }
        int padded = (int) w.gateUp().rows() / 2;
        ScaledTensor upWeights = w.gateUp().sliceRows(padded, padded + w.inter());
        try (Tensor activations = Tensor.of(h, rows.length, e.up().length)) {
            assertTrue(product(x, upWeights, up) < 1e-3);
            assertTrue(product(activations, w.down(), down) < 1e-3);
        }
    }

    private static double product(Tensor x, ScaledTensor w, double[][] expected) {
        try (ScaledTensor a = Fp8.auto().quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                Tensor d = Tensor.allocate(DType.F32, Shape.of(x.dim(0), w.rows()))) {
            Fp8.auto().gemm(a, w, d, Epilogue.NONE);
            return ExpertLayer.calcDiff(expected, ExpertLayer.rows(d));
        }
    }
}
