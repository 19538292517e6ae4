package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * All 2^32 floats, in both formats and both overflow modes: the vector cast and the scalar cast against the nearest
 * value. The nearest value is found by thresholds: between two neighbouring values it changes at their midpoint, which
 * itself belongs to the even code. So the expected codes of consecutive bit patterns are runs.
 */
@Tag("exhaustive")
class ExhaustiveCastTest {
    private static final int CHUNK = 1 << 22;

    /** first[c] is the least pattern of a positive float with code c; the last entry is that of overflow. */
    private static int[] thresholds(DType format) {
        int finite = format == DType.F8_E4M3 ? 0x7F : 0x7C;
        int[] first = new int[finite + 1];
        for (int code = 1; code <= finite; code++) {
            float middle = (float) ((value(format, code - 1) + value(format, code)) / 2);
            first[code] = Float.floatToRawIntBits(middle) + (code % 2 == 0 ? 0 : 1);
        }
        return first;
    }

    /** The value of a positive code by the formats' definition; of the code after the last, what it would be. */
    private static double value(DType format, int code) {
        int mantissaBits = format == DType.F8_E4M3 ? 3 : 2;
        int bias = format == DType.F8_E4M3 ? 7 : 15;
        int exponent = code >> mantissaBits;
        double fraction = (double) (code & (1 << mantissaBits) - 1) / (1 << mantissaBits);
        return exponent == 0 ? fraction * Math.pow(2, 1 - bias) : (1 + fraction) * Math.pow(2, exponent - bias);
    }

    private static int overflowed(DType format, Overflow overflow) {
        if (overflow == Overflow.SATURATE) {
            return format == DType.F8_E4M3 ? 0x7E : 0x7B;
        }
        return format == DType.F8_E4M3 ? 0x7F : 0x7C;
    }

    /** Writes the codes of the patterns from {@code from} on, all of one sign. */
    private static void expect(DType format, Overflow overflow, int[] first, int from, MemorySegment codes) {
        int sign = from < 0 ? 0x80 : 0;
        int last = first.length - 1;
        long magnitude = from & 0x7FFF_FFFF;
        for (int code = 0; code <= last + 1; code++) {
            long begin = code <= last ? first[code] : 0x7F80_0001L;
            long end = code < last ? first[code + 1] : code == last ? 0x7F80_0001L : 0x8000_0000L;
            long a = Math.clamp(begin - magnitude, 0L, CHUNK);
            long b = Math.clamp(end - magnitude, 0L, CHUNK);
            int value = code < last ? code : code == last ? overflowed(format, overflow)
                    : format == DType.F8_E4M3 ? 0x7F : 0x7E;
            codes.asSlice(a, b - a).fill((byte) (sign | value));
        }
    }

    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"F8_E4M3", "F8_E5M2"})
    void everyFloat(DType format) {
        int[] first = thresholds(format);
        try (Tensor x = Tensor.allocate(DType.F32, Shape.of(CHUNK)); Tensor y = Tensor.allocate(format, Shape.of(CHUNK));
                Tensor expected = Tensor.allocate(format, Shape.of(CHUNK))) {
            MemorySegment bits = x.segment();
            for (long from = 0; from < 1L << 32; from += CHUNK) {
                int start = (int) from;
                int tasks = 64;
                CpuPool.shared().run(tasks, t -> {
                    for (int i = t * (CHUNK / tasks); i < (t + 1) * (CHUNK / tasks); i++) {
                        bits.set(ValueLayout.JAVA_INT, 4L * i, start + i);
                    }
                });
                for (Overflow overflow : Overflow.values()) {
                    expect(format, overflow, first, start, expected.segment());
                    for (String backend : TestedBackends.names().filter(b -> !b.equals("reference")).toList()) {
                        y.segment().fill((byte) 0x55);
                        Fp8.on(backend).cast(x, y, overflow);
                        long at = expected.segment().mismatch(y.segment());
                        if (at >= 0) {
                            assertEquals(expected.segment().get(ValueLayout.JAVA_BYTE, at),
                                    y.segment().get(ValueLayout.JAVA_BYTE, at), backend + " " + format + " " + overflow
                                            + " of the float with bits " + Integer.toHexString((int) (start + at)));
                        }
                    }
                }
            }
        }
    }
}
