package dev.octet.fp8.cpu;

import static dev.octet.fp8.cpu.MatrixView.F32;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaledTensor;
import java.lang.foreign.MemorySegment;

/** One dequantisation: codes times scales, by tiles. */
final class Dequantization {
    private static final long TILE_COLUMNS = 1024;

    private final TileKernels kernels;
    private final MatrixView codes;
    private final ScaleGrid scales;
    private final Granularity granularity;
    private final FloatFormat format;
    private final long rows;
    private final long columns;

    Dequantization(TileKernels kernels, ScaledTensor source) {
        this.kernels = kernels;
        codes = MatrixView.of(source.codes());
        scales = ScaleGrid.of(source);
        granularity = source.scaling().granularity();
        format = FloatFormat.of(source.format(), Overflow.SATURATE);
        rows = source.rows();
        columns = source.columns();
    }

    boolean isShared() {
        return Tiles.isShared(codes.segment()) && Tiles.isShared(scales.segment());
    }

    void run(Tensor target, CpuPool pool) {
        if (rows == 0 || columns == 0) {
            return;
        }
        MatrixView out = MatrixView.of(target);
        boolean shared = isShared() && Tiles.isShared(out.segment());
        long tileColumns = Math.min(columns, TILE_COLUMNS);
        Tiles.run(pool, shared, rows, columns, Math.max(1, Tiles.TILE_ELEMENTS / tileColumns), tileColumns,
                (row, n, column, m) -> {
                    if (out.isDirect()) {
                        tile(row, n, column, m, out.segment(), out.dtype(), out.byteOffset(row, column),
                                out.rowBytes());
                    } else {
                        MemorySegment y = Scratch.get(Slots.FLOATS, 4 * n * m);
                        tile(row, n, column, m, y, DType.F32, 0, 4 * m);
                        out.scatterFloats(row, n, column, m, y);
                    }
                });
    }

    /** Decodes a tile, which may begin and end anywhere, to F32 or BF16 with unit stride along a row. */
    void tile(long row, long n, long column, long m, MemorySegment y, DType dtype, long at, long rowBytes) {
        MemorySegment from = codes.segment();
        long fromAt = codes.byteOffset(row, column);
        long fromRowBytes = codes.rowBytes();
        if (!codes.isDirect()) {
            from = Scratch.get(Slots.SOURCE_CODES, n * m);
            codes.gatherCodes(row, n, column, m, from);
            fromAt = 0;
            fromRowBytes = m;
        }
        long blockRows = granularity.blockRows();
        long blockColumns = granularity.blockColumns();
        boolean bf16 = dtype == DType.BF16;
        for (long r = 0; r < n;) {
            long blockRow = (row + r) / blockRows;
            long toRow = blockRow == 0 ? Math.min(n, blockRows - row) : Math.min(n, (blockRow + 1) * blockRows - row);
            if (granularity == Granularity.BLOCK_128X1) {
                MemorySegment factors = Scratch.get(Slots.SOURCE_SCALES, 4 * m);
                for (long c = 0; c < m; c++) {
                    factors.set(F32, 4 * c, scales.load(blockRow, column + c));
                }
                kernels.decodeColumns(from, fromAt + r * fromRowBytes, fromRowBytes, toRow - r, m, format, factors, y,
                        bf16, at + r * rowBytes, rowBytes);
            } else {
                for (long c = 0; c < m;) {
                    long block = (column + c) / blockColumns;
                    long to = block == 0 ? Math.min(m, blockColumns - column)
                            : Math.min(m, (block + 1) * blockColumns - column);
                    kernels.decode(from, fromAt + r * fromRowBytes + c, fromRowBytes, toRow - r, to - c, format,
                            scales.load(blockRow, block), y, bf16, at + r * rowBytes + c * dtype.byteSize(), rowBytes);
                    c = to;
                }
            }
            r = toRow;
        }
    }
}
