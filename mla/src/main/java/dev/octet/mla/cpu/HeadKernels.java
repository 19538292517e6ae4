package dev.octet.mla.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;
import static jdk.incubator.vector.VectorOperators.LSHL;

import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The inner loops of the projection of few tokens by one head's BF16 matrix, where reading the matrix is what takes the
 * time. A vector of L ints holds 2 L neighbours of a row; a shift makes floats of the even ones and a mask of the odd
 * ones. So the even ones come first, then the odd ones: that is the packed order, in which whatever the neighbours are
 * multiplied with or added to is stored, and no value is ever moved to another lane.
 *
 * <p>Two rows are read at a time, half of a matrix apart, so that the hardware sees two long streams: with neighbours
 * every stream ends with its row, and read bandwidth falls to a third.
 */
final class HeadKernels {
    private static final VectorSpecies<Float> F = Lanes.F;
    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    private static final int L = Lanes.COUNT;
    private static final int HIGH = 0xFFFF_0000;

    /** Values of a row in one vector. */
    static final int GROUP = 2 * L;
    /** Tokens that a call may have: 1, 2 or 4. */
    static final int MAX_TOKENS = 4;

    private HeadKernels() {}

    /**
     * Adds rows of the matrix, each times one value of each token, for a matrix whose rows run along {@code n}:
     * {@code sums[t, n] += w[row, n] * x[t, row] + w[row + half, n] * x[t, row + half]}.
     *
     * @param tokens 1, 2 or 4
     * @param w address of the first row
     * @param stride bytes from one row to the next
     * @param half rows between the two streams
     * @param from the first row of the first stream
     * @param to the row after its last
     * @param vectors vectors of a row
     * @param x {@code float[k][MAX_TOKENS]}
     * @param xAt where it begins
     * @param sums {@code float[tokens][vectors][2][L]}, packed
     * @param at where they begin
     */
    static void addRows(int tokens, long w, long stride, int half, int from, int to, int vectors, float[] x,
            int xAt, float[] sums, int at) {
        switch (tokens) {
            case 1 -> {
                for (int row = from; row < to; row++) {
                    add1(w + row * stride, w + (row + half) * stride, vectors, x, xAt + row * MAX_TOKENS,
                            xAt + (row + half) * MAX_TOKENS, sums, at);
                }
            }
            case 2 -> {
                for (int row = from; row < to; row++) {
                    add2(w + row * stride, w + (row + half) * stride, vectors, x, xAt + row * MAX_TOKENS,
                            xAt + (row + half) * MAX_TOKENS, sums, at);
                }
            }
            default -> {
                for (int row = from; row < to; row++) {
                    add4(w + row * stride, w + (row + half) * stride, vectors, x, xAt + row * MAX_TOKENS,
                            xAt + (row + half) * MAX_TOKENS, sums, at);
                }
            }
        }
    }

    private static void add1(long w0, long w1, int vectors, float[] x, int x0, int x1, float[] sums,
            int first) {
        FloatVector a0 = FloatVector.broadcast(F, x[x0]);
        FloatVector a1 = FloatVector.broadcast(F, x[x1]);
        for (int v = 0; v < vectors; v++) {
            long o = 4L * L * v;
            int at = first + GROUP * v;
            IntVector p0 = IntVector.fromMemorySegment(I, ALL, w0 + o, LE);
            IntVector p1 = IntVector.fromMemorySegment(I, ALL, w1 + o, LE);
            FloatVector e = FloatVector.fromArray(F, sums, at);
            FloatVector d = FloatVector.fromArray(F, sums, at + L);
            e = p0.lanewise(LSHL, 16).reinterpretAsFloats().fma(a0, e);
            d = p0.and(HIGH).reinterpretAsFloats().fma(a0, d);
            e = p1.lanewise(LSHL, 16).reinterpretAsFloats().fma(a1, e);
            d = p1.and(HIGH).reinterpretAsFloats().fma(a1, d);
            e.intoArray(sums, at);
            d.intoArray(sums, at + L);
        }
    }

    private static void add2(long w0, long w1, int vectors, float[] x, int x0, int x1, float[] sums,
            int first) {
        FloatVector a0 = FloatVector.broadcast(F, x[x0]);
        FloatVector a1 = FloatVector.broadcast(F, x[x1]);
        FloatVector b0 = FloatVector.broadcast(F, x[x0 + 1]);
        FloatVector b1 = FloatVector.broadcast(F, x[x1 + 1]);
        int row = vectors * GROUP;
        for (int v = 0; v < vectors; v++) {
            long o = 4L * L * v;
            int at = first + GROUP * v;
            IntVector p0 = IntVector.fromMemorySegment(I, ALL, w0 + o, LE);
            IntVector p1 = IntVector.fromMemorySegment(I, ALL, w1 + o, LE);
            FloatVector e0 = p0.lanewise(LSHL, 16).reinterpretAsFloats();
            FloatVector e1 = p1.lanewise(LSHL, 16).reinterpretAsFloats();
            e1.fma(a1, e0.fma(a0, FloatVector.fromArray(F, sums, at))).intoArray(sums, at);
            e1.fma(b1, e0.fma(b0, FloatVector.fromArray(F, sums, at + row))).intoArray(sums, at + row);
            FloatVector d0 = p0.and(HIGH).reinterpretAsFloats();
            FloatVector d1 = p1.and(HIGH).reinterpretAsFloats();
            d1.fma(a1, d0.fma(a0, FloatVector.fromArray(F, sums, at + L))).intoArray(sums, at + L);
            d1.fma(b1, d0.fma(b0, FloatVector.fromArray(F, sums, at + row + L))).intoArray(sums, at + row + L);
        }
    }

