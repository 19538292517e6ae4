package dev.octet.mla.reference;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** An F32 or BF16 tensor of up to three dimensions in host memory, read and written value by value. */
final class HostTensor {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final MemorySegment segment;
    private final DType dtype;
    private final long[] strides;
    private final int columns;

    HostTensor(Tensor tensor) {
        segment = tensor.segment();
        dtype = tensor.dtype();
        strides = tensor.strides();
        columns = Math.toIntExact(tensor.dim(strides.length - 1));
    }

    private double get(long i) {
        return dtype == DType.F32 ? segment.get(F32, 4 * i) : BFloat16.toFloat(segment.get(I16, 2 * i));
    }

    private void put(long i, double value) {
        if (dtype == DType.F32) {
            segment.set(F32, 4 * i, (float) value);
        } else {
            segment.set(I16, 2 * i, roundToBFloat16(value));
        }
    }

    /** One row of a matrix. */
    double[] row(int row) {
        double[] values = new double[columns];
        for (int c = 0; c < columns; c++) {
            values[c] = get(row * strides[0] + c * strides[1]);
        }
        return values;
    }

    /** One row of one head: {@code [token, head, :]}. */
    double[] row(int token, int head) {
        double[] values = new double[columns];
        for (int c = 0; c < columns; c++) {
            values[c] = get(token * strides[0] + head * strides[1] + c * strides[2]);
        }
        return values;
    }

    /** Writes {@code [token, head, :]}, each value rounded once. */
    void setRow(int token, int head, double[] values) {
        for (int c = 0; c < columns; c++) {
            put(token * strides[0] + head * strides[1] + c * strides[2], values[c]);
        }
    }

    double get(int row, int column) {
        return get(row * strides[0] + column * strides[1]);
    }

    /** Rounds once. */
    void set(int row, int column, double value) {
        put(row * strides[0] + column * strides[1], value);
    }

    /**
     * Rounds to nearest, ties to even. By way of FP32 a value close to the middle between two BF16 values could become
     * the middle itself first, and then go to the wrong side: it is moved back to its own.
     */
    static short roundToBFloat16(double value) {
        float f = (float) value;
        int bits = Float.floatToRawIntBits(f);
        if ((bits & 0xFFFF) == 0x8000 && f != value && Float.isFinite(f)) {
            bits += Math.abs(value) > Math.abs(f) ? 1 : -1;
        }
        return BFloat16.fromFloat(Float.intBitsToFloat(bits));
    }
}
