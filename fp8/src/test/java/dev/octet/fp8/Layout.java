package dev.octet.fp8;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** How a test's matrix lies in memory. */
enum Layout {
    /** Row by row, aligned. */
    CONTIGUOUS,
    /** A slice of a wider matrix, from its second column: rows have gaps. */
    ROW_GAPS,
    /** Column by column. */
    TRANSPOSED,
    /** Every other element of memory: no dimension has stride 1. */
    STRIDE_2,
    /** Row by row, from an odd address. */
    UNALIGNED;

    /**
     * A matrix and all the memory around it.
     *
     * @param view the matrix
     * @param memory what was allocated
     */
    record Placed(Tensor view, MemorySegment memory) {}

    /** Allocates memory of all ones, which is NaN in every float and FP8 format, and a matrix within it. */
    Placed place(Arena arena, DType dtype, long rows, long columns) {
        int size = dtype.byteSize();
        return switch (this) {
            case CONTIGUOUS -> {
                MemorySegment s = poisoned(arena, rows * columns * size);
                yield new Placed(Tensor.wrap(s, dtype, Shape.of(rows, columns)), s);
            }
            case ROW_GAPS -> {
                MemorySegment s = poisoned(arena, (rows + 1) * (columns + 5) * size);
                Tensor whole = Tensor.wrap(s, dtype, Shape.of(rows + 1, columns + 5));
                yield new Placed(whole.slice(0, 1, rows + 1).slice(1, 1, columns + 1), s);
            }
            case TRANSPOSED -> {
                MemorySegment s = poisoned(arena, rows * columns * size);
                yield new Placed(Tensor.wrap(s, dtype, Shape.of(columns, rows)).transpose(), s);
            }
            case STRIDE_2 -> {
                MemorySegment s = poisoned(arena, rows * columns * 2 * size);
                Tensor pairs = Tensor.wrap(s, dtype, Shape.of(rows, columns, 2));
                yield new Placed(pairs.slice(2, 1, 2).reshape(rows, columns), s);
            }
            case UNALIGNED -> {
                MemorySegment s = poisoned(arena, rows * columns * size + 2);
                yield new Placed(Tensor.wrap(s.asSlice(1), dtype, Shape.of(rows, columns)), s);
            }
        };
    }

    private static MemorySegment poisoned(Arena arena, long bytes) {
        return arena.allocate(bytes, 64).fill((byte) 0xFF);
    }
}
