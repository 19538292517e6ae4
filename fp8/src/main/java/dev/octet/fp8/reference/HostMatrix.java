package dev.octet.fp8.reference;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** One matrix in host memory, read and written element by element, whatever its strides. */
final class HostMatrix {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final MemorySegment segment;
    private final DType dtype;
    private final long rowStride;
    private final long columnStride;

    HostMatrix(Tensor matrix) {
        this(matrix.segment(), matrix.dtype(), matrix.stride(0), matrix.stride(1));
    }

    private HostMatrix(MemorySegment segment, DType dtype, long rowStride, long columnStride) {
        this.segment = segment;
        this.dtype = dtype;
        this.rowStride = rowStride;
        this.columnStride = columnStride;
    }

    /** A vector [N], seen as a matrix all of whose rows are the same. */
    static HostMatrix ofRow(Tensor vector) {
        return new HostMatrix(vector.segment(), vector.dtype(), 0, vector.stride(0));
    }

    private long index(long row, long column) {
        return row * rowStride + column * columnStride;
    }

    byte code(long row, long column) {
        return segment.get(ValueLayout.JAVA_BYTE, index(row, column));
    }

    void setCode(long row, long column, byte code) {
        segment.set(ValueLayout.JAVA_BYTE, index(row, column), code);
    }

    float get(long row, long column) {
        long i = index(row, column);
        return switch (dtype) {
            case F32 -> segment.get(F32, 4 * i);
            case BF16 -> BFloat16.toFloat(segment.get(I16, 2 * i));
            case F16 -> Float.float16ToFloat(segment.get(I16, 2 * i));
            default -> throw new IllegalArgumentException(dtype + " is not a float type");
        };
    }

    /** Rounds once, to nearest, ties to even. */
    void set(long row, long column, float value) {
        long i = index(row, column);
        switch (dtype) {
            case F32 -> segment.set(F32, 4 * i, value);
            case BF16 -> segment.set(I16, 2 * i, BFloat16.fromFloat(value));
            case F16 -> segment.set(I16, 2 * i, Float.floatToFloat16(value));
            default -> throw new IllegalArgumentException(dtype + " is not a float type");
        }
    }
}
