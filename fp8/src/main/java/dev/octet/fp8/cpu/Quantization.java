package dev.octet.fp8.cpu;

import static dev.octet.fp8.cpu.MatrixView.F32;
import static dev.octet.fp8.cpu.MatrixView.I32;

import dev.octet.core.DType;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaledTensor;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * One quantisation, by tiles that hold whole groups. Each tile is read twice, for the largest magnitude and for the
 * codes; the second time it comes from the cache.
 */
final class Quantization {
    private static final long BLOCK = Granularity.BLOCK;
    /** Through scratch: whole cache lines of a transposed source, and a tile in the second-level cache. */
    private static final long SCRATCH_COLUMNS = 4 * BLOCK;
    /** In place: the longer a row, the better the prefetcher; 128 rows of it still fit in the second-level cache. */
    private static final long DIRECT_COLUMNS = 16 * BLOCK;
    private static final long DIRECT_ROW_COLUMNS = 64 * BLOCK;
    /** Rows of a tile that is quantised by whole rows. */
    private static final long WHOLE_ROWS = 4;
    private static final long WHOLE_ROWS_SCRATCH = 32;

    private final TileKernels kernels;
    private final FloatTiles source;
    private final @Nullable MatrixView direct;
    private final MatrixView codes;
    private final ScaleGrid scales;
    private final Granularity granularity;
    private final FloatFormat format;
    private final float formatMax;
    private final long rows;
    private final long columns;
    private final boolean shared;

    Quantization(TileKernels kernels, FloatTiles source, ScaledTensor target) {
        this.kernels = kernels;
        this.source = source;
        direct = source.direct();
        codes = MatrixView.of(target.codes());
        scales = ScaleGrid.of(target);
        granularity = target.scaling().granularity();
        format = FloatFormat.of(target.format(), Overflow.SATURATE);
        formatMax = format.max();
        rows = target.rows();
        columns = target.columns();
        shared = source.isShared() && Tiles.isShared(codes.segment()) && Tiles.isShared(scales.segment());
    }

    void run(CpuPool pool) {
        if (rows == 0 || columns == 0) {
            scalesOfNothing();
            return;
        }
        boolean inPlace = direct != null && codes.isDirect();
        long across = inPlace ? DIRECT_COLUMNS : SCRATCH_COLUMNS;
        switch (granularity) {
            case BLOCK_1X128 -> {
                long tileColumns = Math.min(TileKernels.blocks(columns) * BLOCK,
                        inPlace ? DIRECT_ROW_COLUMNS : SCRATCH_COLUMNS);
                run(pool, Math.max(1, Tiles.TILE_ELEMENTS / tileColumns), tileColumns, true, this::rowBlocks);
            }
            case BLOCK_128X1 -> run(pool, BLOCK, across, true, this::columnBlocks);
            case BLOCK_128X128 -> run(pool, BLOCK, across, true, this::squareBlocks);
            case ROW -> wholeRows(pool, inPlace ? WHOLE_ROWS : WHOLE_ROWS_SCRATCH,
                    inPlace ? DIRECT_ROW_COLUMNS : SCRATCH_COLUMNS);
            case TENSOR -> wholeMatrix(pool, inPlace ? DIRECT_ROW_COLUMNS : SCRATCH_COLUMNS);
        }
    }

    /** A matrix without elements may still have scales: those of a group of zeros. */
    private void scalesOfNothing() {
        long n = granularity == Granularity.TENSOR ? 1 : granularity == Granularity.ROW ? rows : 0;
        for (long i = 0; i < n; i++) {
            scales.store(i, 0, scales.scale(0, formatMax));
        }
    }

    /** What is done with a tile of floats and the place for its codes. */
    @FunctionalInterface
    private interface Tile {
        void run(long row, long n, long column, long m, MemorySegment x, boolean bf16, long at, long rowBytes,
                MemorySegment out, long outAt, long outRowBytes);
    }

    private void run(CpuPool pool, long tileRows, long tileColumns, boolean writesCodes, Tile body) {
        Tiles.run(pool, shared, rows, columns, tileRows, tileColumns,
                (row, n, column, m) -> withTile(row, n, column, m, writesCodes, body));
    }

    private void withTile(long row, long n, long column, long m, boolean writesCodes, Tile body) {
        MatrixView d = direct;
        MemorySegment x;
        boolean bf16 = false;
        long at = 0;
        long rowBytes = 4 * MatrixView.pitch(m);
        if (d != null) {
            x = d.segment();
            bf16 = d.dtype() == DType.BF16;
            at = d.byteOffset(row, column);
            rowBytes = d.rowBytes();
        } else {
            x = Scratch.get(Slots.FLOATS, rowBytes * n);
            source.fill(row, n, column, m, x, rowBytes / 4);
        }
        if (codes.isDirect() || !writesCodes) {
            body.run(row, n, column, m, x, bf16, at, rowBytes, codes.segment(), codes.byteOffset(row, column),
                    codes.rowBytes());
        } else {
            long pitch = MatrixView.pitch(m);
            MemorySegment out = Scratch.get(Slots.CODES, n * pitch);
            body.run(row, n, column, m, x, bf16, at, rowBytes, out, 0, pitch);
            codes.scatterCodes(row, n, column, m, out, pitch);
        }
    }

