package dev.octet.core;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** Single elements of F32, BF16 and F16 in memory, as floats. */
final class FloatElements {
    static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private FloatElements() {}

    static float load(MemorySegment s, DType dtype, long element) {
        return switch (dtype) {
            case F32 -> s.get(F32, 4 * element);
            case BF16 -> BFloat16.toFloat(s.get(I16, 2 * element));
            case F16 -> Float.float16ToFloat(s.get(I16, 2 * element));
            default -> throw new IllegalArgumentException("dtype " + dtype + " can't be read as a float");
        };
    }

    static void store(MemorySegment s, DType dtype, long element, float value) {
        switch (dtype) {
            case F32 -> s.set(F32, 4 * element, value);
            case BF16 -> s.set(I16, 2 * element, BFloat16.fromFloat(value));
            case F16 -> s.set(I16, 2 * element, Float.floatToFloat16(value));
            default -> throw new IllegalArgumentException("dtype " + dtype + " can't be written as a float");
        }
    }
}
