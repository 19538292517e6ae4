package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Quantisers on every backend: the same bits as the reference, and facts that hold without one. */
@Tag("backend")
class QuantizerTest {
    private static final String BACKENDS = "dev.octet.fp8.TestedBackends#names";
    private static final DType[] FORMATS = {DType.F8_E4M3, DType.F8_E5M2};
    private static final DType[] WIDE = {DType.F32, DType.BF16, DType.F16};
    private static final long[][] SIZES = {{0, 0}, {0, 130}, {129, 0}, {1, 1}, {1, 128}, {7, 13}, {13, 127}, {127, 129},
        {128, 128}, {129, 576}, {130, 1021}, {300, 33}, {1, 9000}, {140, 1100}};

    private static List<Scaling> scalings() {
        List<Scaling> all = new ArrayList<>();
        for (Granularity granularity : Granularity.values()) {
            for (ScaleFormat format : ScaleFormat.values()) {
                all.add(new Scaling(granularity, format));
            }
        }
        return all;
    }

    /** A scaled matrix in poisoned memory. */
    private record Target(TestMatrix codes, TestMatrix scales, ScaledTensor view) implements AutoCloseable {
        static Target of(DType format, long rows, long columns, Scaling scaling, int codesLayout, int scalesLayout) {
            Shape shape = scaling.granularity().scaleShape(rows, columns);
            TestMatrix codes = TestMatrix.of(format, rows, columns, codesLayout);
            TestMatrix scales = TestMatrix.of(scaling.format().dtype(), shape.dim(0), shape.dim(1), scalesLayout);
            return new Target(codes, scales, new ScaledTensor(codes.view(), scales.view(), scaling));
        }

        @Override
        public void close() {
            codes.close();
            scales.close();
        }
    }

    private static int scaleBits(ScaledTensor t, long i, long j) {
        long at = i * t.scales().stride(0) + j * t.scales().stride(1);
        MemorySegment s = t.scales().segment();
        return t.scales().dtype() == DType.F32 ? s.get(ValueLayout.JAVA_INT_UNALIGNED, 4 * at)
                : s.get(ValueLayout.JAVA_BYTE, at) & 0xFF;
    }

    private static int code(ScaledTensor t, long r, long c) {
        return t.codes().segment().get(ValueLayout.JAVA_BYTE, r * t.codes().stride(0) + c * t.codes().stride(1)) & 0xFF;
    }

    private static void assertSame(ScaledTensor expected, ScaledTensor actual, String what) {
        for (long i = 0; i < expected.scales().dim(0); i++) {
            for (long j = 0; j < expected.scales().dim(1); j++) {
                if (scaleBits(expected, i, j) != scaleBits(actual, i, j)) {
                    assertEquals(Integer.toHexString(scaleBits(expected, i, j)),
                            Integer.toHexString(scaleBits(actual, i, j)), what + ": scale " + i + "," + j);
                }
            }
        }
        MemorySegment e = expected.codes().segment();
        MemorySegment a = actual.codes().segment();
        for (long r = 0; r < expected.rows(); r++) {
            for (long c = 0; c < expected.columns(); c++) {
                byte wanted = e.get(ValueLayout.JAVA_BYTE, r * expected.codes().stride(0) + c * expected.codes().stride(1));
                byte got = a.get(ValueLayout.JAVA_BYTE, r * actual.codes().stride(0) + c * actual.codes().stride(1));
                if (wanted != got) {
                    assertEquals(Integer.toHexString(wanted & 0xFF), Integer.toHexString(got & 0xFF),
                            what + ": code " + r + "," + c);
                }
            }
        }
    }

    /** Values of every kind: ordinary, zero groups, outliers, tiny, huge, and some that are not finite. */
    private static void fill(TestMatrix x, SplittableRandom random, boolean notFinite) {
        long rows = x.view().dim(0);
        long columns = x.view().dim(1);
        boolean wide = x.view().dtype() != DType.F16;
        for (long r = 0; r < rows; r++) {
            for (long c = 0; c < columns; c++) {
                int kind = (int) ((r / 128 * 5 + c / 128 + r % 7) % 6);
                float v = (float) random.nextDouble(-1, 1);
                x.set(r, c, switch (kind) {
                    case 0 -> v;
                    case 1 -> random.nextInt(3) == 0 ? -0f : 0f;
                    case 2 -> random.nextInt(200) == 0 ? v * 30000 : v * 1e-3f;
                    case 3 -> Math.scalb(v, random.nextInt(-40, 15));
                    case 4 -> wide ? Math.scalb(v, random.nextInt(-149, 127)) : v;
                    default -> v * 1e-5f;
                });
            }
        }
        if (notFinite && rows > 0 && columns > 0) {
            float[] bad = {Float.NaN, -Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY,
                Float.intBitsToFloat(0xFFC1_2345)};
            for (int i = 0; i < 1 + rows * columns / 5000; i++) {
                x.set(random.nextLong(rows), random.nextLong(columns), bad[random.nextInt(bad.length)]);
            }
        }
    }