    /**
     * Makes the scale of a group, stores it, and puts its reciprocal where the largest magnitude was.
     *
     * @param i which of the ints and floats of {@code maxBits}
     * @return whether the factor is positive, which it is unless the group holds a NaN or an infinity
     */
    private boolean makeScale(MemorySegment maxBits, long i, long scaleRow, long scaleColumn) {
        float scale = scales.scale(maxBits.get(I32, 4 * i), formatMax);
        scales.store(scaleRow, scaleColumn, scale);
        float factor = 1f / scale;
        maxBits.set(F32, 4 * i, factor);
        return factor > 0;
    }

    private void rowBlocks(long row, long n, long column, long m, MemorySegment x, boolean bf16, long at,
            long rowBytes, MemorySegment out, long outAt, long outRowBytes) {
        long blocks = TileKernels.blocks(m);
        MemorySegment factors = Scratch.get(Slots.COLUMNS, 4 * n * blocks);
        kernels.maxBitsOfBlocks(x, bf16, at, rowBytes, n, m, factors);
        boolean finite = true;
        for (long b = 0; b < blocks; b++) {
            for (long r = 0; r < n; r++) {
                finite &= makeScale(factors, r * blocks + b, row + r, column / BLOCK + b);
            }
        }
        kernels.encodeBlocks(x, bf16, at, rowBytes, n, m, factors, 4 * blocks, format, out, outAt, outRowBytes);
        if (!finite) {
            encodeNotFinite(x, bf16, at, rowBytes, n, m, factors, 4 * blocks, BLOCK, out, outAt, outRowBytes);
        }
    }

    private void squareBlocks(long row, long n, long column, long m, MemorySegment x, boolean bf16, long at,
            long rowBytes, MemorySegment out, long outAt, long outRowBytes) {
        MemorySegment ofColumns = Scratch.get(Slots.ROWS, 4 * m);
        MemorySegment factors = Scratch.get(Slots.COLUMNS, 4 * TileKernels.blocks(m));
        // Columns first: that takes one comparison for four rows and no reduction within a vector.
        kernels.maxBitsOfColumns(x, bf16, at, rowBytes, n, m, ofColumns);
        boolean finite = true;
        for (long b = 0; b < TileKernels.blocks(m); b++) {
            long width = Math.min(BLOCK, m - b * BLOCK);
            factors.set(I32, 4 * b, ScalarKernels.maxBitsOfRow(ofColumns, false, 4 * BLOCK * b, width));
            finite &= makeScale(factors, b, row / BLOCK, column / BLOCK + b);
        }
        kernels.encodeBlocks(x, bf16, at, rowBytes, n, m, factors, 0, format, out, outAt, outRowBytes);
        if (!finite) {
            encodeNotFinite(x, bf16, at, rowBytes, n, m, factors, 0, BLOCK, out, outAt, outRowBytes);
        }
    }

    private void columnBlocks(long row, long n, long column, long m, MemorySegment x, boolean bf16, long at,
            long rowBytes, MemorySegment out, long outAt, long outRowBytes) {
        MemorySegment factors = Scratch.get(Slots.COLUMNS, 4 * m);
        kernels.maxBitsOfColumns(x, bf16, at, rowBytes, n, m, factors);
        boolean finite = true;
        for (long c = 0; c < m; c++) {
            finite &= makeScale(factors, c, row / BLOCK, column + c);
        }
        kernels.encodeColumns(x, bf16, at, rowBytes, n, m, factors, format, out, outAt, outRowBytes);
        if (!finite) {
            encodeNotFinite(x, bf16, at, rowBytes, n, m, factors, 0, 1, out, outAt, outRowBytes);
        }
    }

    /** Goes over a tile that was encoded and does the groups again whose factor is not positive. */
    private void encodeNotFinite(MemorySegment x, boolean bf16, long at, long rowBytes, long n, long m,
            MemorySegment factors, long factorsRowBytes, long width, MemorySegment out, long outAt, long outRowBytes) {
        for (long r = 0; r < n; r++) {
            for (long c = 0; c < m; c += width) {
                float factor = factors.get(F32, r * factorsRowBytes + c / width * 4);
                if (!(factor > 0)) {
                    ScalarKernels.encodeNotFinite(x, bf16, at + r * rowBytes + c * (bf16 ? 2 : 4),
                            Math.min(width, m - c), factor, format, out, outAt + r * outRowBytes + c);
                }
            }
        }
    }

