package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.mla.TestTensor.Layout;
import java.math.BigDecimal;
import java.math.MathContext;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * RMSNorm on every backend. In FP64 a sum of n squares is off by at most n 2^-53 of itself, the root by half of that,
 * and the three operations after it by 3 2^-53: for rows of 7168 values 2^-41, beside the one rounding of the result.
 * FP32 and BF16 round twice, which adds half an ulp of FP32 to a BF16.
 */
@Tag("backend")
class RmsNormTest {
    private static final String BACKENDS = "dev.octet.mla.TestedBackends#names";
    private static final DType[] TYPES = {DType.F32, DType.BF16};
    private static final float EPS = 1e-6f;

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void everyTypeLayoutAndSize(String backend) {
        SplittableRandom random = new SplittableRandom(1);
        for (long[] size : new long[][] {{1, 1}, {1, 7}, {2, 8}, {3, 13}, {5, 127}, {2, 512}, {1, 1536}, {7, 1021}}) {
            for (DType from : TYPES) {
                for (DType to : TYPES) {
                    for (Layout layout : Layout.values()) {
                        check(backend, random, size, from, layout, to, Layout.values()[random.nextInt(4)]);
                    }
                }
            }
        }
        check(backend, random, new long[] {3, 7168}, DType.BF16, Layout.DENSE, DType.BF16, Layout.DENSE);
    }

    private static void check(String backend, SplittableRandom random, long[] size, DType from, Layout layout, DType to,
            Layout outLayout) {
        String what = String.join(" ", backend, Shape.of(size).toString(), from.name(), layout.name(), to.name(),
                outLayout.name());
        DType weightType = TYPES[random.nextInt(2)];
        Layout weightLayout = Layout.values()[random.nextInt(4)];
        double deviation = Math.scalb(1.0, random.nextInt(-12, 12));
        try (TestTensor x = TestTensor.of(from, layout, size).gaussian(random, deviation);
                TestTensor weight = TestTensor.of(weightType, weightLayout, size[1]).gaussian(random, 1);
                TestTensor out = TestTensor.of(to, outLayout, size)) {
            float[] before = x.values();
            Mla.on(backend).rmsNorm(x.view(), weight.view(), EPS, out.view());
            assertClose(before, weight.values(), EPS, out.values(), to, what);
            assertArrayEquals(before, x.values(), what);
            out.assertSurroundingsUntouched(what);

            Mla.on(backend).rmsNorm(x.view(), weight.view(), EPS, x.view());
            assertClose(before, weight.values(), EPS, x.values(), from, what + " in place");
            x.assertSurroundingsUntouched(what);
        }
    }