    /** All backends on one result of the reference, whose search among all codes takes most of the time. */
    @Test
    void everyKindOfQuantiserGivesTheReferencesBits() {
        long seed = Long.getLong("octet.test.seed", 20241226L);
        SplittableRandom random = new SplittableRandom(seed);
        int n = 0;
        for (long[] size : SIZES) {
            for (DType wide : WIDE) {
                for (Scaling scaling : scalings()) {
                    DType format = FORMATS[n % 2];
                    compare(random, size, wide, format, scaling, n % 4, n / 4 % 4, n / 16 % 4, n % 3 == 0,
                            "seed " + seed + " case " + n);
                    n++;
                }
            }
        }
    }

    private static void compare(SplittableRandom random, long[] size, DType wide, DType format, Scaling scaling,
            int sourceLayout, int codesLayout, int scalesLayout, boolean notFinite, String label) {
        try (TestMatrix x = TestMatrix.of(wide, size[0], size[1], sourceLayout);
                Target expected = Target.of(format, size[0], size[1], scaling, 0, 0);
                TestMatrix expectedBack = TestMatrix.of(wide, size[0], size[1], 0)) {
            fill(x, random, notFinite);
            Fp8.on("reference").quantize(x.view(), expected.view());
            Fp8.on("reference").dequantize(expected.view(), expectedBack.view());
            TestedBackends.names().forEach(backend -> {
                String what = label + " " + backend + " " + wide + Arrays.toString(size) + " to " + format + " "
                        + scaling + " layouts " + sourceLayout + codesLayout + scalesLayout;
                try (Target actual = Target.of(format, size[0], size[1], scaling, codesLayout, scalesLayout);
                        TestMatrix back = TestMatrix.of(wide, size[0], size[1], (sourceLayout + codesLayout) % 4)) {
                    Fp8.on(backend).quantize(x.view(), actual.view());
                    assertSame(expected.view(), actual.view(), what);
                    Fp8.on(backend).dequantize(actual.view(), back.view());
                    assertSame(expectedBack, back, what);
                    actual.codes().assertSurroundingsUntouched(what);
                    actual.scales().assertSurroundingsUntouched(what);
                    back.assertSurroundingsUntouched(what);
                }
            });
        }
    }

    private static void assertSame(TestMatrix expected, TestMatrix actual, String what) {
        for (long r = 0; r < expected.view().dim(0); r++) {
            for (long c = 0; c < expected.view().dim(1); c++) {
                float e = expected.get(r, c);
                float a = actual.get(r, c);
                if (Float.floatToIntBits(e) != Float.floatToIntBits(a)) {
                    assertEquals(e, a, what + ": dequantised " + r + "," + c);
                }
            }
        }
    }

    @Test
    void requantisingGivesTheReferencesBits() {
        SplittableRandom random = new SplittableRandom(77);
        long[][] sizes = {{0, 5}, {1, 1}, {131, 257}, {260, 1100}};
        int sources = 0;
        int n = 0;
        for (long[] size : sizes) {
            for (Scaling from : scalings()) {
                int f = sources++;
                try (TestMatrix x = TestMatrix.of(DType.F32, size[0], size[1], 0);
                        Target source = Target.of(FORMATS[f % 2], size[0], size[1], from, f % 4, f / 2 % 4)) {
                    fill(x, random, f % 3 == 0);
                    Fp8.on("reference").quantize(x.view(), source.view());
                    for (Granularity to : Granularity.values()) {
                        Scaling scaling = new Scaling(to, ScaleFormat.values()[n % 3]);
                        requantize(source.view(), FORMATS[n / 2 % 2], scaling, n / 4 % 4, n / 3 % 4,
                                Arrays.toString(size) + " " + from + " to " + scaling + " case " + n + " on ");
                        n++;
                    }
                }
            }
        }
    }

