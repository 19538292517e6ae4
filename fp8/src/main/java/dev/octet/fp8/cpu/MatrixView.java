package dev.octet.fp8.cpu;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * A strided matrix in native memory, and the copies between a tile of it and dense row-major scratch that bring tiles
 * into the form that kernels read: F32 or BF16, or FP8 codes, with unit stride along a row.
 *
 * @param segment the memory; byte 0 is the element in the corner
 * @param dtype the element type
 * @param rowStride elements from one row to the next
 * @param columnStride elements from one column to the next
 */
record MatrixView(MemorySegment segment, DType dtype, long rowStride, long columnStride) {
    static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfByte I8 = ValueLayout.JAVA_BYTE;

    static MatrixView of(Tensor matrix) {
        return new MatrixView(matrix.segment(), matrix.dtype(), matrix.stride(0), matrix.stride(1));
    }

    /** Whether kernels can read or write tiles in place. */
    boolean isDirect() {
        return columnStride == 1 && dtype != DType.F16;
    }

    long byteOffset(long row, long column) {
        return (row * rowStride + column * columnStride) * dtype.byteSize();
    }

    long rowBytes() {
        return rowStride * dtype.byteSize();
    }

    /** Widens a tile of floats to dense F32. */
    void gatherFloats(long row, long rows, long column, long columns, MemorySegment to) {
        // The inner loop follows the smaller stride, so that a transposed matrix is read a cache line at a time.
        boolean byRow = columnStride <= rowStride;
        long outer = byRow ? rows : columns;
        long inner = byRow ? columns : rows;
        long outerFrom = byRow ? rowStride : columnStride;
        long innerFrom = byRow ? columnStride : rowStride;
        long outerTo = byRow ? columns : 1;
        long innerTo = byRow ? 1 : columns;
        long corner = row * rowStride + column * columnStride;
        for (long i = 0; i < outer; i++) {
            long from = corner + i * outerFrom;
            long at = i * outerTo;
            switch (dtype) {
                case F32 -> gatherF32(from, innerFrom, inner, to, at, innerTo);
                case BF16 -> gatherBF16(from, innerFrom, inner, to, at, innerTo);
                default -> gatherF16(from, innerFrom, inner, to, at, innerTo);
            }
        }
    }

    private void gatherF32(long from, long fromStride, long n, MemorySegment to, long at, long toStride) {
        for (long i = 0; i < n; i++) {
            to.set(F32, 4 * (at + i * toStride), segment.get(F32, 4 * (from + i * fromStride)));
        }
    }

    private void gatherBF16(long from, long fromStride, long n, MemorySegment to, long at, long toStride) {
        for (long i = 0; i < n; i++) {
            to.set(F32, 4 * (at + i * toStride), BFloat16.toFloat(segment.get(I16, 2 * (from + i * fromStride))));
        }
    }

    private void gatherF16(long from, long fromStride, long n, MemorySegment to, long at, long toStride) {
        for (long i = 0; i < n; i++) {
            to.set(F32, 4 * (at + i * toStride), Float.float16ToFloat(segment.get(I16, 2 * (from + i * fromStride))));
        }
    }

    /** Rounds a tile of dense F32 into place. */
    void scatterFloats(long row, long rows, long column, long columns, MemorySegment from) {
        boolean byRow = columnStride <= rowStride;
        long outer = byRow ? rows : columns;
        long inner = byRow ? columns : rows;
        long outerTo = byRow ? rowStride : columnStride;
        long innerTo = byRow ? columnStride : rowStride;
        long outerFrom = byRow ? columns : 1;
        long innerFrom = byRow ? 1 : columns;
        long corner = row * rowStride + column * columnStride;
        for (long i = 0; i < outer; i++) {
            long at = corner + i * outerTo;
            long source = i * outerFrom;
            switch (dtype) {
                case F32 -> scatterF32(from, source, innerFrom, inner, at, innerTo);
                case BF16 -> scatterBF16(from, source, innerFrom, inner, at, innerTo);
                default -> scatterF16(from, source, innerFrom, inner, at, innerTo);
            }
        }
    }

    private void scatterF32(MemorySegment from, long source, long fromStride, long n, long at, long toStride) {
        for (long i = 0; i < n; i++) {
            segment.set(F32, 4 * (at + i * toStride), from.get(F32, 4 * (source + i * fromStride)));
        }
    }

    private void scatterBF16(MemorySegment from, long source, long fromStride, long n, long at, long toStride) {
        for (long i = 0; i < n; i++) {
            segment.set(I16, 2 * (at + i * toStride), BFloat16.fromFloat(from.get(F32, 4 * (source + i * fromStride))));
        }
    }

    private void scatterF16(MemorySegment from, long source, long fromStride, long n, long at, long toStride) {
        for (long i = 0; i < n; i++) {
            segment.set(I16, 2 * (at + i * toStride), Float.floatToFloat16(from.get(F32, 4 * (source + i * fromStride))));
        }
    }

    /** Copies a tile of codes to dense bytes. */
    void gatherCodes(long row, long rows, long column, long columns, MemorySegment to) {
        boolean byRow = columnStride <= rowStride;
        long outer = byRow ? rows : columns;
        long inner = byRow ? columns : rows;
        long innerFrom = byRow ? columnStride : rowStride;
        long innerTo = byRow ? 1 : columns;
        for (long i = 0; i < outer; i++) {
            long from = byRow ? byteOffset(row + i, column) : byteOffset(row, column + i);
            long at = byRow ? i * columns : i;
            for (long j = 0; j < inner; j++) {
                to.set(I8, at + j * innerTo, segment.get(I8, from + j * innerFrom));
            }
        }
    }

    /** Copies a tile of dense codes into place. */
    void scatterCodes(long row, long rows, long column, long columns, MemorySegment from) {
        boolean byRow = columnStride <= rowStride;
        long outer = byRow ? rows : columns;
        long inner = byRow ? columns : rows;
        long innerTo = byRow ? columnStride : rowStride;
        long innerFrom = byRow ? 1 : columns;
        for (long i = 0; i < outer; i++) {
            long at = byRow ? byteOffset(row + i, column) : byteOffset(row, column + i);
            long source = byRow ? i * columns : i;
            for (long j = 0; j < inner; j++) {
                segment.set(I8, at + j * innerTo, from.get(I8, source + j * innerFrom));
            }
        }
    }
}