    private static void assertClose(float[] x, float[] weight, float eps, float[] out, DType type, String what) {
        int d = weight.length;
        for (int r = 0; r < x.length / d; r++) {
            BigDecimal sum = BigDecimal.ZERO;
            for (int i = 0; i < d; i++) {
                BigDecimal v = new BigDecimal(x[r * d + i]);
                sum = sum.add(v.multiply(v), MathContext.DECIMAL128);
            }
            BigDecimal mean = sum.divide(BigDecimal.valueOf(d), MathContext.DECIMAL128).add(new BigDecimal(eps));
            double root = mean.sqrt(MathContext.DECIMAL64).doubleValue();
            for (int i = 0; i < d; i++) {
                double exact = x[r * d + i] / root * weight[i];
                double twice = type == DType.BF16 ? TestTensor.halfUlp(DType.F32, exact) : 0;
                double error = TestTensor.halfUlp(type, exact) + twice + Math.abs(exact) * 0x1p-40;
                int at = r * d + i;
                assertEquals(exact, out[at], error, () -> what + ", element " + at);
            }
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void neitherHugeNorTinyValuesLeaveTheRange(String backend) {
        float[] weight = {1, 1, 1, 1, 1, 1, 1, 1, 2};
        for (float magnitude : new float[] {Float.MAX_VALUE, 1e30f, 1e-20f, 1e-38f, Float.MIN_VALUE}) {
            float[] values = new float[9];
            Arrays.fill(values, magnitude);
            values[3] = -magnitude;
            try (Tensor x = Tensor.of(values, 1, 9); Tensor w = Tensor.of(weight, 9)) {
                // So small an eps that it counts for none of them but the last three.
                float eps = 1e-40f;
                Mla.on(backend).rmsNorm(x, w, eps, x);
                assertClose(values, weight, eps, x.toFloatArray(), DType.F32, backend + " " + magnitude);
            }
        }
        // FP32's sum of squares would be infinite, and the result 0.
        try (Tensor x = Tensor.of(new float[] {2e38f, -2e38f}, 1, 2); Tensor w = Tensor.of(new float[] {1, 3}, 2)) {
            Mla.on(backend).rmsNorm(x, w, EPS, x);
            assertArrayEquals(new float[] {1, -3}, x.toFloatArray());
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void zerosStayZeros(String backend) {
        try (Tensor x = Tensor.of(new float[] {0, -0f, 0}, 1, 3); Tensor w = Tensor.of(new float[] {1, 2, -3}, 3)) {
            Mla.on(backend).rmsNorm(x, w, Float.MIN_VALUE, x);
            assertArrayEquals(new float[] {0, -0f, -0f}, x.toFloatArray());
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void epsIsAddedToTheMeanNotToTheSum(String backend) {
        float[] ones = {1, 1, 1, 1};
        try (Tensor x = Tensor.of(ones, 1, 4); Tensor w = Tensor.of(ones, 4)) {
            Mla.on(backend).rmsNorm(x, w, 3, x);
            assertArrayEquals(new float[] {0.5f, 0.5f, 0.5f, 0.5f}, x.toFloatArray());
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void aBadRowSpoilsNoOther(String backend) {
        float inf = Float.POSITIVE_INFINITY;
        float[] values = {1, 1, Float.NaN, 1, 5, -inf, 2, 2};
        for (DType type : TYPES) {
            try (Tensor x = Tensor.allocate(type, Shape.of(4, 2)); Tensor w = Tensor.of(new float[] {1, 1}, 2)) {
                x.copyFrom(values);
                Mla.on(backend).rmsNorm(x, w, 1e-12f, x);
                assertArrayEquals(new float[] {1, 1, Float.NaN, Float.NaN, 0, Float.NaN, 1, 1}, x.toFloatArray());
            }
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void theSameBitsForEveryPoolAndWithinAnyBatch(String backend) {
        SplittableRandom random = new SplittableRandom(4);
        try (TestTensor x = TestTensor.of(DType.F32, Layout.DENSE, 257, 512).gaussian(random, 1);
                TestTensor w = TestTensor.of(DType.BF16, Layout.DENSE, 512).gaussian(random, 1);
                Tensor one = Tensor.allocate(DType.F32, x.view().shape());
                Tensor three = Tensor.allocate(DType.F32, x.view().shape());
                Tensor alone = Tensor.allocate(DType.F32, Shape.of(1, 512));
                CpuPool single = new CpuPool(1); CpuPool pool = new CpuPool(3)) {
            Mla.on(backend).with(single).rmsNorm(x.view(), w.view(), EPS, one);
            Mla.on(backend).with(pool).rmsNorm(x.view(), w.view(), EPS, three);
            assertEquals(-1, one.segment().mismatch(three.segment()));
            Mla.on(backend).rmsNorm(x.view().slice(0, 200, 201), w.view(), EPS, alone);
            assertEquals(-1, one.slice(0, 200, 201).segment().mismatch(alone.segment()));
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void nothingToNormalise(String backend) {
        for (long[] size : new long[][] {{0, 5}, {5, 0}, {0, 0}}) {
            try (Tensor x = Tensor.allocate(DType.F32, Shape.of(size));
                    Tensor w = Tensor.allocate(DType.F32, Shape.of(size[1]))) {
                Mla.on(backend).rmsNorm(x, w, EPS, x);
            }
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void whatDoesNotFitIsRefusedByName(String backend) {
        Mla mla = Mla.on(backend);
        try (Tensor x = Tensor.allocate(DType.F32, Shape.of(2, 4)); Tensor w = Tensor.allocate(DType.F32, Shape.of(4));
                Tensor half = Tensor.allocate(DType.F16, Shape.of(2, 4))) {
            refused("weight has shape", () -> mla.rmsNorm(x, w.slice(0, 0, 3), EPS, x));
            refused("out has shape", () -> mla.rmsNorm(x, w, EPS, x.slice(0, 0, 1)));
            refused("x is F16", () -> mla.rmsNorm(half, w, EPS, x));
            refused("out is F16", () -> mla.rmsNorm(x, w, EPS, half));
            refused("eps is 0.0", () -> mla.rmsNorm(x, w, 0, x));
            refused("eps is NaN", () -> mla.rmsNorm(x, w, Float.NaN, x));
        }
    }

    private static void refused(String part, Runnable call) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
        assertTrue(String.valueOf(e.getMessage()).contains(part), e::getMessage);
    }
}
