package dev.octet.moe.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.moe.TokenPermutation;
import java.lang.foreign.ValueLayout;

/**
 * The rows of a matrix by its address, to be used again: {@link #set} chooses the matrix, which the caller keeps reachable
 * while it is used.
 */
final class Rows {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED;
    /** FP32 1, and the code of 2^0 in E8M0. */
    private static final byte ONE_E8M0 = 127;

    int columns;
    private boolean bf16;
    private long size;
    private long address;
    private long rowBytes;
    private long columnBytes;
    private boolean unit;

    /** Becomes a matrix. */
    void set(Tensor t) {
        columns = Math.toIntExact(t.dim(1));
        bf16 = t.dtype() == DType.BF16;
        size = t.dtype().byteSize();
        address = t.shape().elements() == 0 ? 0 : t.address();
        rowBytes = t.stride(0) * size;
        columnBytes = t.stride(1) * size;
        unit = columnBytes == size || columns == 1;
    }

    /** {@return the bytes of a row, at least 1} */
    long rowSize() {
        return Math.max(1, columns * size);
    }

    private long at(int row, int column) {
        return address + row * rowBytes + column * columnBytes;
    }

    float get(int row, int column) {
        return ALL.get(F32, at(row, column));
    }

    void set(int row, int column, float value) {
        ALL.set(F32, at(row, column), value);
    }

    private float value(long at) {
        return bf16 ? BFloat16.toFloat(ALL.get(I16, at)) : ALL.get(F32, at);
    }

    /** Writes a value, rounded to BF16 if that is the type. */
    private void put(long at, float value) {
        if (bf16) {
            ALL.set(I16, at, BFloat16.fromFloat(value));
        } else {
            ALL.set(F32, at, value);
        }
    }

    /** {@return the array, which a row is read into} */
    float[] load(int row, float[] x, RowKernels kernels) {
        long from = at(row, 0);
        if (unit) {
            kernels.load(from, bf16, x, columns);
        } else {
            for (int i = 0; i < columns; i++) {
                x[i] = value(from + i * columnBytes);
            }
        }
        return x;
    }

    /** Makes a row the weighted sum of rows of another matrix. */
    void sum(int row, Rows other, int[] otherRows, float[] weights, int count, long[] addresses,
            RowKernels kernels) {
        for (int j = 0; j < count; j++) {
            addresses[j] = other.at(otherRows[j], 0);
        }
        long to = at(row, 0);
        if (unit && other.unit) {
            kernels.sum(addresses, weights, count, other.bf16, to, bf16, 0, columns);
            return;
        }
        for (int i = 0; i < columns; i++) {
            float sum = 0;
            for (int j = 0; j < count; j++) {
                sum = Math.fma(other.value(addresses[j] + i * other.columnBytes), weights[j], sum);
            }
            put(to + i * columnBytes, sum);
        }
    }

    /** Makes a row that of another matrix of the same type times a weight. */
    void scale(int row, Rows other, int otherRow, float weight, RowKernels kernels) {
        long to = at(row, 0);
        long from = other.at(otherRow, 0);
        if (unit && other.unit) {
            kernels.scale(from, weight, to, bf16, 0, columns);
            return;
        }
        for (int i = 0; i < columns; i++) {
            put(to + i * columnBytes, other.value(from + i * other.columnBytes) * weight);
        }
    }

    /** Copies a row of another matrix of the same type. */
    void copy(int row, Rows other, int otherRow, RowKernels kernels) {
        long to = at(row, 0);
        long from = other.at(otherRow, 0);
        if (unit && other.unit) {
            kernels.copy(from, to, columns * size);
            return;
        }
        for (int i = 0; i < columns; i++) {
            move(from + i * other.columnBytes, to + i * columnBytes);
        }
    }

    private void move(long from, long to) {
        switch ((int) size) {
            case 1 -> ALL.set(ValueLayout.JAVA_BYTE, to, ALL.get(ValueLayout.JAVA_BYTE, from));
            case 2 -> ALL.set(I16, to, ALL.get(I16, from));
            default -> ALL.set(ValueLayout.JAVA_INT_UNALIGNED, to, ALL.get(ValueLayout.JAVA_INT_UNALIGNED, from));
        }
    }

    /** Fills the rows of padding among a run of positions with zeros. */
    void clear(TokenPermutation p, int first, int end) {
        for (int i = first; i < end; i++) {
            if (p.tokenAt(i) < 0) {
                zero(i);
            }
        }
    }

    private void zero(int row) {
        if (unit) {
            ALL.asSlice(at(row, 0), columns * size).fill((byte) 0);
            return;
        }
        for (int i = 0; i < columns; i++) {
            for (int b = 0; b < size; b++) {
                ALL.set(ValueLayout.JAVA_BYTE, at(row, i) + b, (byte) 0);
            }
        }
    }

    /** Copies the rows of a range of positions, column by column; those of padding become ones. */
    void gather(TokenPermutation p, Rows from, int first, int end) {
        for (int c = 0; c < columns; c++) {
            for (int i = first; i < end; i++) {
                int token = p.tokenAt(i);
                if (token >= 0) {
                    move(from.at(token, c), at(i, c));
                } else if (size == 1) {
                    ALL.set(ValueLayout.JAVA_BYTE, at(i, c), ONE_E8M0);
                } else {
                    ALL.set(F32, at(i, c), 1);
                }
            }
        }
    }
}
