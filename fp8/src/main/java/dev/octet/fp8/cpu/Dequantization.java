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
    private static final long TILE_COLUMNS = 8 * Granularity.BLOCK;
    private static final long DIRECT_COLUMNS = 64 * Granularity.BLOCK;

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
        Tiles.Body body = (row, n, column, m) -> {
            if (out.isDirect()) {
                tile(row, n, column, m, out.segment(), out.dtype(), out.byteOffset(row, column),
                        out.rowBytes());
            } else {
                long pitch = MatrixView.pitch(m);
                MemorySegment y = Scratch.get(Slots.FLOATS, 4 * n * pitch);
                tile(row, n, column, m, y, DType.F32, 0, 4 * pitch);
                out.scatterFloats(kernels, row, n, column, m, y, pitch);
            }
        };
        if (granularity == Granularity.BLOCK_128X1) {
            // The scales of a tile's columns are prepared once for all of its rows.
            Tiles.run(pool, shared, rows, columns, Granularity.BLOCK, TILE_COLUMNS, body);
            return;
        }
        // In place, the longer a tile's rows the better; through scratch, both layouts should use whole cache lines.
        long tileColumns = Math.min(columns, codes.isDirect() && out.isDirect() ? DIRECT_COLUMNS : TILE_COLUMNS);
        Tiles.run(pool, shared, rows, columns, Math.max(1, Tiles.TILE_ELEMENTS / tileColumns), tileColumns, body);
    }

    /**
     * Decodes a tile to F32 or BF16 with unit stride along a row. Its first column begins a block; its rows may begin
     * and end anywhere.
     */
    void tile(long row, long n, long column, long m, MemorySegment y, DType dtype, long at, long rowBytes) {
        MemorySegment from = codes.segment();
        long fromAt = codes.byteOffset(row, column);
        long fromRowBytes = codes.rowBytes();
        if (!codes.isDirect()) {
            long pitch = MatrixView.pitch(m);
            from = Scratch.get(Slots.SOURCE_CODES, n * pitch);
            codes.gatherCodes(row, n, column, m, from, pitch);
            fromAt = 0;
            fromRowBytes = pitch;
        }
        boolean bf16 = dtype == DType.BF16;
        long blockRows = granularity.blockRows() == 1 ? Long.MAX_VALUE : granularity.blockRows();
        for (long r = 0; r < n;) {
            long blockRow = (row + r) / blockRows;
            long toRow = blockRow == 0 ? Math.min(n, blockRows - row) : Math.min(n, (blockRow + 1) * blockRows - row);
            MemorySegment factors = granularity == Granularity.BLOCK_128X1 ? scalesOfColumns(blockRow, column, m)
                    : scalesOfBlocks(granularity.blockRows() == 1 ? row : blockRow, n, column, m);
            long codesFrom = fromAt + r * fromRowBytes;
            long to = at + r * rowBytes;
            if (granularity == Granularity.BLOCK_128X1) {
                kernels.decodeColumns(from, codesFrom, fromRowBytes, toRow - r, m, format, factors, y, bf16, to,
                        rowBytes);
            } else {
                long scalesRowBytes = granularity.blockRows() == 1 ? 4 * TileKernels.blocks(m) : 0;
                kernels.decodeBlocks(from, codesFrom, fromRowBytes, toRow - r, m, format, factors, scalesRowBytes, y,
                        bf16, to, rowBytes);
            }
            r = toRow;
        }
    }

    private MemorySegment scalesOfColumns(long blockRow, long column, long m) {
        MemorySegment factors = Scratch.get(Slots.SOURCE_SCALES, 4 * m);
        for (long c = 0; c < m; c++) {
            factors.set(F32, 4 * c, scales.load(blockRow, column + c));
        }
        return factors;
    }

    /** The scales of each row if they differ from row to row, else of all rows at once. The column begins a block. */
    private MemorySegment scalesOfBlocks(long scaleRow, long n, long column, long m) {
        long blocks = TileKernels.blocks(m);
        long scaleRows = granularity.blockRows() == 1 ? n : 1;
        boolean byBlock = granularity.blockColumns() == Granularity.BLOCK;
        MemorySegment factors = Scratch.get(Slots.SOURCE_SCALES, 4 * scaleRows * blocks);
        for (long b = 0; b < blocks; b++) {
            long scaleColumn = byBlock ? column / Granularity.BLOCK + b : 0;
            for (long r = 0; r < scaleRows; r++) {
                factors.set(F32, 4 * (r * blocks + b), scales.load(scaleRow + r, scaleColumn));
            }
        }
        return factors;
    }
}
