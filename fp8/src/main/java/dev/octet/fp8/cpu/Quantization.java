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
import org.jspecify.annotations.Nullable;

/**
 * One quantisation, by tiles that hold whole groups. Each tile is read twice, for the largest magnitude and for the
 * codes; the second time it comes from the cache.
 */
final class Quantization {
    private static final long BLOCK = Granularity.BLOCK;
    /** Rows are long enough for the prefetcher, and transposed input still fills its cache lines. */
    private static final long TILE_COLUMNS = 8 * BLOCK;
    private static final long ROW_TILE = 16;

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
        switch (granularity) {
            case BLOCK_1X128 -> run(pool, Tiles.TILE_ELEMENTS / TILE_COLUMNS, TILE_COLUMNS, this::rowBlocks);
            case BLOCK_128X1 -> run(pool, BLOCK, 2 * BLOCK, this::columnBlocks);
            case BLOCK_128X128 -> run(pool, BLOCK, 2 * BLOCK, this::squareBlocks);
            case ROW -> Tiles.run(pool, shared, rows, columns, ROW_TILE, columns, (row, n, column, m) -> rows(row, n));
            case TENSOR -> tensor(pool);
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

    private void run(CpuPool pool, long tileRows, long tileColumns, Tile body) {
        Tiles.run(pool, shared, rows, columns, tileRows, tileColumns,
                (row, n, column, m) -> withTile(row, n, column, m, true, body));
    }

    private void withTile(long row, long n, long column, long m, boolean writesCodes, Tile body) {
        MatrixView d = direct;
        MemorySegment x;
        boolean bf16 = false;
        long at = 0;
        long rowBytes = 4 * m;
        if (d != null) {
            x = d.segment();
            bf16 = d.dtype() == DType.BF16;
            at = d.byteOffset(row, column);
            rowBytes = d.rowBytes();
        } else {
            x = Scratch.get(Slots.FLOATS, 4 * n * m);
            source.fill(row, n, column, m, x);
        }
        if (codes.isDirect() || !writesCodes) {
            body.run(row, n, column, m, x, bf16, at, rowBytes, codes.segment(), codes.byteOffset(row, column),
                    codes.rowBytes());
        } else {
            MemorySegment out = Scratch.get(Slots.CODES, n * m);
            body.run(row, n, column, m, x, bf16, at, rowBytes, out, 0, m);
            codes.scatterCodes(row, n, column, m, out);
        }
    }

    private void encode(MemorySegment x, boolean bf16, long at, long rowBytes, long n, long m, float scale,
            MemorySegment out, long outAt, long outRowBytes) {
        float factor = 1f / scale;
        if (ScaleGrid.isFinite(scale)) {
            kernels.encode(x, bf16, at, rowBytes, n, m, factor, format, out, outAt, outRowBytes);
        } else {
            ScalarKernels.encodeNotFinite(x, bf16, at, rowBytes, n, m, factor, format, out, outAt, outRowBytes);
        }
    }

    private void rowBlocks(long row, long n, long column, long m, MemorySegment x, boolean bf16, long at,
            long rowBytes, MemorySegment out, long outAt, long outRowBytes) {
        int size = bf16 ? 2 : 4;
        for (long r = 0; r < n; r++) {
            for (long c = 0; c < m; c += BLOCK) {
                long width = Math.min(BLOCK, m - c);
                long from = at + r * rowBytes + c * size;
                float scale = scales.scale(kernels.maxBits(x, bf16, from, rowBytes, 1, width), formatMax);
                scales.store(row + r, (column + c) / BLOCK, scale);
                encode(x, bf16, from, rowBytes, 1, width, scale, out, outAt + r * outRowBytes + c, outRowBytes);
            }
        }
    }

    private void squareBlocks(long row, long n, long column, long m, MemorySegment x, boolean bf16, long at,
            long rowBytes, MemorySegment out, long outAt, long outRowBytes) {
        int size = bf16 ? 2 : 4;
        for (long c = 0; c < m; c += BLOCK) {
            long width = Math.min(BLOCK, m - c);
            float scale = scales.scale(kernels.maxBits(x, bf16, at + c * size, rowBytes, n, width), formatMax);
            scales.store(row / BLOCK, (column + c) / BLOCK, scale);
            encode(x, bf16, at + c * size, rowBytes, n, width, scale, out, outAt + c, outRowBytes);
        }
    }

    private void columnBlocks(long row, long n, long column, long m, MemorySegment x, boolean bf16, long at,
            long rowBytes, MemorySegment out, long outAt, long outRowBytes) {
        int size = bf16 ? 2 : 4;
        MemorySegment factors = Scratch.get(Slots.COLUMNS, 4 * m);
        kernels.maxBitsOfColumns(x, bf16, at, rowBytes, n, m, factors);
        boolean allFinite = true;
        for (long c = 0; c < m; c++) {
            float scale = scales.scale(factors.get(I32, 4 * c), formatMax);
            scales.store(row / BLOCK, column + c, scale);
            factors.set(F32, 4 * c, 1f / scale);
            allFinite &= ScaleGrid.isFinite(scale);
        }
        kernels.encodeColumns(x, bf16, at, rowBytes, n, m, factors, format, out, outAt, outRowBytes);
        for (long c = 0; !allFinite && c < m; c++) {
            float factor = factors.get(F32, 4 * c);
            if (!(factor > 0)) {
                ScalarKernels.encodeNotFinite(x, bf16, at + c * size, rowBytes, n, 1, factor, format, out, outAt + c,
                        outRowBytes);
            }
        }
    }

    /** Whole rows, in pieces that fit in scratch: first their largest magnitudes, then their codes. */
    private void rows(long row, long n) {
        MemorySegment max = Scratch.get(Slots.COLUMNS, 4 * n);
        max.asSlice(0, 4 * n).fill((byte) 0);
        for (long column = 0; column < columns; column += TILE_COLUMNS) {
            withTile(row, n, column, Math.min(TILE_COLUMNS, columns - column), false,
                    (row1, n1, column1, m, x, bf16, at, rowBytes, out, outAt, outRowBytes) -> {
                        for (long r = 0; r < n1; r++) {
                            int bits = kernels.maxBits(x, bf16, at + r * rowBytes, rowBytes, 1, m);
                            max.set(I32, 4 * r, Math.max(max.get(I32, 4 * r), bits));
                        }
                    });
        }
        for (long r = 0; r < n; r++) {
            float scale = scales.scale(max.get(I32, 4 * r), formatMax);
            scales.store(row + r, 0, scale);
            max.set(F32, 4 * r, scale);
        }
        for (long column = 0; column < columns; column += TILE_COLUMNS) {
            withTile(row, n, column, Math.min(TILE_COLUMNS, columns - column), true,
                    (row1, n1, column1, m, x, bf16, at, rowBytes, out, outAt, outRowBytes) -> {
                        for (long r = 0; r < n1; r++) {
                            encode(x, bf16, at + r * rowBytes, rowBytes, 1, m, max.get(F32, 4 * r), out,
                                    outAt + r * outRowBytes, outRowBytes);
                        }
                    });
        }
    }

    /** The whole matrix twice; between the passes lie the maxima of the tiles, whose order does not matter. */
    private void tensor(CpuPool pool) {
        long tileRows = Tiles.TILE_ELEMENTS / TILE_COLUMNS;
        long across = Math.ceilDiv(columns, TILE_COLUMNS);
        int[] max = new int[Math.toIntExact(Math.ceilDiv(rows, tileRows) * across)];
        Tiles.run(pool, shared, rows, columns, tileRows, TILE_COLUMNS,
                (row, n, column, m) -> withTile(row, n, column, m, false,
                        (row1, n1, column1, m1, x, bf16, at, rowBytes, out, outAt, outRowBytes) ->
                                max[(int) (row1 / tileRows * across + column1 / TILE_COLUMNS)] =
                                        kernels.maxBits(x, bf16, at, rowBytes, n1, m1)));
        int bits = 0;
        for (int b : max) {
            bits = Math.max(bits, b);
        }
        float scale = scales.scale(bits, formatMax);
        scales.store(0, 0, scale);
        run(pool, tileRows, TILE_COLUMNS, (row, n, column, m, x, bf16, at, rowBytes, out, outAt, outRowBytes) ->
                encode(x, bf16, at, rowBytes, n, m, scale, out, outAt, outRowBytes));
    }
}
