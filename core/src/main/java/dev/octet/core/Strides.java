package dev.octet.core;

import java.util.Arrays;

/** Arithmetic of strides: elements between neighbours in each dimension, never negative. */
final class Strides {
    private Strides() {}

    static void check(Shape shape, long[] strides) {
        if (strides.length != shape.rank()) {
            throw new IllegalArgumentException(
                    "strides " + Arrays.toString(strides) + " do not match the rank of shape " + shape);
        }
        for (long s : strides) {
            if (s < 0) {
                throw new IllegalArgumentException("strides " + Arrays.toString(strides) + ": one is negative");
            }
        }
    }

    static long[] rowMajor(Shape shape) {
        long[] strides = new long[shape.rank()];
        long stride = 1;
        for (int i = shape.rank() - 1; i >= 0; i--) {
            strides[i] = stride;
            long dim = Math.max(1, shape.dim(i));
            // Only an empty shape's other extents can overflow; nothing is ever reached through such a stride.
            stride = stride > Long.MAX_VALUE / dim ? Long.MAX_VALUE : stride * dim;
        }
        return strides;
    }

    /** Elements from the first to one past the last; 0 for an empty tensor. */
    static long extent(Shape shape, long[] strides) {
        if (shape.elements() == 0) {
            return 0;
        }
        long n = 1;
        try {
            for (int i = 0; i < strides.length; i++) {
                n = Math.addExact(n, Math.multiplyExact(shape.dim(i) - 1, strides[i]));
            }
        } catch (ArithmeticException e) {
            throw new IllegalArgumentException(
                    "strides " + Arrays.toString(strides) + " of shape " + shape + " overflow a long", e);
        }
        return n;
    }

    /** Whether the dimensions from one to the innermost lie in row-major order without gaps. */
    static boolean isDense(Shape shape, long[] strides, int fromDim) {
        long expected = 1;
        for (int i = shape.rank() - 1; i >= fromDim; i--) {
            if (shape.dim(i) != 1 && strides[i] != expected) {
                return false;
            }
            expected *= shape.dim(i);
        }
        return true;
    }

    /**
     * The strides under which the same elements in the same order have another shape.
     *
     * @param target as many elements, and at least one
     * @throws IllegalArgumentException if there are none without a copy
     */
    static long[] reshape(Shape shape, long[] strides, Shape target) {
        long[] st = new long[target.rank()];
        int from = 0; // dimensions of the shape are consumed in runs whose product matches a run of the target
        int to = 0;
        while (to < target.rank()) {
            if (target.dim(to) == 1) {
                st[to++] = 1;
                continue;
            }
            while (shape.dim(from) == 1) {
                from++;
            }
            int runStart = from;
            int targetStart = to;
            long have = shape.dim(from++);
            long want = target.dim(to++);
            while (have != want) {
                if (have < want) {
                    have *= shape.dim(from++);
                } else {
                    want *= target.dim(to++);
                }
            }
            long last = strides[runStart];
            for (int i = runStart + 1; i < from; i++) {
                if (shape.dim(i) == 1) {
                    continue;
                }
                if (strides[i] * shape.dim(i) != last) {
                    throw new IllegalArgumentException("shape " + shape + " with strides " + Arrays.toString(strides)
                            + " can't be seen as " + target + " without a copy: call copy() first");
                }
                last = strides[i];
            }
            long stride = last;
            for (int i = to - 1; i >= targetStart; i--) {
                st[i] = stride;
                stride *= target.dim(i);
            }
        }
        return st;
    }
}