    private static void add4(long w0, long w1, int vectors, float[] x, int x0, int x1, float[] sums,
            int first) {
        FloatVector a0 = FloatVector.broadcast(F, x[x0]);
        FloatVector a1 = FloatVector.broadcast(F, x[x1]);
        FloatVector b0 = FloatVector.broadcast(F, x[x0 + 1]);
        FloatVector b1 = FloatVector.broadcast(F, x[x1 + 1]);
        FloatVector c0 = FloatVector.broadcast(F, x[x0 + 2]);
        FloatVector c1 = FloatVector.broadcast(F, x[x1 + 2]);
        FloatVector g0 = FloatVector.broadcast(F, x[x0 + 3]);
        FloatVector g1 = FloatVector.broadcast(F, x[x1 + 3]);
        int row = vectors * GROUP;
        for (int v = 0; v < vectors; v++) {
            long o = 4L * L * v;
            int at = first + GROUP * v;
            IntVector p0 = IntVector.fromMemorySegment(I, ALL, w0 + o, LE);
            IntVector p1 = IntVector.fromMemorySegment(I, ALL, w1 + o, LE);
            FloatVector e0 = p0.lanewise(LSHL, 16).reinterpretAsFloats();
            FloatVector e1 = p1.lanewise(LSHL, 16).reinterpretAsFloats();
            e1.fma(a1, e0.fma(a0, FloatVector.fromArray(F, sums, at))).intoArray(sums, at);
            e1.fma(b1, e0.fma(b0, FloatVector.fromArray(F, sums, at + row))).intoArray(sums, at + row);
            e1.fma(c1, e0.fma(c0, FloatVector.fromArray(F, sums, at + 2 * row))).intoArray(sums, at + 2 * row);
            e1.fma(g1, e0.fma(g0, FloatVector.fromArray(F, sums, at + 3 * row))).intoArray(sums, at + 3 * row);
            FloatVector d0 = p0.and(HIGH).reinterpretAsFloats();
            FloatVector d1 = p1.and(HIGH).reinterpretAsFloats();
            d1.fma(a1, d0.fma(a0, FloatVector.fromArray(F, sums, at + L))).intoArray(sums, at + L);
            d1.fma(b1, d0.fma(b0, FloatVector.fromArray(F, sums, at + row + L))).intoArray(sums, at + row + L);
            d1.fma(c1, d0.fma(c0, FloatVector.fromArray(F, sums, at + 2 * row + L)))
                    .intoArray(sums, at + 2 * row + L);
            d1.fma(g1, d0.fma(g0, FloatVector.fromArray(F, sums, at + 3 * row + L)))
                    .intoArray(sums, at + 3 * row + L);
        }
    }

    /**
     * Multiplies two rows of the matrix with each token, for a matrix whose rows run along {@code k}. The lanes are
     * left to be added.
     *
     * @param tokens 1, 2 or 4
     * @param w0 address of one row
     * @param w1 address of the other
     * @param vectors vectors of a row
     * @param x {@code float[tokens][vectors][2][L]}, packed
     * @param first where it begins
     * @param sums {@code float[row][token][L]}, written
     */
    static void multiplyRows(int tokens, long w0, long w1, int vectors, float[] x, int first, float[] sums) {
        switch (tokens) {
            case 1 -> multiply1(w0, w1, vectors, x, first, sums);
            case 2 -> multiply2(w0, w1, vectors, x, first, sums);
            default -> multiply4(w0, w1, vectors, x, first, sums);
        }
    }

