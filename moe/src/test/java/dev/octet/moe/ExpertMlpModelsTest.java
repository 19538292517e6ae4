package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import dev.octet.moe.reference.ReferenceExperts;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * A few experts at the dimensions of DeepSeek-V2-Lite and DeepSeek-V3: each product, and the whole against both
 * references. {@link ExpertMlpTest} derives the bounds, the module's page has the figures.
 */
class ExpertMlpModelsTest {
    @ParameterizedTest
    @CsvSource({"2048,1408,4,3,2816", "7168,2048,2,2,0"})
    void atTheDimensionsOfTheModels(int hidden, int inter, int experts, int topK, int shared) {
        SplittableRandom r = new SplittableRandom(2);
        try (ExpertLayer layer = new ExpertLayer(hidden, inter, experts, shared, 2);
                ExpertWeights weights = layer.quantized(); Tensor x = ExpertMlpTest.tokens(r, DType.BF16, 3, hidden);
                Routing routing = ExpertMlpTest.routing(r, 3, topK, experts);
                Tensor out = ExpertMlpTest.run(new ExpertMlp(weights, RoutingWeight.AFTER_DOWN), x, routing,
                        DType.BF16)) {
            stages(layer.experts[0], weights.expert(0), x);
            double bf16 = ExpertLayer.calcDiff(layer.reference(x, routing), ExpertLayer.rows(out));
            double same = ExpertLayer.calcDiff(ExpertLayer.reference(x, routing, weights), ExpertLayer.rows(out));
            System.out.printf("hidden %d inter %d: calc_diff %.3e against BF16, %.3e with the same weights%n", hidden,
                    inter, bf16, same);
            assertTrue(bf16 < ExpertMlpTest.AGAINST_BF16, () -> "calc_diff " + bf16);
            assertTrue(same < 1e-3, () -> "calc_diff " + same);
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
