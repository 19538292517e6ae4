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

    /** Rows and columns that are copied at a time: few enough for the first-level cache whatever the strides are. */
    private static final long PATCH = 32;

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

    /** Whether neighbours in a column lie closer together than neighbours in a row. */
    private boolean isTransposed() {
        return rowStride < columnStride;
    }

    /**
     * The pitch of scratch rows for a tile, in elements: not a multiple of a power of two, or all rows of a column
     * would fight for the same few lines of the first-level cache.
     */
    static long pitch(long columns) {
        return columns + 16;
    }

    /** Widens a tile of floats to F32 with rows {@code pitch} elements apart. */
    void gatherFloats(TileKernels kernels, long row, long rows, long column, long columns, MemorySegment to,
            long pitch) {
        if (columnStride == 1 && dtype == DType.F16) {
            for (long r = 0; r < rows; r++) {
                kernels.widen(segment, byteOffset(row + r, column), columns, to, 4 * r * pitch);
            }
            return;
        }
        for (long r = 0; r < rows; r += PATCH) {
            for (long c = 0; c < columns; c += PATCH) {
                gatherPatch(row + r, Math.min(PATCH, rows - r), column + c, Math.min(PATCH, columns - c), to,
                        r * pitch + c, pitch);
            }
        }
    }

    private void gatherPatch(long row, long rows, long column, long columns, MemorySegment to, long at, long pitch) {
        boolean byColumn = isTransposed();
        long outer = byColumn ? columns : rows;
        long inner = byColumn ? rows : columns;
        long innerFrom = byColumn ? rowStride : columnStride;
        long innerTo = byColumn ? pitch : 1;
        for (long i = 0; i < outer; i++) {
            long from = byColumn ? row * rowStride + (column + i) * columnStride
                    : (row + i) * rowStride + column * columnStride;
            long start = at + (byColumn ? i : i * pitch);
            switch (dtype) {
                case F32 -> gatherF32(from, innerFrom, inner, to, start, innerTo);
                case BF16 -> gatherBF16(from, innerFrom, inner, to, start, innerTo);
                default -> gatherF16(from, innerFrom, inner, to, start, innerTo);
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

    /** Rounds a tile of F32 with rows {@code pitch} elements apart into place. */
    void scatterFloats(TileKernels kernels, long row, long rows, long column, long columns, MemorySegment from,
            long pitch) {
        if (columnStride == 1 && dtype == DType.F16) {
            for (long r = 0; r < rows; r++) {
                kernels.narrow(from, 4 * r * pitch, columns, segment, byteOffset(row + r, column));
            }
            return;
        }
        for (long r = 0; r < rows; r += PATCH) {
            for (long c = 0; c < columns; c += PATCH) {
                scatterPatch(row + r, Math.min(PATCH, rows - r), column + c, Math.min(PATCH, columns - c), from,
                        r * pitch + c, pitch);
            }
        }
    }

    private void scatterPatch(long row, long rows, long column, long columns, MemorySegment from, long at,
            long pitch) {
        boolean byColumn = isTransposed();
        long outer = byColumn ? columns : rows;
        long inner = byColumn ? rows : columns;
        long innerTo = byColumn ? rowStride : columnStride;
        long innerFrom = byColumn ? pitch : 1;
        for (long i = 0; i < outer; i++) {
            long to = byColumn ? row * rowStride + (column + i) * columnStride
                    : (row + i) * rowStride + column * columnStride;
            long start = at + (byColumn ? i : i * pitch);
            switch (dtype) {
                case F32 -> scatterF32(from, start, innerFrom, inner, to, innerTo);
                case BF16 -> scatterBF16(from, start, innerFrom, inner, to, innerTo);
                default -> scatterF16(from, start, innerFrom, inner, to, innerTo);
            }
        }
    }

    private void scatterF32(MemorySegment from, long at, long fromStride, long n, long to, long toStride) {
        for (long i = 0; i < n; i++) {
            segment.set(F32, 4 * (to + i * toStride), from.get(F32, 4 * (at + i * fromStride)));
        }
    }

    private void scatterBF16(MemorySegment from, long at, long fromStride, long n, long to, long toStride) {
        for (long i = 0; i < n; i++) {
            segment.set(I16, 2 * (to + i * toStride), BFloat16.fromFloat(from.get(F32, 4 * (at + i * fromStride))));
        }
    }

    private void scatterF16(MemorySegment from, long at, long fromStride, long n, long to, long toStride) {
        for (long i = 0; i < n; i++) {
            segment.set(I16, 2 * (to + i * toStride), Float.floatToFloat16(from.get(F32, 4 * (at + i * fromStride))));
        }
    }

    /** Copies a tile of codes to bytes with rows {@code pitch} apart. */
    void gatherCodes(long row, long rows, long column, long columns, MemorySegment to, long pitch) {
        for (long r = 0; r < rows; r += PATCH) {
            for (long c = 0; c < columns; c += PATCH) {
                copyPatch(segment, byteOffset(row + r, column + c), rowStride, columnStride, Math.min(PATCH, rows - r),
                        Math.min(PATCH, columns - c), to, r * pitch + c, pitch, 1);
            }
        }
    }

    /** Copies a tile of codes with rows {@code pitch} bytes apart into place. */
    void scatterCodes(long row, long rows, long column, long columns, MemorySegment from, long pitch) {
        for (long r = 0; r < rows; r += PATCH) {
            for (long c = 0; c < columns; c += PATCH) {
                copyPatch(from, r * pitch + c, pitch, 1, Math.min(PATCH, rows - r), Math.min(PATCH, columns - c),
                        segment, byteOffset(row + r, column + c), rowStride, columnStride);
            }
        }
    }

    private static void copyPatch(MemorySegment from, long fromAt, long fromRow, long fromColumn, long rows,
            long columns, MemorySegment to, long toAt, long toRow, long toColumn) {
        for (long r = 0; r < rows; r++) {
            long source = fromAt + r * fromRow;
            long target = toAt + r * toRow;
            for (long c = 0; c < columns; c++) {
                to.set(I8, target + c * toColumn, from.get(I8, source + c * fromColumn));
            }
        }
    }
}
