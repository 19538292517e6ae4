package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Casts on every backend, against the published vectors and the nearest-value search of the reference. */
@Tag("backend")
class CastTest {
    private static final String BACKENDS = "dev.octet.fp8.TestedBackends#names";
    private static final DType[] FORMATS = {DType.F8_E4M3, DType.F8_E5M2};

    private static byte[] codes(Tensor t) {
        return t.segment().toArray(ValueLayout.JAVA_BYTE);
    }

    private static byte[] cast(Fp8 fp8, Tensor source, DType format, Overflow overflow) {
        try (Tensor target = Tensor.allocate(format, source.shape())) {
            target.segment().fill((byte) 0x55);
            fp8.cast(source, target, overflow);
            return codes(target);
        }
    }

    private static void assertSameCodes(byte[] expected, byte[] actual, Tensor source, String what) {
        assertEquals(expected.length, actual.length, what);
        for (int i = 0; i < expected.length; i++) {
            if (expected[i] != actual[i]) {
                assertEquals(String.format("%02X", expected[i]), String.format("%02X", actual[i]),
                        what + " of " + source.toFloatArray()[i] + " at " + i);
            }
        }
    }

    /** NaNs are equal whatever their payload. */
    private static void assertSameFloat(float expected, float actual, String what) {
        assertEquals(Float.floatToIntBits(expected), Float.floatToIntBits(actual), what);
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void everyCodeDecodesToItsFormulaAndBack(String backend) {
        Fp8 fp8 = Fp8.on(backend);
        for (DType format : FORMATS) {
            try (Tensor all = Tensor.allocate(format, Shape.of(256))) {
                for (int c = 0; c < 256; c++) {
                    all.segment().set(ValueLayout.JAVA_BYTE, c, (byte) c);
                }
                for (DType wide : new DType[] {DType.F32, DType.BF16, DType.F16}) {
                    try (Tensor values = Tensor.allocate(wide, Shape.of(256))) {
                        fp8.cast(all, values, Overflow.SATURATE);
                        float[] v = values.toFloatArray();
                        for (int c = 0; c < 256; c++) {
                            assertSameFloat(formula(format, c), v[c], format + " code " + c + " to " + wide);
                        }
                        for (Overflow overflow : Overflow.values()) {
                            byte[] back = cast(fp8, values, format, overflow);
                            for (int c = 0; c < 256; c++) {
                                int expected = canonical(format, c, overflow);
                                assertEquals(expected, back[c] & 0xFF, format + " code " + c + " over " + wide);
                            }
                        }
                    }
                }
            }
        }
    }

    private static float formula(DType format, int code) {
        int mantissaBits = format == DType.F8_E4M3 ? 3 : 2;
        int bias = format == DType.F8_E4M3 ? 7 : 15;
        int exponent = (code & 0x7F) >> mantissaBits;
        int mantissa = code & (1 << mantissaBits) - 1;
        if (format == DType.F8_E4M3 ? (code & 0x7F) == 0x7F : (code & 0x7F) > 0x7C) {
            return Float.NaN;
        }
        double magnitude = format == DType.F8_E5M2 && (code & 0x7F) == 0x7C ? Double.POSITIVE_INFINITY
                : exponent == 0 ? Math.scalb((double) mantissa, 1 - bias - mantissaBits)
                : Math.scalb((double) ((1 << mantissaBits) + mantissa), exponent - bias - mantissaBits);
        return (float) (code >= 0x80 ? -magnitude : magnitude);
    }

    private static int canonical(DType format, int code, Overflow overflow) {
        if (format == DType.F8_E5M2 && (code & 0x7F) == 0x7C) {
            return overflow == Overflow.SATURATE ? code - 1 : code;
        }
        return format == DType.F8_E5M2 && (code & 0x7F) > 0x7C ? code & 0x80 | 0x7E : code;
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void everyBFloat16AndHalf(String backend) {
        for (DType dtype : new DType[] {DType.BF16, DType.F16}) {
            try (Tensor all = Tensor.allocate(dtype, Shape.of(65536))) {
                for (int i = 0; i < 65536; i++) {
                    all.segment().set(ValueLayout.JAVA_SHORT, 2L * i, (short) i);
                }
                for (DType format : FORMATS) {
                    for (Overflow overflow : Overflow.values()) {
                        assertSameCodes(cast(Fp8.on("reference"), all, format, overflow),
                                cast(Fp8.on(backend), all, format, overflow), all,
                                dtype + " to " + format + " " + overflow);
                    }
                }
            }
        }
    }

    private static final float[] E4M3_INPUTS = {0f, -0f, 0x1p-10f, Math.nextUp(0x1p-10f), 0x1.8p-9f, 0x1.4p-8f,
        0x1.ep-7f, 0x1p-6f, 1f, 1.0625f, 1.1875f, 448f, 464f, Math.nextUp(464f), 480f, Float.POSITIVE_INFINITY,
        Float.NEGATIVE_INFINITY, Float.NaN, Float.MIN_VALUE, -Float.MIN_VALUE, Float.MAX_VALUE, 0x1p-9f, -448f, -465f};
    private static final int[] E4M3_SATURATED = {0x00, 0x80, 0x00, 0x01, 0x02, 0x02,
        0x08, 0x08, 0x38, 0x38, 0x3A, 0x7E, 0x7E, 0x7E, 0x7E, 0x7E,
        0xFE, 0x7F, 0x00, 0x80, 0x7E, 0x01, 0xFE, 0xFE};
    private static final int[] E4M3_OVERFLOWING = {0x00, 0x80, 0x00, 0x01, 0x02, 0x02,
        0x08, 0x08, 0x38, 0x38, 0x3A, 0x7E, 0x7E, 0x7F, 0x7F, 0x7F,
        0xFF, 0x7F, 0x00, 0x80, 0x7F, 0x01, 0xFE, 0xFF};
    private static final float[] E5M2_INPUTS = {0f, -0f, 0x1p-17f, Math.nextUp(0x1p-17f), 57344f,
        Math.nextDown(61440f), 61440f, 1f, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, Float.NaN,
        Float.MAX_VALUE, 0x1p-16f, 0x1p-14f, -61440f, 65536f};
    private static final int[] E5M2_SATURATED = {0x00, 0x80, 0x00, 0x01, 0x7B,
        0x7B, 0x7B, 0x3C, 0x7B, 0xFB, 0x7E, 0x7B, 0x01, 0x04, 0xFB, 0x7B};
    private static final int[] E5M2_OVERFLOWING = {0x00, 0x80, 0x00, 0x01, 0x7B,
        0x7B, 0x7C, 0x3C, 0x7C, 0xFC, 0x7E, 0x7C, 0x01, 0x04, 0xFC, 0x7C};

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void boundaries(String backend) {
        check(backend, DType.F8_E4M3, Overflow.SATURATE, E4M3_INPUTS, E4M3_SATURATED);
        check(backend, DType.F8_E4M3, Overflow.NON_SATURATING, E4M3_INPUTS, E4M3_OVERFLOWING);
        check(backend, DType.F8_E5M2, Overflow.SATURATE, E5M2_INPUTS, E5M2_SATURATED);
        check(backend, DType.F8_E5M2, Overflow.NON_SATURATING, E5M2_INPUTS, E5M2_OVERFLOWING);
    }

    /** Each value also fills a whole tensor, so that it meets vectors and tails alike. */
    private static void check(String backend, DType format, Overflow overflow, float[] inputs, int[] expected) {
        for (int i = 0; i < inputs.length; i++) {
            float[] repeated = new float[37];
            java.util.Arrays.fill(repeated, inputs[i]);
            try (Tensor source = Tensor.of(repeated, repeated.length)) {
                for (byte code : cast(Fp8.on(backend), source, format, overflow)) {
                    assertEquals(expected[i], code & 0xFF, format + " " + overflow + " of " + inputs[i]);
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void aMillionRandomFloats(String backend) {
        long seed = 20260101;
        SplittableRandom random = new SplittableRandom(seed);
        float[] x = new float[1 << 20];
        for (int i = 0; i < x.length; i++) {
            // Half are random bits, half lie around the range of the formats, where rounding is decided.
            x[i] = i % 2 == 0 ? Float.intBitsToFloat(random.nextInt())
                    : Math.scalb((float) random.nextDouble(-2, 2), random.nextInt(-20, 18));
        }
        try (Tensor source = Tensor.of(x, x.length)) {
            for (DType format : FORMATS) {
                for (Overflow overflow : Overflow.values()) {
                    assertSameCodes(cast(Fp8.on("reference"), source, format, overflow),
                            cast(Fp8.on(backend), source, format, overflow), source,
                            "seed " + seed + " " + format + " " + overflow);
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void stridesOffsetsAndTails(String backend) {
        SplittableRandom random = new SplittableRandom(5);
        long[][] sizes = {{0, 3}, {3, 0}, {1, 1}, {7, 13}, {127, 129}, {33, 1021}, {576, 128}, {1, 70_001}};
        for (long[] size : sizes) {
            for (DType wide : new DType[] {DType.F32, DType.BF16, DType.F16}) {
                for (DType format : FORMATS) {
                    for (int layout = 0; layout < 9; layout++) {
                        castRoundTrip(Fp8.on(backend), random, size, wide, format, layout % 3, layout / 3);
                    }
                }
            }
        }
    }

    /** Layouts: 0 dense, 1 a window in a larger matrix, 2 transposed. */
    private static void castRoundTrip(Fp8 fp8, SplittableRandom random, long[] size, DType wide, DType format,
            int sourceLayout, int targetLayout) {
        String what = java.util.Arrays.toString(size) + " " + wide + " " + format + " " + sourceLayout + targetLayout;
        try (TestMatrix x = TestMatrix.of(wide, size[0], size[1], sourceLayout);
                TestMatrix codes = TestMatrix.of(format, size[0], size[1], targetLayout);
                TestMatrix back = TestMatrix.of(wide, size[0], size[1], sourceLayout)) {
            x.fill(random, 600);
            fp8.cast(x.view(), codes.view(), Overflow.SATURATE);
            fp8.cast(codes.view(), back.view(), Overflow.SATURATE);
            for (long r = 0; r < size[0]; r++) {
                for (long c = 0; c < size[1]; c++) {
                    byte expected = Fp8Codec.encode(format, x.get(r, c), Overflow.SATURATE);
                    if (expected != codes.code(r, c)
                            || Fp8Codec.decode(format, expected) != back.get(r, c)) {
                        assertEquals(expected, codes.code(r, c), what + " at " + r + "," + c);
                        assertEquals(Fp8Codec.decode(format, expected), back.get(r, c), what);
                    }
                }
            }
            codes.assertSurroundingsUntouched(what);
            back.assertSurroundingsUntouched(what);
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void anyRank(String backend) {
        float[] x = new float[2 * 3 * 5 * 7];
        for (int i = 0; i < x.length; i++) {
            x[i] = i - 100;
        }
        try (Tensor source = Tensor.of(x, 2, 3, 5, 7); Tensor codes = Tensor.allocate(DType.F8_E4M3, Shape.of(7, 3, 5, 2));
                Tensor scalar = Tensor.of(new float[] {3}); Tensor one = Tensor.allocate(DType.F8_E5M2, Shape.of())) {
            Fp8.on(backend).cast(source.transpose(0, 3), codes, Overflow.SATURATE);
            int i = 0;
            MemorySegment s = codes.segment();
            for (int a = 0; a < 7; a++) {
                for (int b = 0; b < 3; b++) {
                    for (int c = 0; c < 5; c++) {
                        for (int d = 0; d < 2; d++) {
                            assertEquals(Fp8Codec.encodeE4M3(x[((d * 3 + b) * 5 + c) * 7 + a], Overflow.SATURATE),
                                    s.get(ValueLayout.JAVA_BYTE, i++));
                        }
                    }
                }
            }
            Fp8.on(backend).cast(scalar, one, Overflow.SATURATE);
            assertEquals(0x42, one.segment().get(ValueLayout.JAVA_BYTE, 0));
        }
    }

    @ParameterizedTest
    @CsvSource({"1.0, 3F80", "1.00390625, 3F80", "1.01171875, 3F82", "-0.0, 8000"})
    void bfloat16RoundsTiesToEven(float value, String bits) {
        assertEquals(bits, String.format("%04X", BFloat16.fromFloat(value)));
    }
}
