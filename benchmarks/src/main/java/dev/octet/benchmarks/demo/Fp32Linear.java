package dev.octet.benchmarks.demo;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.List;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The same linear layer in FP32, fast enough to be a fair opponent. Weights are repacked once into panels of two vectors
 * of output channels, {@code [out / panel][in][panel]}, so that a panel is read front to back; a tile of 6 rows by 2
 * vectors keeps 12 sums in registers, enough to hide the latency of the FMA units.
 */
final class Fp32Linear implements Linear {
    private static final VectorSpecies<Float> S = FloatVector.SPECIES_PREFERRED;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(LE);
    private static final long V = S.vectorByteSize();
    private static final int PANEL = 2 * S.length();
    private static final int ROWS = 6;
    /** Rows of one task: many tasks, so that threads finish together; each reads a panel of weights once. */
    private static final int TASK_ROWS = 16 * ROWS;

    private final CpuPool pool;
    private final Tensor panels;
    private final Tensor bias;
    private final int in;
    private final int out;

    /**
     * Repacks the weights.
     *
     * @param pool the threads to share the work among
     * @param parts see {@link Linear.Factory}; the sum of their outputs must be a multiple of two vectors
     */
    Fp32Linear(CpuPool pool, List<MiniLm.Dense> parts) {
        this.pool = pool;
        in = (int) parts.getFirst().weight().dim(0);
        out = (int) parts.stream().mapToLong(p -> p.weight().dim(1)).sum();
        if (out % PANEL != 0) {
            throw new IllegalArgumentException("parts have " + out + " outputs, a multiple of " + PANEL + " fits");
        }
        bias = Tensor.allocate(DType.F32, Shape.of(out));
        panels = Tensor.allocate(DType.F32, Shape.of(out / PANEL, in, PANEL));
        MemorySegment target = panels.segment();
        int from = 0;
        for (MiniLm.Dense part : parts) {
            int width = (int) part.weight().dim(1);
            bias.slice(0, from, from + width).copyFrom(part.bias());
            float[] w = part.weight().toFloatArray();
            for (int n = 0; n < width; n++) {
                int channel = from + n;
                long base = ((long) channel / PANEL * in * PANEL + channel % PANEL) * 4;
                for (int k = 0; k < in; k++) {
                    target.set(F32, base + (long) k * PANEL * 4, w[k * width + n]);
                }
            }
            from += width;
        }
    }

    @Override
    public void apply(Tensor x, Tensor y) {
        int rows = (int) x.dim(0);
        int rowTasks = Math.ceilDiv(rows, TASK_ROWS);
        MemorySegment xs = x.segment();
        MemorySegment ys = y.segment();
        MemorySegment ws = panels.segment();
        MemorySegment bs = bias.segment();
        pool.run(rowTasks * (out / PANEL), task -> {
            int panel = task / rowTasks;
            int first = task % rowTasks * TASK_ROWS;
            int last = Math.min(rows, first + TASK_ROWS);
            long w = (long) panel * in * PANEL * 4;
            long column = (long) panel * PANEL * 4;
            int row = first;
            for (; row + ROWS <= last; row += ROWS) {
                tile6(xs, (long) row * in * 4, ws, w, bs, ys, column, (long) row * out * 4, in, out * 4L);
            }
            for (; row < last; row++) {
                tile1(xs, (long) row * in * 4, ws, w, bs, ys, column, (long) row * out * 4, in);
            }
        });
    }

    /** Six rows of x by one panel; x, w, column and y are byte offsets. */
    private static void tile6(MemorySegment xs, long x, MemorySegment ws, long w, MemorySegment bs, MemorySegment ys,
            long column, long y, long in, long yStride) {
        FloatVector c00 = FloatVector.fromMemorySegment(S, bs, column, LE);
        FloatVector c01 = FloatVector.fromMemorySegment(S, bs, column + V, LE);
        FloatVector c10 = c00;
        FloatVector c11 = c01;
        FloatVector c20 = c00;
        FloatVector c21 = c01;
        FloatVector c30 = c00;
        FloatVector c31 = c01;
        FloatVector c40 = c00;
        FloatVector c41 = c01;
        FloatVector c50 = c00;
        FloatVector c51 = c01;
        long row = in * 4;
        for (long k = 0; k < in; k++) {
            FloatVector b0 = FloatVector.fromMemorySegment(S, ws, w + k * (2 * V), LE);
            FloatVector b1 = FloatVector.fromMemorySegment(S, ws, w + k * (2 * V) + V, LE);
            long xk = x + k * 4;
            FloatVector a = FloatVector.broadcast(S, xs.get(F32, xk));
            c00 = a.fma(b0, c00);
            c01 = a.fma(b1, c01);
            a = FloatVector.broadcast(S, xs.get(F32, xk + row));
            c10 = a.fma(b0, c10);
            c11 = a.fma(b1, c11);
            a = FloatVector.broadcast(S, xs.get(F32, xk + 2 * row));
            c20 = a.fma(b0, c20);
            c21 = a.fma(b1, c21);
            a = FloatVector.broadcast(S, xs.get(F32, xk + 3 * row));
            c30 = a.fma(b0, c30);
            c31 = a.fma(b1, c31);
            a = FloatVector.broadcast(S, xs.get(F32, xk + 4 * row));
            c40 = a.fma(b0, c40);
            c41 = a.fma(b1, c41);
            a = FloatVector.broadcast(S, xs.get(F32, xk + 5 * row));
            c50 = a.fma(b0, c50);
            c51 = a.fma(b1, c51);
        }
        long o = y + column;
        c00.intoMemorySegment(ys, o, LE);
        c01.intoMemorySegment(ys, o + V, LE);
        c10.intoMemorySegment(ys, o + yStride, LE);
        c11.intoMemorySegment(ys, o + yStride + V, LE);
        c20.intoMemorySegment(ys, o + 2 * yStride, LE);
        c21.intoMemorySegment(ys, o + 2 * yStride + V, LE);
        c30.intoMemorySegment(ys, o + 3 * yStride, LE);
        c31.intoMemorySegment(ys, o + 3 * yStride + V, LE);
        c40.intoMemorySegment(ys, o + 4 * yStride, LE);
        c41.intoMemorySegment(ys, o + 4 * yStride + V, LE);
        c50.intoMemorySegment(ys, o + 5 * yStride, LE);
        c51.intoMemorySegment(ys, o + 5 * yStride + V, LE);
    }

    /** One row by one panel, in the same order of additions, so that a row's result does not depend on its neighbours. */
    private static void tile1(MemorySegment xs, long x, MemorySegment ws, long w, MemorySegment bs, MemorySegment ys,
            long column, long y, long in) {
        FloatVector c0 = FloatVector.fromMemorySegment(S, bs, column, LE);
        FloatVector c1 = FloatVector.fromMemorySegment(S, bs, column + V, LE);
        for (long k = 0; k < in; k++) {
            FloatVector a = FloatVector.broadcast(S, xs.get(F32, x + k * 4));
            c0 = a.fma(FloatVector.fromMemorySegment(S, ws, w + k * (2 * V), LE), c0);
            c1 = a.fma(FloatVector.fromMemorySegment(S, ws, w + k * (2 * V) + V, LE), c1);
        }
        c0.intoMemorySegment(ys, y + column, LE);
        c1.intoMemorySegment(ys, y + column + V, LE);
    }

    @Override
    public long weightBytes() {
        return panels.shape().elements() * 4;
    }

    @Override
    public void close() {
        panels.close();
        bias.close();
    }
}
