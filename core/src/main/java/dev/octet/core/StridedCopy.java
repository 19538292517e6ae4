package dev.octet.core;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Copies elements between two layouts of one shape in host memory, in the largest blocks that both have in common. The
 * memory must not overlap unless both are dense.
 */
final class StridedCopy {
    private static final ValueLayout.OfByte I8 = ValueLayout.JAVA_BYTE;
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED;
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT_UNALIGNED;
    private static final ValueLayout.OfLong I64 = ValueLayout.JAVA_LONG_UNALIGNED;

    private final int size;
    private final Shape shape;
    private final MemorySegment from;
    private final long[] fromStrides;
    private final MemorySegment to;
    private final long[] toStrides;

    private StridedCopy(int size, Shape shape, MemorySegment from, long[] fromStrides, MemorySegment to,
            long[] toStrides) {
        this.size = size;
        this.shape = shape;
        this.from = from;
        this.fromStrides = fromStrides;
        this.to = to;
        this.toStrides = toStrides;
    }

    /** Byte 0 of both segments is the first element. */
    static void copy(DType dtype, Shape shape, MemorySegment from, long[] fromStrides, MemorySegment to,
            long[] toStrides) {
        new StridedCopy(dtype.byteSize(), shape, from, fromStrides, to, toStrides).copy(0, 0, 0);
    }

    private void copy(int dim, long fromElement, long toElement) {
        if (Strides.isDense(shape, fromStrides, dim) && Strides.isDense(shape, toStrides, dim)) {
            long count = 1;
            for (int i = dim; i < shape.rank(); i++) {
                count *= shape.dim(i);
            }
            MemorySegment.copy(from, fromElement * size, to, toElement * size, count * size);
        } else if (dim == shape.rank() - 1) {
            copyLine(fromElement, fromStrides[dim], toElement, toStrides[dim], shape.dim(dim));
        } else {
            for (long i = 0; i < shape.dim(dim); i++) {
                copy(dim + 1, fromElement + i * fromStrides[dim], toElement + i * toStrides[dim]);
            }
        }
    }

    private void copyLine(long fromElement, long fromStride, long toElement, long toStride, long n) {
        switch (size) {
            case 1 -> {
                for (long i = 0; i < n; i++) {
                    to.set(I8, toElement + i * toStride, from.get(I8, fromElement + i * fromStride));
                }
            }
            case 2 -> {
                for (long i = 0; i < n; i++) {
                    to.set(I16, 2 * (toElement + i * toStride), from.get(I16, 2 * (fromElement + i * fromStride)));
                }
            }
            case 4 -> {
                for (long i = 0; i < n; i++) {
                    to.set(I32, 4 * (toElement + i * toStride), from.get(I32, 4 * (fromElement + i * fromStride)));
                }
            }
            default -> {
                for (long i = 0; i < n; i++) {
                    to.set(I64, 8 * (toElement + i * toStride), from.get(I64, 8 * (fromElement + i * fromStride)));
                }
            }
        }
    }
}