    /** Tasks are whole rows, in pieces: first their largest magnitudes, then their codes. */
    private void wholeRows(CpuPool pool, long tileRows, long pieceColumns) {
        Tile maxima = this::maximaOfRows;
        Tile encode = this::encodeRows;
        Tiles.run(pool, shared, rows, columns, tileRows, columns, (row, n, column, m) -> {
            MemorySegment ofRows = Scratch.get(Slots.ROWS, 4 * n);
            for (long r = 0; r < n; r++) {
                ofRows.set(I32, 4 * r, 0);
            }
            for (long c = 0; c < columns; c += pieceColumns) {
                withTile(row, n, c, Math.min(pieceColumns, columns - c), false, maxima);
            }
            for (long r = 0; r < n; r++) {
                makeScale(ofRows, r, row + r, 0);
            }
            for (long c = 0; c < columns; c += pieceColumns) {
                withTile(row, n, c, Math.min(pieceColumns, columns - c), true, encode);
            }
        });
    }

    private void maximaOfRows(long row, long n, long column, long m, MemorySegment x, boolean bf16, long at,
            long rowBytes, MemorySegment out, long outAt, long outRowBytes) {
        long blocks = TileKernels.blocks(m);
        MemorySegment ofBlocks = Scratch.get(Slots.COLUMNS, 4 * n * blocks);
        MemorySegment ofRows = Scratch.get(Slots.ROWS, 4 * n);
        kernels.maxBitsOfBlocks(x, bf16, at, rowBytes, n, m, ofBlocks);
        for (long r = 0; r < n; r++) {
            int bits = ofRows.get(I32, 4 * r);
            for (long b = 0; b < blocks; b++) {
                bits = Math.max(bits, ofBlocks.get(I32, 4 * (r * blocks + b)));
            }
            ofRows.set(I32, 4 * r, bits);
        }
    }

    private void encodeRows(long row, long n, long column, long m, MemorySegment x, boolean bf16, long at,
            long rowBytes, MemorySegment out, long outAt, long outRowBytes) {
        long blocks = TileKernels.blocks(m);
        MemorySegment factors = Scratch.get(Slots.COLUMNS, 4 * n * blocks);
        MemorySegment ofRows = Scratch.get(Slots.ROWS, 4 * n);
        boolean finite = true;
        for (long r = 0; r < n; r++) {
            float factor = ofRows.get(F32, 4 * r);
            for (long b = 0; b < blocks; b++) {
                factors.set(F32, 4 * (r * blocks + b), factor);
            }
            finite &= factor > 0;
        }
        kernels.encodeBlocks(x, bf16, at, rowBytes, n, m, factors, 4 * blocks, format, out, outAt, outRowBytes);
        if (!finite) {
            encodeNotFinite(x, bf16, at, rowBytes, n, m, factors, 4 * blocks, BLOCK, out, outAt, outRowBytes);
        }
    }

    /** The whole matrix twice: first for the largest magnitude of all, whatever the order of the tiles. */
    private void wholeMatrix(CpuPool pool, long tileColumns) {
        long tileRows = Tiles.TILE_ELEMENTS / tileColumns;
        AtomicInteger max = new AtomicInteger();
        run(pool, tileRows, tileColumns, false,
                (row, n, column, m, x, bf16, at, rowBytes, out, outAt, outRowBytes) -> {
                    long count = n * TileKernels.blocks(m);
                    MemorySegment ofBlocks = Scratch.get(Slots.COLUMNS, 4 * count);
                    kernels.maxBitsOfBlocks(x, bf16, at, rowBytes, n, m, ofBlocks);
                    int bits = 0;
                    for (long i = 0; i < count; i++) {
                        bits = Math.max(bits, ofBlocks.get(I32, 4 * i));
                    }
                    max.accumulateAndGet(bits, Math::max);
                });
        float scale = scales.scale(max.get(), formatMax);
        scales.store(0, 0, scale);
        float factor = 1f / scale;
        run(pool, tileRows, tileColumns, true,
                (row, n, column, m, x, bf16, at, rowBytes, out, outAt, outRowBytes) -> {
                    long blocks = TileKernels.blocks(m);
                    MemorySegment factors = Scratch.get(Slots.COLUMNS, 4 * blocks);
                    for (long b = 0; b < blocks; b++) {
                        factors.set(F32, 4 * b, factor);
                    }
                    if (factor > 0) {
                        kernels.encodeBlocks(x, bf16, at, rowBytes, n, m, factors, 0, format, out, outAt, outRowBytes);
                    } else {
                        encodeNotFinite(x, bf16, at, rowBytes, n, m, factors, 0, BLOCK, out, outAt, outRowBytes);
                    }
                });
    }
}