    private static void multiply1(long w0, long w1, int vectors, float[] x, int first, float[] sums) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        for (int v = 0; v < vectors; v++) {
            long o = 4L * L * v;
            int at = first + GROUP * v;
            IntVector p0 = IntVector.fromMemorySegment(I, ALL, w0 + o, LE);
            IntVector p1 = IntVector.fromMemorySegment(I, ALL, w1 + o, LE);
            FloatVector xe = FloatVector.fromArray(F, x, at);
            a0 = p0.lanewise(LSHL, 16).reinterpretAsFloats().fma(xe, a0);
            a1 = p1.lanewise(LSHL, 16).reinterpretAsFloats().fma(xe, a1);
            FloatVector xd = FloatVector.fromArray(F, x, at + L);
            a0 = p0.and(HIGH).reinterpretAsFloats().fma(xd, a0);
            a1 = p1.and(HIGH).reinterpretAsFloats().fma(xd, a1);
        }
        a0.intoArray(sums, 0);
        a1.intoArray(sums, L);
    }

    private static void multiply2(long w0, long w1, int vectors, float[] x, int first, float[] sums) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector b0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector b1 = FloatVector.zero(F);
        int row = vectors * GROUP;
        for (int v = 0; v < vectors; v++) {
            long o = 4L * L * v;
            int at = first + GROUP * v;
            IntVector p0 = IntVector.fromMemorySegment(I, ALL, w0 + o, LE);
            IntVector p1 = IntVector.fromMemorySegment(I, ALL, w1 + o, LE);
            FloatVector xa = FloatVector.fromArray(F, x, at);
            FloatVector xb = FloatVector.fromArray(F, x, at + row);
            FloatVector e0 = p0.lanewise(LSHL, 16).reinterpretAsFloats();
            FloatVector e1 = p1.lanewise(LSHL, 16).reinterpretAsFloats();
            a0 = e0.fma(xa, a0);
            a1 = e1.fma(xa, a1);
            b0 = e0.fma(xb, b0);
            b1 = e1.fma(xb, b1);
            FloatVector ya = FloatVector.fromArray(F, x, at + L);
            FloatVector yb = FloatVector.fromArray(F, x, at + row + L);
            FloatVector d0 = p0.and(HIGH).reinterpretAsFloats();
            FloatVector d1 = p1.and(HIGH).reinterpretAsFloats();
            a0 = d0.fma(ya, a0);
            a1 = d1.fma(ya, a1);
            b0 = d0.fma(yb, b0);
            b1 = d1.fma(yb, b1);
        }
        a0.intoArray(sums, 0);
        b0.intoArray(sums, L);
        a1.intoArray(sums, 2 * L);
        b1.intoArray(sums, 3 * L);
    }

    private static void multiply4(long w0, long w1, int vectors, float[] x, int first, float[] sums) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector b0 = FloatVector.zero(F);
        FloatVector c0 = FloatVector.zero(F);
        FloatVector g0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector b1 = FloatVector.zero(F);
        FloatVector c1 = FloatVector.zero(F);
        FloatVector g1 = FloatVector.zero(F);
        int row = vectors * GROUP;
        for (int v = 0; v < vectors; v++) {
            long o = 4L * L * v;
            int at = first + GROUP * v;
            IntVector p0 = IntVector.fromMemorySegment(I, ALL, w0 + o, LE);
            IntVector p1 = IntVector.fromMemorySegment(I, ALL, w1 + o, LE);
            FloatVector e0 = p0.lanewise(LSHL, 16).reinterpretAsFloats();
            FloatVector e1 = p1.lanewise(LSHL, 16).reinterpretAsFloats();
            FloatVector xa = FloatVector.fromArray(F, x, at);
            a0 = e0.fma(xa, a0);
            a1 = e1.fma(xa, a1);
            FloatVector xb = FloatVector.fromArray(F, x, at + row);
            b0 = e0.fma(xb, b0);
            b1 = e1.fma(xb, b1);
            FloatVector xc = FloatVector.fromArray(F, x, at + 2 * row);
            c0 = e0.fma(xc, c0);
            c1 = e1.fma(xc, c1);
            FloatVector xg = FloatVector.fromArray(F, x, at + 3 * row);
            g0 = e0.fma(xg, g0);
            g1 = e1.fma(xg, g1);
            FloatVector d0 = p0.and(HIGH).reinterpretAsFloats();
            FloatVector d1 = p1.and(HIGH).reinterpretAsFloats();
            FloatVector ya = FloatVector.fromArray(F, x, at + L);
            a0 = d0.fma(ya, a0);
            a1 = d1.fma(ya, a1);
            FloatVector yb = FloatVector.fromArray(F, x, at + row + L);
            b0 = d0.fma(yb, b0);
            b1 = d1.fma(yb, b1);
            FloatVector yc = FloatVector.fromArray(F, x, at + 2 * row + L);
            c0 = d0.fma(yc, c0);
            c1 = d1.fma(yc, c1);
            FloatVector yg = FloatVector.fromArray(F, x, at + 3 * row + L);
            g0 = d0.fma(yg, g0);
            g1 = d1.fma(yg, g1);
        }
        a0.intoArray(sums, 0);
        b0.intoArray(sums, L);
        c0.intoArray(sums, 2 * L);
        g0.intoArray(sums, 3 * L);
        a1.intoArray(sums, 4 * L);
        b1.intoArray(sums, 5 * L);
        c1.intoArray(sums, 6 * L);
        g1.intoArray(sums, 7 * L);
    }
}
