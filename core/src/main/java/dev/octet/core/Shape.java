package dev.octet.core;

import java.util.Arrays;

/**
 * The extents of a tensor, outermost first. Immutable. Every extent is a {@code long} and may be 0; a rank of 0 is a
 * scalar with one element.
 */
public final class Shape {
    private final long[] dims;
    private final long elements;

    private Shape(long[] dims) {
        this.dims = dims;
        this.elements = product(dims);
    }

    /**
     * Makes a shape.
     *
     * @param dims the extents, outermost first; copied
     * @return the shape
     * @throws IllegalArgumentException if an extent is negative or the number of elements does not fit in a long
     */
    public static Shape of(long... dims) {
        return new Shape(dims.clone());
    }

    private static long product(long[] dims) {
        boolean empty = false;
        for (int i = 0; i < dims.length; i++) {
            if (dims[i] < 0) {
                throw new IllegalArgumentException("dims[" + i + "] is " + dims[i] + ", an extent can't be negative");
            }
            empty |= dims[i] == 0;
        }
        if (empty) {
            return 0;
        }
        long n = 1;
        for (long d : dims) {
            if (Math.multiplyHigh(n, d) != 0 || n * d < 0) {
                throw new IllegalArgumentException("dims " + Arrays.toString(dims) + " have more than 2^63-1 elements");
            }
            n *= d;
        }
        return n;
    }

    /** {@return the number of dimensions} */
    public int rank() {
        return dims.length;
    }

    /**
     * {@return the extent of one dimension}
     *
     * @param i its index, from 0 (outermost) to rank - 1
     * @throws IndexOutOfBoundsException if there is no such dimension
     */
    public long dim(int i) {
        return dims[java.util.Objects.checkIndex(i, dims.length)];
    }

    /** {@return the product of all extents; 1 for a scalar} */
    public long elements() {
        return elements;
    }

    /**
     * {@return whether this is a vector's shape with this extent} Unlike a comparison with another shape it leaves
     * nothing to the garbage collector.
     *
     * @param extent how many elements
     */
    public boolean is(long extent) {
        return dims.length == 1 && dims[0] == extent;
    }

    /**
     * {@return whether this is a matrix's shape with these extents}
     *
     * @param rows how many rows
     * @param columns how many columns
     */
    public boolean is(long rows, long columns) {
        return dims.length == 2 && dims[0] == rows && dims[1] == columns;
    }

    /** {@return the extents, outermost first, as a new array} */
    public long[] toArray() {
        return dims.clone();
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Shape s && Arrays.equals(dims, s.dims);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(dims);
    }

    /** {@return the extents in brackets, for example {@code [576, 7168]}} */
    @Override
    public String toString() {
        return Arrays.toString(dims);
    }
}
