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
import java.util.SplittableRandom;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The rotary embedding on every backend. With u = 2^-24 the rounded cosine, the product and the sum make a component of
 * a turned pair of length r wrong by at most 3 u r: 1 u for each, and |x cos| + |y sin| is at most r.
 */
@Tag("backend")
class RotationTest {
    private static final String BACKENDS = "dev.octet.mla.TestedBackends#names";
    private static final DType[] TYPES = {DType.F32, DType.BF16};
    private static final double U = 0x1p-24;
    /** Beyond it FP64's own error, that of cosines included. */
    private static final double SLACK = 1 + 1e-6;

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void everyTypeLayoutAndSize(String backend) {
        long[][] sizes = {{1, 1, 64}, {3, 2, 64}, {7, 1, 2}, {1, 3, 6}, {5, 13, 64}, {129, 1, 64}, {2, 128, 64}};
        SplittableRandom random = new SplittableRandom(1);
        for (long[] size : sizes) {
            for (DType from : TYPES) {
                for (DType to : TYPES) {
                    for (Layout layout : Layout.values()) {
                        Layout outLayout = Layout.values()[random.nextInt(4)];
                        check(backend, random, size, from, layout, to, outLayout);
                    }
                }
            }
        }
    }

    private static void check(String backend, SplittableRandom random, long[] size, DType from, Layout layout, DType to,
            Layout outLayout) {
        String what = String.join(" ", backend, Shape.of(size).toString(), from.name(), layout.name(), to.name(),
                outLayout.name());
        Rope rope = Rope.of(MlaConfig.V3.rope(), (int) size[2]);
        int[] positions = random.ints(size[0], 0, 163840).toArray();
        positions[0] = 163839;
        try (TestTensor x = TestTensor.of(from, layout, size).gaussian(random, 3);
                TestTensor out = TestTensor.of(to, outLayout, size)) {
            float[] before = x.values();
            Mla.on(backend).rope(x.view(), positions, rope, out.view());
            assertClose(before, positions, rope, out.values(), to, what);
            assertArrayEquals(before, x.values(), what);
            out.assertSurroundingsUntouched(what);

            try (TestTensor same = TestTensor.of(from, layout, size)) {
                same.view().copyFrom(before);
                Mla.on(backend).rope(same.view(), positions, rope, same.view());
                assertClose(before, positions, rope, same.values(), from, what + " in place");
                same.assertSurroundingsUntouched(what);
            }
        }
    }

    private static void assertClose(float[] x, int[] positions, Rope rope, float[] out, DType type, String what) {
        float[] f = rope.frequencies();
        int pairsPerToken = x.length / 2 / positions.length;
        for (int p = 0; p < x.length / 2; p++) {
            int t = p / pairsPerToken;
            double angle = (float) ((double) positions[t] * f[p % f.length]);
            double cos = StrictMath.cos(angle) * rope.factor();
            double sin = StrictMath.sin(angle) * rope.factor();
            double a = x[2 * p] * cos - x[2 * p + 1] * sin;
            double b = x[2 * p] * sin + x[2 * p + 1] * cos;
            double error = (3 * U * Math.hypot(x[2 * p], x[2 * p + 1]) * rope.factor() + Float.MIN_VALUE) * SLACK;
            assertEquals(a, out[2 * p], error + rounding(type, a, error), () -> what + ", token " + t);
            assertEquals(b, out[2 * p + 1], error + rounding(type, b, error), () -> what + ", token " + t);
        }
    }

