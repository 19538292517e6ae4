package dev.octet.fp8.cpu;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** Single elements of F32, BF16 and F16 memory. */
final class ScalarElements {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private ScalarElements() {}

    static float get(MemorySegment memory, DType dtype, long element) {
        return switch (dtype) {
            case F32 -> memory.get(F32, 4 * element);
            case BF16 -> BFloat16.toFloat(memory.get(I16, 2 * element));
            case F16 -> Float.float16ToFloat(memory.get(I16, 2 * element));
            default -> throw new IllegalArgumentException(dtype + " is not a float type");
        };
    }

    /** Rounds to nearest, ties to even. */
    static void set(MemorySegment memory, DType dtype, long element, float value) {
        switch (dtype) {
            case F32 -> memory.set(F32, 4 * element, value);
            case BF16 -> memory.set(I16, 2 * element, BFloat16.fromFloat(value));
            case F16 -> memory.set(I16, 2 * element, Float.floatToFloat16(value));
            default -> throw new IllegalArgumentException(dtype + " is not a float type");
        }
    }
}
