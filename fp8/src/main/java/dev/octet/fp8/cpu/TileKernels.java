package dev.octet.fp8.cpu;

import dev.octet.fp8.Granularity;
import java.lang.foreign.MemorySegment;

/**
 * The inner loops of casts and quantisers over one tile. A tile of floats is F32 or BF16 with unit stride along a row,
 * a tile of codes is bytes with unit stride along a row; {@code at} and row strides are in bytes.
 *
 * <p>Scales belong either to columns, one F32 for each of the tile's, or to blocks of 128 columns of one row: then each
 * row of {@code ceil(columns / 128)} of them is {@code scalesRowBytes} after the one before, and rows that share their
 * scales have 0 there. Implementations give the same bits.
 */
interface TileKernels {
    /** Columns of a block. */
    int BLOCK = Granularity.BLOCK;

    /** {@return how many blocks a row has} */
    static long blocks(long columns) {
        return (columns + BLOCK - 1) / BLOCK;
    }

    /** {@return where a column's scale lies in the scales of its row, in bytes} */
    static long scaleAt(long column) {
        return (column >>> 7) << 2;
    }

    /**
     * Writes the largest of the magnitudes' FP32 bits, which as integers order NaN after infinity after all else: an
     * int for each row and block, without gaps.
     */
    void maxBitsOfBlocks(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment max);

    /** The same for each column. */
    void maxBitsOfColumns(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment max);

    /** Writes {@code cast(x)}; NaN keeps its sign. */
    void cast(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns, FloatFormat format,
            MemorySegment codes, long codesAt, long codesRowBytes);

    /**
     * Writes {@code cast(x * factor)}. What it writes where the factor is not positive or the product rounds to more
     * than the format's largest value is undefined: those groups are done again.
     */
    void encodeBlocks(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment factors, long factorsRowBytes, FloatFormat format, MemorySegment codes, long codesAt,
            long codesRowBytes);

    /** The same with a factor for each column. */
    void encodeColumns(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment factors, FloatFormat format, MemorySegment codes, long codesAt, long codesRowBytes);

    /** Writes {@code decode(code) * scale}, rounded to FP32 and then, if asked for, to BF16. */
    void decodeBlocks(MemorySegment codes, long codesAt, long codesRowBytes, long rows, long columns,
            FloatFormat format, MemorySegment scales, long scalesRowBytes, MemorySegment y, boolean bf16, long at,
            long rowBytes);

    /** The same with a scale for each column. */
    void decodeColumns(MemorySegment codes, long codesAt, long codesRowBytes, long rows, long columns,
            FloatFormat format, MemorySegment scales, MemorySegment y, boolean bf16, long at, long rowBytes);

    /** Widens {@code n} F16 to F32. */
    void widen(MemorySegment halves, long halvesAt, long n, MemorySegment y, long at);

    /** Rounds {@code n} F32 to F16, to nearest, ties to even. */
    void narrow(MemorySegment x, long at, long n, MemorySegment halves, long halvesAt);
}
