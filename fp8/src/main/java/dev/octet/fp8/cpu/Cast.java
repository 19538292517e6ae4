package dev.octet.fp8.cpu;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import dev.octet.fp8.Overflow;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * One cast between floats and FP8, by tiles. Tensors of any rank are seen as matrices: as one long row if both lie
 * densely, else as one matrix for each index of the outer dimensions.
 */
final class Cast {
    private static final long TILE_COLUMNS = 1024;
    private static final long DENSE_COLUMNS = Tiles.TILE_ELEMENTS;

    /** The scale 1 of every block of a tile's row. */
    private static final MemorySegment ONES = ones(TileKernels.blocks(DENSE_COLUMNS));

    private final TileKernels kernels;
    private final Tensor source;
    private final Tensor target;
    private final boolean encode;
    private final FloatFormat format;
    private final MemorySegment from;
    private final MemorySegment to;
    private final boolean shared;

    Cast(TileKernels kernels, Tensor source, Tensor target, Overflow overflow) {
        this.kernels = kernels;
        this.source = source;
        this.target = target;
        encode = target.dtype().isFp8();
        format = FloatFormat.of(encode ? target.dtype() : source.dtype(), overflow);
        from = source.segment();
        to = target.segment();
        shared = Tiles.isShared(from) && Tiles.isShared(to);
    }

    private static MemorySegment ones(long count) {
        MemorySegment s = Arena.global().allocate(4 * count, 64);
        for (long i = 0; i < count; i++) {
            s.set(MatrixView.F32, 4 * i, 1f);
        }
        return s;
    }

    void run(CpuPool pool) {
        long elements = source.shape().elements();
        int rank = source.shape().rank();
        if (elements == 0) {
            return;
        }
        if (source.isContiguous() && target.isContiguous()) {
            matrix(pool, 0, 0, 1, elements, elements, 1, elements, 1, DENSE_COLUMNS);
        } else if (rank == 1) {
            matrix(pool, 0, 0, 1, elements, 0, source.stride(0), 0, target.stride(0), DENSE_COLUMNS);
        } else {
            outer(pool, 0, 0, 0);
        }
    }

    private void outer(CpuPool pool, int dim, long i, long j) {
        if (dim < source.shape().rank() - 2) {
            for (long n = 0; n < source.dim(dim); n++) {
                outer(pool, dim + 1, i + n * source.stride(dim), j + n * target.stride(dim));
            }
        } else if (source.stride(dim) < source.stride(dim + 1) && target.stride(dim) < target.stride(dim + 1)) {
            // Both are transposed: what is a column to the caller is a row in memory.
            matrix(pool, i, j, source.dim(dim + 1), source.dim(dim), source.stride(dim + 1), source.stride(dim),
                    target.stride(dim + 1), target.stride(dim), TILE_COLUMNS);
        } else {
            matrix(pool, i, j, source.dim(dim), source.dim(dim + 1), source.stride(dim), source.stride(dim + 1),
                    target.stride(dim), target.stride(dim + 1), TILE_COLUMNS);
        }
    }

    private void matrix(CpuPool pool, long i, long j, long rows, long columns, long sourceRowStride,
            long sourceColumnStride, long targetRowStride, long targetColumnStride, long tileColumns) {
        MatrixView x = new MatrixView(from.asSlice(i * source.dtype().byteSize()), source.dtype(), sourceRowStride,
                sourceColumnStride);
        MatrixView y = new MatrixView(to.asSlice(j * target.dtype().byteSize()), target.dtype(), targetRowStride,
                targetColumnStride);
        long across = Math.min(columns, tileColumns);
        Tiles.run(pool, shared, rows, columns, Math.max(1, Tiles.TILE_ELEMENTS / across), across,
                encode ? (row, n, column, m) -> encode(x, y, row, n, column, m)
                        : (row, n, column, m) -> decode(x, y, row, n, column, m));
    }

    private void encode(MatrixView x, MatrixView y, long row, long n, long column, long m) {
        MemorySegment floats = x.segment();
        long at = x.byteOffset(row, column);
        long rowBytes = x.rowBytes();
        boolean bf16 = x.dtype() == DType.BF16;
        if (!x.isDirect()) {
            long pitch = MatrixView.pitch(m);
            floats = Scratch.get(Slots.FLOATS, 4 * n * pitch);
            x.gatherFloats(kernels, row, n, column, m, floats, pitch);
            at = 0;
            rowBytes = 4 * pitch;
            bf16 = false;
        }
        if (y.isDirect()) {
            kernels.cast(floats, bf16, at, rowBytes, n, m, format, y.segment(), y.byteOffset(row, column),
                    y.rowBytes());
        } else {
            long pitch = MatrixView.pitch(m);
            MemorySegment codes = Scratch.get(Slots.CODES, n * pitch);
            kernels.cast(floats, bf16, at, rowBytes, n, m, format, codes, 0, pitch);
            y.scatterCodes(row, n, column, m, codes, pitch);
        }
    }

    private void decode(MatrixView x, MatrixView y, long row, long n, long column, long m) {
        MemorySegment codes = x.segment();
        long at = x.byteOffset(row, column);
        long rowBytes = x.rowBytes();
        if (!x.isDirect()) {
            long pitch = MatrixView.pitch(m);
            codes = Scratch.get(Slots.CODES, n * pitch);
            x.gatherCodes(row, n, column, m, codes, pitch);
            at = 0;
            rowBytes = pitch;
        }
        if (y.isDirect()) {
            kernels.decodeBlocks(codes, at, rowBytes, n, m, format, ONES, 0, y.segment(), y.dtype() == DType.BF16,
                    y.byteOffset(row, column), y.rowBytes());
        } else {
            long pitch = MatrixView.pitch(m);
            MemorySegment floats = Scratch.get(Slots.FLOATS, 4 * n * pitch);
            kernels.decodeBlocks(codes, at, rowBytes, n, m, format, ONES, 0, floats, false, 0, 4 * pitch);
            y.scatterFloats(kernels, row, n, column, m, floats, pitch);
        }
    }
}
