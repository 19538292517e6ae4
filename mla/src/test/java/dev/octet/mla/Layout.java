package dev.octet.mla;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/** How a test's tensor of two or three dimensions lies in memory. */
enum Layout {
    /** In row-major order, aligned. */
    CONTIGUOUS,
    /** A part of a larger tensor: gaps in every dimension. */
    GAPS,
    /** The first two dimensions lie the other way round: all tokens of a head together. */
    TRANSPOSED,
    /** The last dimension lies outermost. */
    COLUMNS,
    /** Every other element of memory: no dimension has stride 1. */
    STRIDE_2,
    /** In row-major order, from an odd address. */
    UNALIGNED;

    /**
     * A tensor and all the memory around it.
     *
     * @param view the tensor
     * @param memory what was allocated
     */
    record Placed(Tensor view, MemorySegment memory) {
        /** Whether all memory but the tensor's own elements is as it was; erases the tensor. */
        boolean surroundingsUntouched() {
            try (Tensor ones = Tensor.allocate(view.dtype(), view.shape())) {
                ones.segment().fill((byte) 0xFF);
                view.copyFrom(ones);
            }
            for (long i = 0; i < memory.byteSize(); i++) {
                if (memory.get(ValueLayout.JAVA_BYTE, i) != -1) {
                    return false;
                }
            }
            return true;
        }
    }

    /** Allocates memory of all ones, which is NaN in both float types, and a tensor within it. */
    Placed place(Arena arena, DType dtype, long... dims) {
        int last = dims.length - 1;
        return switch (this) {
            case CONTIGUOUS -> {
                MemorySegment s = poisoned(arena, bytes(dtype, dims));
                yield new Placed(Tensor.wrap(s, dtype, Shape.of(dims)), s);
            }
            case GAPS -> {
                long[] larger = dims.clone();
                for (int d = 0; d < dims.length; d++) {
                    larger[d] += d + 2;
                }
                MemorySegment s = poisoned(arena, bytes(dtype, larger));
                Tensor part = Tensor.wrap(s, dtype, Shape.of(larger));
                for (int d = 0; d < dims.length; d++) {
                    part = part.slice(d, 1, dims[d] + 1);
                }
                yield new Placed(part, s);
            }
            case TRANSPOSED -> {
                MemorySegment s = poisoned(arena, bytes(dtype, dims));
                yield new Placed(Tensor.wrap(s, dtype, swapped(dims, 0, 1)).transpose(0, 1), s);
            }
            case COLUMNS -> {
                MemorySegment s = poisoned(arena, bytes(dtype, dims));
                yield new Placed(Tensor.wrap(s, dtype, swapped(dims, 0, last)).transpose(0, last), s);
            }
            case STRIDE_2 -> {
                long[] pairs = Arrays.copyOf(dims, dims.length + 1);
                pairs[dims.length] = 2;
                MemorySegment s = poisoned(arena, bytes(dtype, pairs));
                Tensor odd = Tensor.wrap(s, dtype, Shape.of(pairs)).slice(dims.length, 1, 2);
                yield new Placed(odd.reshape(dims), s);
            }
            case UNALIGNED -> {
                MemorySegment s = poisoned(arena, bytes(dtype, dims) + 2);
                yield new Placed(Tensor.wrap(s.asSlice(1), dtype, Shape.of(dims)), s);
            }
        };
    }

    private static Shape swapped(long[] dims, int a, int b) {
        long[] other = dims.clone();
        other[a] = dims[b];
        other[b] = dims[a];
        return Shape.of(other);
    }

    private static long bytes(DType dtype, long[] dims) {
        return Shape.of(dims).elements() * dtype.byteSize();
    }

    private static MemorySegment poisoned(Arena arena, long bytes) {
        return arena.allocate(bytes, 64).fill((byte) 0xFF);
    }
}
