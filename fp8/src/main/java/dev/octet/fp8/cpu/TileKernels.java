package dev.octet.fp8.cpu;

import java.lang.foreign.MemorySegment;

/**
 * The inner loops of casts and quantisers over one tile. A tile of floats is F32 or BF16 with unit stride along a row,
 * a tile of codes is bytes with unit stride along a row; {@code at} and row strides are in bytes. One scale belongs to
 * the whole tile, or, in the methods on columns, one to each column. Implementations give the same bits.
 */
interface TileKernels {
    /** Returns the largest of the magnitudes' FP32 bits, which as integers order NaN after infinity after all else. */
    int maxBits(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns);

    /** The same for each column: writes one int each to {@code max}. */
    void maxBitsOfColumns(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment max);

    /** Writes {@code cast(x)}; NaN keeps its sign. */
    void cast(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns, FloatFormat format,
            MemorySegment codes, long codesAt, long codesRowBytes);

    /**
     * Writes {@code cast(x * factor)}, where the factor is positive, all of x is finite and no product rounds to more
     * than the format's largest value.
     */
    void encode(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns, float factor,
            FloatFormat format, MemorySegment codes, long codesAt, long codesRowBytes);

    /**
     * The same with a factor for each column, F32 in {@code factors}. What it writes to a column whose factor is 0 or
     * NaN is undefined.
     */
    void encodeColumns(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment factors, FloatFormat format, MemorySegment codes, long codesAt, long codesRowBytes);

    /** Writes {@code decode(code) * scale}, rounded to FP32 and then, if asked for, to BF16. */
    void decode(MemorySegment codes, long codesAt, long codesRowBytes, long rows, long columns, FloatFormat format,
            float scale, MemorySegment y, boolean bf16, long at, long rowBytes);

    /** The same with a scale for each column, F32 in {@code scales}. */
    void decodeColumns(MemorySegment codes, long codesAt, long codesRowBytes, long rows, long columns,
            FloatFormat format, MemorySegment scales, MemorySegment y, boolean bf16, long at, long rowBytes);
}