    private static void requantize(ScaledTensor source, DType format, Scaling scaling, int codesLayout,
            int scalesLayout, String label) {
        try (Target expected = Target.of(format, source.rows(), source.columns(), scaling, 0, 0)) {
            Fp8.on("reference").requantize(source, expected.view());
            TestedBackends.names().forEach(backend -> {
                try (Target actual = Target.of(format, source.rows(), source.columns(), scaling, codesLayout,
                        scalesLayout)) {
                    Fp8.on(backend).requantize(source, actual.view());
                    assertSame(expected.view(), actual.view(), label + backend);
                    actual.codes().assertSurroundingsUntouched(label + backend);
                    actual.scales().assertSurroundingsUntouched(label + backend);
                }
            });
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void aGroupOfZerosHasTheLeastScaleAndZeroCodes(String backend) {
        for (DType wide : WIDE) {
            for (Scaling scaling : scalings()) {
                try (Tensor x = Tensor.allocate(wide, Shape.of(130, 200));
                        ScaledTensor t = Fp8.on(backend).quantize(x, DType.F8_E4M3, scaling)) {
                    int expected = switch (scaling.format()) {
                        case F32 -> Float.floatToRawIntBits((float) 1e-4 / 448f);
                        case POWER_OF_TWO -> Float.floatToRawIntBits(0x1p-22f);
                        case E8M0 -> 127 - 22;
                    };
                    for (long i = 0; i < t.scales().dim(0); i++) {
                        for (long j = 0; j < t.scales().dim(1); j++) {
                            assertEquals(expected, scaleBits(t, i, j), scaling.toString());
                        }
                    }
                    assertEquals(-1, t.codes().segment().mismatch(Arena.ofAuto().allocate(130 * 200)));
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void aMatrixWithoutElementsStillHasItsScales(String backend) {
        try (Tensor none = Tensor.allocate(DType.BF16, Shape.of(3, 0));
                ScaledTensor whole = Fp8.on(backend).quantize(none, DType.F8_E4M3,
                        new Scaling(Granularity.TENSOR, ScaleFormat.POWER_OF_TWO));
                ScaledTensor rows = Fp8.on(backend).quantize(none, DType.F8_E4M3,
                        new Scaling(Granularity.ROW, ScaleFormat.POWER_OF_TWO))) {
            assertEquals(0x1p-22f, whole.scales().getFloat(0, 0));
            assertEquals(0x1p-22f, rows.scales().getFloat(2, 0));
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void powersOfTwoSurviveUnchanged(String backend) {
        for (Granularity granularity : Granularity.values()) {
            // In each group the largest is 448 * 2^k, so that the scale is 2^k and every FP8 value times it is a code.
            float[] x = new float[256 * 256];
            SplittableRandom random = new SplittableRandom(3);
            for (int i = 0; i < x.length; i++) {
                x[i] = Fp8Codec.decodeE4M3((byte) (random.nextInt(2) << 7 | random.nextInt(0x7F))) * 0x1p-3f;
            }
            for (int i = 0; i < 256; i++) {
                for (int b = 0; b < 2; b++) {
                    x[i * 256 + b * 128 + i % 128] = 56; // on the diagonals: every row and every column of a block has one
                }
            }
            for (ScaleFormat format : ScaleFormat.values()) {
                try (Tensor source = Tensor.of(x, 256, 256);
                        ScaledTensor t = Fp8.on(backend).quantize(source, DType.F8_E4M3, new Scaling(granularity, format));
                        Tensor back = Fp8.on(backend).dequantize(t, DType.F32)) {
                    float[] y = back.toFloatArray();
                    for (int i = 0; i < x.length; i++) {
                        assertEquals(x[i], y[i], granularity + " " + format + " at " + i);
                    }
                    int scale = scaleBits(t, 0, 0);
                    assertEquals(0.125f, format == ScaleFormat.E8M0 ? Fp8Codec.decodeE8M0((byte) scale)
                            : Float.intBitsToFloat(scale));
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void oneOutlierCostsItsOwnGroupOnly(String backend) {
        float[] x = new float[256 * 256];
        Arrays.fill(x, 1);
        x[5 * 256 + 7] = 448e4f;
        try (Tensor source = Tensor.of(x, 256, 256);
                ScaledTensor t = Fp8.on(backend).quantize(source, DType.F8_E4M3, Scaling.ACTIVATION);
                Tensor back = Fp8.on(backend).dequantize(t, DType.F32)) {
            assertEquals(448e4f, back.getFloat(5, 7));
            assertEquals(0f, back.getFloat(5, 8), "1 is a hundredth of the group's least step");
            assertEquals(1f, back.getFloat(5, 128), 1e-6f);
            assertEquals(1f, back.getFloat(6, 7), 1e-6f);
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void whatIsNotFiniteNeverBecomesANumber(String backend) {
        for (DType format : FORMATS) {
            int nanCode = format == DType.F8_E4M3 ? 0x7F : 0x7E;
            for (Scaling scaling : scalings()) {
                float[] x = new float[130 * 130];
                Arrays.fill(x, -2);
                x[0] = Float.NEGATIVE_INFINITY;
                x[129 * 130 + 129] = -Float.NaN;
                try (Tensor source = Tensor.of(x, 130, 130);
                        ScaledTensor t = Fp8.on(backend).quantize(source, format, scaling);
                        Tensor back = Fp8.on(backend).dequantize(t, DType.BF16)) {
                    String what = format + " " + scaling;
                    assertEquals(nanCode, code(t, 0, 0), what);
                    assertEquals(nanCode, code(t, 129, 129), what);
                    boolean apart = scaling.granularity() != Granularity.TENSOR;
                    if (apart) {
                        Granularity g = scaling.granularity();
                        int next = g == Granularity.BLOCK_128X1 ? code(t, 1, 0) : code(t, 0, 1);
                        assertEquals(0x80, next, what + ": finite neighbours of an infinity are zeros");
                        int scale = scaleBits(t, 0, 0);
                        assertEquals(scaling.format() == ScaleFormat.E8M0 ? 0xFF : 0x7F80_0000, scale, what);
                    }
                    int last = scaleBits(t, t.scales().dim(0) - 1, t.scales().dim(1) - 1);
                    assertEquals(scaling.format() == ScaleFormat.E8M0 ? 0xFF : 0x7FC0_0000, last, what);
                    // Everything in the group of either is NaN, everything else is -2.
                    for (int r = 0; r < 130; r++) {
                        for (int c = 0; c < 130; c++) {
                            boolean spoilt = sameGroup(scaling.granularity(), r, c, 0, 0)
                                    || sameGroup(scaling.granularity(), r, c, 129, 129);
                            float y = back.getFloat(r, c);
                            assertTrue(spoilt ? Float.isNaN(y) : y == -2, what + " at " + r + "," + c + ": " + y);
                        }
                    }
                }
            }
        }
    }

    private static boolean sameGroup(Granularity g, long r, long c, long r2, long c2) {
        return r / g.blockRows() == r2 / g.blockRows() && c / g.blockColumns() == c2 / g.blockColumns();
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void theNumberOfThreadsDoesNotMatter(String backend) {
        try (TestMatrix x = TestMatrix.of(DType.BF16, 517, 1300, TestMatrix.WINDOW)) {
            fill(x, new SplittableRandom(9), true);
            for (Scaling scaling : scalings()) {
                ScaledTensor first = null;
                for (int threads : new int[] {1, 2, 3, 5}) {
                    try (CpuPool pool = new CpuPool(threads)) {
                        Fp8 fp8 = Fp8.on(backend).with(pool);
                        ScaledTensor t = fp8.quantize(x.view(), DType.F8_E4M3, scaling);
                        try (ScaledTensor again = fp8.requantize(t, DType.F8_E5M2, Scaling.WEIGHT);
                                Tensor back = fp8.dequantize(t, DType.F32)) {
                            if (first == null) {
                                first = t;
                            } else {
                                assertSame(first, t, threads + " threads " + scaling);
                            }
                            assertEquals(again.codes().segment().byteSize(), 517 * 1300);
                            assertEquals(517 * 1300, back.toFloatArray().length);
                        }
                        if (t != first) {
                            t.close();
                        }
                    }
                }
                if (first != null) {
                    first.close();
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void scalesLieAsTheGemmReadsThem(String backend) {
        float[] x = new float[5 * 300];
        for (int i = 0; i < x.length; i++) {
            x[i] = (i / 300 + 1) * (i % 300 / 128 + 1);
        }
        try (Tensor source = Tensor.of(x, 5, 300);
                ScaledTensor t = Fp8.on(backend).quantize(source, DType.F8_E4M3, Scaling.ACTIVATION)) {
            MemorySegment s = t.scales().segment();
            for (int r = 0; r < 5; r++) {
                for (int b = 0; b < 3; b++) {
                    // Columns of 5 rows, padded to 8: 16 bytes of FP32 or a multiple.
                    float scale = s.get(ValueLayout.JAVA_FLOAT, 4 * (8 * b + r));
                    assertEquals((r + 1) * (b + 1) / 448f, scale);
                }
            }
            for (int pad = 5; pad < 8; pad++) {
                assertEquals(0, s.get(ValueLayout.JAVA_INT, 4 * pad), "padding is left as it was allocated");
            }
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void memoryOfAConfinedArenaIsUsedByItsThreadAlone(String backend) {
        try (Arena arena = Arena.ofConfined()) {
            Tensor x = Tensor.allocate(arena, DType.BF16, Shape.of(300, 700));
            Tensor codes = Tensor.allocate(arena, DType.F8_E4M3, Shape.of(300, 700));
            Tensor scales = Tensor.allocate(arena, DType.F32, Shape.of(3, 6));
            ScaledTensor t = new ScaledTensor(codes, scales, Scaling.WEIGHT);
            try (CpuPool pool = new CpuPool(3)) {
                Fp8 fp8 = Fp8.on(backend).with(pool);
                fp8.quantize(x, t);
                fp8.dequantize(t, x);
                fp8.cast(x, codes, Overflow.SATURATE);
            }
            assertEquals((float) 1e-4 / 448f, scales.getFloat(2, 5));
        }
    }
}
