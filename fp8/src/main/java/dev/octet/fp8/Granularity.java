package dev.octet.fp8;

import dev.octet.core.Shape;

/**
 * Which elements of a matrix {@code [rows, columns]} share one scale (DeepSeek-V3 &sect;3.3.2 and &sect;3.5.2 for the
 * blocks). Blocks at the lower and right edge may be cut off.
 */
public enum Granularity {
    /** One scale for the matrix; scales are {@code [1, 1]}. */
    TENSOR(Long.MAX_VALUE, Long.MAX_VALUE),
    /** One scale for each row; scales are {@code [rows, 1]}. */
    ROW(1, Long.MAX_VALUE),
    /** One scale for 128 neighbours of a row, as for activations; scales are {@code [rows, ceil(columns/128)]}. */
    BLOCK_1X128(1, 128),
    /**
     * One scale for 128 neighbours of a column, as for weight gradients; scales are {@code [ceil(rows/128), columns]}.
     */
    BLOCK_128X1(128, 1),
    /** One scale for a square of 128 by 128, as for weights; scales are {@code [ceil(rows/128), ceil(columns/128)]}. */
    BLOCK_128X128(128, 128);

    /** The edge of a block, in elements. */
    public static final int BLOCK = 128;

    private final long blockRows;
    private final long blockColumns;

    Granularity(long blockRows, long blockColumns) {
        this.blockRows = blockRows;
        this.blockColumns = blockColumns;
    }

    /** {@return rows of a block; {@link Long#MAX_VALUE} if a block spans all of them} */
    public long blockRows() {
        return blockRows;
    }

    /** {@return columns of a block; {@link Long#MAX_VALUE} if a block spans all of them} */
    public long blockColumns() {
        return blockColumns;
    }

    /**
     * {@return the shape of the scales of a matrix}
     *
     * @param rows its rows
     * @param columns its columns
     */
    public Shape scaleShape(long rows, long columns) {
        return Shape.of(blocks(rows, blockRows), blocks(columns, blockColumns));
    }

    private static long blocks(long extent, long block) {
        return block == Long.MAX_VALUE ? 1 : Math.ceilDiv(extent, block);
    }

    /**
     * {@return the granularity of the transposed matrix}
     *
     * @throws IllegalArgumentException for {@link #ROW}: scales by column are not supported
     */
    public Granularity transposed() {
        return switch (this) {
            case BLOCK_1X128 -> BLOCK_128X1;
            case BLOCK_128X1 -> BLOCK_1X128;
            case TENSOR, BLOCK_128X128 -> this;
            case ROW -> throw new IllegalArgumentException(
                    "a matrix with granularity ROW can't be transposed: scales by column are not supported");
        };
    }
}