    /** Storing as FP32 is the last of the three roundings; BF16 is one more, of a value that is off already. */
    private static double rounding(DType type, double value, double error) {
        return type == DType.F32 ? 0 : TestTensor.halfUlp(type, Math.abs(value) + error);
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void position0LeavesEveryBitAlone(String backend) {
        float[] values = {1.5f, -0f, 0f, -0f, -0f, 0f, Float.POSITIVE_INFINITY, -0f, Float.MIN_VALUE, Float.MAX_VALUE,
            -0f, Float.NEGATIVE_INFINITY};
        Rope rope = Rope.of(MlaConfig.V3.rope(), 4);
        for (DType type : TYPES) {
            try (Tensor x = Tensor.allocate(type, Shape.of(1, 3, 4)); Tensor out = Tensor.allocate(type, x.shape())) {
                x.copyFrom(values);
                Mla.on(backend).rope(x, new int[] {0}, rope, out);
                assertEquals(-1, x.segment().mismatch(out.segment()), type.name());
            }
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void aFactorScalesAtPosition0Too(String backend) {
        Rope rope = Rope.of(new RopeConfig(10000, new RopeConfig.Yarn(40, 4096, 32, 1, 1, 0)), 4);
        try (Tensor x = Tensor.of(new float[] {1, 2, 3, 4}, 1, 1, 4)) {
            Mla.on(backend).rope(x, new int[] {0}, rope, x);
            float m = rope.factor();
            assertArrayEquals(new float[] {m, 2 * m, 3 * m, 4 * m}, x.toFloatArray(), 4 * Math.ulp(4 * m));
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void lengthsOfPairsStay(String backend) {
        SplittableRandom random = new SplittableRandom(2);
        Rope rope = Rope.of(MlaConfig.V3);
        int[] positions = random.ints(33, 0, 163840).toArray();
        try (TestTensor x = TestTensor.of(DType.F32, Layout.DENSE, 33, 5, 64).gaussian(random, 1)) {
            float[] before = x.values();
            Mla.on(backend).rope(x.view(), positions, rope, x.view());
            float[] after = x.values();
            for (int i = 0; i < before.length; i += 2) {
                double length = Math.hypot(before[i], before[i + 1]);
                assertEquals(length, Math.hypot(after[i], after[i + 1]), 3 * Math.sqrt(2) * U * length * SLACK);
            }
        }
    }

    /**
     * The score of a query and a key depends on the difference of their positions alone. Rounding an angle to FP32
     * turns a pair by up to u times the angle too far, and the rounded rotation moves it by up to 3 sqrt(2) u of its
     * length.
     */
    @ParameterizedTest
    @MethodSource(BACKENDS)
    void scoresDependOnTheDifferenceOfPositions(String backend) {
        SplittableRandom random = new SplittableRandom(3);
        Rope rope = Rope.of(MlaConfig.V3);
        float[] f = rope.frequencies();
        int[] shifts = {0, 1, 7, 1000, 65536, 163839 - 4097};
        for (int difference : new int[] {0, 1, 63, 4097}) {
            try (TestTensor x = TestTensor.of(DType.F32, Layout.DENSE, 2, 1, 64).gaussian(random, 1);
                    TestTensor out = TestTensor.of(DType.F32, Layout.DENSE, 2, 1, 64)) {
                float[] v = x.values();
                for (int shift : shifts) {
                    int[] positions = {shift + difference, shift};
                    Mla.on(backend).rope(x.view(), positions, rope, out.view());
                    float[] turned = out.values();
                    double score = 0;
                    double exact = 0;
                    double bound = 0;
                    for (int j = 0; j < 32; j++) {
                        double cos = Math.cos((double) difference * f[j]);
                        double sin = Math.sin((double) difference * f[j]);
                        float qx = v[2 * j];
                        float qy = v[2 * j + 1];
                        float kx = v[64 + 2 * j];
                        float ky = v[64 + 2 * j + 1];
                        exact += (qx * cos - qy * sin) * kx + (qx * sin + qy * cos) * ky;
                        score += (double) turned[2 * j] * turned[64 + 2 * j]
                                + (double) turned[2 * j + 1] * turned[64 + 2 * j + 1];
                        double angles = ((double) positions[0] + positions[1]) * f[j];
                        bound += Math.hypot(qx, qy) * Math.hypot(kx, ky) * U * (angles + 6 * Math.sqrt(2));
                    }
                    assertEquals(exact, score, bound * SLACK, "difference " + difference + ", shift " + shift);
                    assertTrue(bound < 0.5, "a bound that says something");
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void theSameBitsForEveryPoolAndWithinAnyBatch(String backend) {
        SplittableRandom random = new SplittableRandom(4);
        Rope rope = Rope.of(MlaConfig.V3);
        int tokens = 301;
        int[] positions = random.ints(tokens, 0, 163840).toArray();
        try (TestTensor x = TestTensor.of(DType.BF16, Layout.DENSE, tokens, 16, 64).gaussian(random, 1);
                Tensor one = Tensor.allocate(DType.BF16, x.view().shape());
                Tensor three = Tensor.allocate(DType.BF16, x.view().shape());
                Tensor alone = Tensor.allocate(DType.BF16, Shape.of(1, 16, 64));
                CpuPool single = new CpuPool(1); CpuPool pool = new CpuPool(3)) {
            Mla.on(backend).with(single).rope(x.view(), positions, rope, one);
            Mla.on(backend).with(pool).rope(x.view(), positions, rope, three);
            assertEquals(-1, one.segment().mismatch(three.segment()));
            Mla.on(backend).rope(x.view().slice(0, 200, 201), new int[] {positions[200]}, rope, alone);
            assertEquals(-1, one.slice(0, 200, 201).segment().mismatch(alone.segment()));
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void nothingToTurn(String backend) {
        Rope rope = Rope.of(MlaConfig.V3);
        for (long[] size : new long[][] {{0, 3, 64}, {3, 0, 64}}) {
            try (Tensor x = Tensor.allocate(DType.F32, Shape.of(size))) {
                Mla.on(backend).rope(x, new int[(int) size[0]], rope, x);
            }
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void whatDoesNotFitIsRefusedByName(String backend) {
        Mla mla = Mla.on(backend);
        Rope rope = Rope.of(MlaConfig.V3);
        try (Tensor x = Tensor.allocate(DType.F32, Shape.of(2, 3, 64));
                Tensor out = Tensor.allocate(DType.F32, Shape.of(2, 3, 64));
                Tensor narrow = Tensor.allocate(DType.F32, Shape.of(2, 3, 32));
                Tensor half = Tensor.allocate(DType.F16, Shape.of(2, 3, 64))) {
            int[] positions = {0, 1};
            refused("x has shape", () -> mla.rope(narrow, positions, rope, narrow));
            refused("x is F16", () -> mla.rope(half, positions, rope, out));
            refused("out is F16", () -> mla.rope(x, positions, rope, half));
            refused("out has shape", () -> mla.rope(x, positions, rope, narrow));
            refused("positions has 1", () -> mla.rope(x, new int[1], rope, out));
            refused("positions[1] is -5", () -> mla.rope(x, new int[] {0, -5}, rope, out));
        }
    }

    private static void refused(String part, Runnable call) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
        assertTrue(String.valueOf(e.getMessage()).contains(part), e::getMessage);
    }
}
