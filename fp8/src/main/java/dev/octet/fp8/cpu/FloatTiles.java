package dev.octet.fp8.cpu;

import dev.octet.core.DType;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** Where a quantiser takes its input from, tile by tile: a matrix of floats, or an FP8 matrix that is decoded. */
interface FloatTiles {
    /** The matrix that tiles can be read from in place, or null if they have to be made with {@link #fill}. */
    @Nullable MatrixView direct();

    /** Writes a tile as F32 with rows {@code pitch} elements apart. */
    void fill(long row, long rows, long column, long columns, MemorySegment to, long pitch);

    /** Whether threads other than the caller may read it. */
    boolean isShared();

    /** A matrix of floats. */
    record OfMatrix(TileKernels kernels, MatrixView matrix) implements FloatTiles {
        @Override
        public @Nullable MatrixView direct() {
            return matrix.isDirect() ? matrix : null;
        }

        @Override
        public void fill(long row, long rows, long column, long columns, MemorySegment to, long pitch) {
            matrix.gatherFloats(kernels, row, rows, column, columns, to, pitch);
        }

        @Override
        public boolean isShared() {
            return Tiles.isShared(matrix.segment());
        }
    }

    /** An FP8 matrix, dequantised to FP32 on the way. */
    record OfScaled(Dequantization matrix) implements FloatTiles {
        @Override
        public @Nullable MatrixView direct() {
            return null;
        }

        @Override
        public void fill(long row, long rows, long column, long columns, MemorySegment to, long pitch) {
            matrix.tile(row, rows, column, columns, to, DType.F32, 0, 4 * pitch);
        }

        @Override
        public boolean isShared() {
            return matrix.isShared();
        }
    }
}
