package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;

/** A matrix in poisoned memory, seen through one of several layouts: what lies around it must stay as it is. */
record TestMatrix(Tensor memory, Tensor view, MemorySegment segment) implements AutoCloseable {
    static final int DENSE = 0;
    /** Rows and columns are left free on every side, so that nothing is aligned. */
    static final int WINDOW = 1;
    static final int TRANSPOSED = 2;
    /** No stride is 1. */
    static final int SPARSE = 3;
    private static final byte POISON = (byte) 0xA5;
    private static final long POISONS = 0xA5A5_A5A5_A5A5_A5A5L;

    static TestMatrix of(DType dtype, long rows, long columns, int layout) {
        Tensor memory = Tensor.allocate(dtype, switch (layout) {
            case DENSE -> Shape.of(rows, columns);
            case WINDOW -> Shape.of(rows + 2, columns + 3);
            case TRANSPOSED -> Shape.of(columns + 1, rows + 1);
            default -> Shape.of(rows + 1, columns + 1, 3);
        });
        Tensor view = switch (layout) {
            case DENSE -> memory;
            case WINDOW -> memory.slice(0, 1, rows + 1).slice(1, 1, columns + 1);
            case TRANSPOSED -> memory.slice(0, 1, columns + 1).slice(1, 1, rows + 1).transpose();
            default -> memory.slice(2, 1, 2).slice(0, 0, rows).slice(1, 0, columns).reshape(rows, columns);
        };
        memory.segment().fill(POISON);
        return new TestMatrix(memory, view, view.segment());
    }

    void fill(SplittableRandom random, double range) {
        for (long r = 0; r < view.dim(0); r++) {
            for (long c = 0; c < view.dim(1); c++) {
                set(r, c, (float) random.nextDouble(-range, range));
            }
        }
    }

    void set(long row, long column, float value) {
        MemorySegment s = segment;
        long at = row * view.stride(0) + column * view.stride(1);
        switch (view.dtype()) {
            case F32 -> s.set(ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * at, value);
            case BF16 -> s.set(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * at, BFloat16.fromFloat(value));
            default -> s.set(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * at, Float.floatToFloat16(value));
        }
    }

    byte code(long row, long column) {
        return segment.get(ValueLayout.JAVA_BYTE, row * view.stride(0) + column * view.stride(1));
    }

    float get(long row, long column) {
        long at = row * view.stride(0) + column * view.stride(1);
        return switch (view.dtype()) {
            case F32 -> segment.get(ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * at);
            case BF16 -> BFloat16.toFloat(segment.get(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * at));
            default -> Float.float16ToFloat(segment.get(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * at));
        };
    }

    /** Writes poison over the matrix itself: then all of the memory must hold nothing else. */
    void assertSurroundingsUntouched(String what) {
        int size = view.dtype().byteSize();
        for (long r = 0; r < view.dim(0); r++) {
            for (long c = 0; c < view.dim(1); c++) {
                long at = (r * view.stride(0) + c * view.stride(1)) * size;
                switch (size) {
                    case 1 -> segment.set(ValueLayout.JAVA_BYTE, at, POISON);
                    case 2 -> segment.set(ValueLayout.JAVA_SHORT_UNALIGNED, at, (short) POISONS);
                    default -> segment.set(ValueLayout.JAVA_INT_UNALIGNED, at, (int) POISONS);
                }
            }
        }
        MemorySegment all = memory.segment();
        long i = 0;
        while (i + Long.BYTES <= all.byteSize() && all.get(ValueLayout.JAVA_LONG_UNALIGNED, i) == POISONS) {
            i += Long.BYTES;
        }
        for (; i < all.byteSize(); i++) {
            byte b = all.get(ValueLayout.JAVA_BYTE, i);
            if (b != POISON) {
                assertEquals(POISON, b, what + ": byte " + i + " outside the matrix was written");
            }
        }
    }

    @Override
    public void close() {
        memory.close();
    }
}
