package dev.octet.benchmarks.demo;

import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/** What a BERT encoder does to single rows between its matrices, in FP32: LayerNorm and GELU. */
final class Rows {
    private static final VectorSpecies<Float> S = FloatVector.SPECIES_PREFERRED;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(LE);
    private static final int TASK_ROWS = 16;
    private static final double EPSILON = 1e-12;

    private Rows() {}

    /**
     * {@code y = LayerNorm(x + y)}, row by row, with epsilon 1e-12.
     *
     * @param x {@code [rows, width]}
     * @param y the residual, and the result
     * @param norm scale and shift
     * @param pool the threads
     */
    static void addAndNormalize(Tensor x, Tensor y, MiniLm.Norm norm, CpuPool pool) {
        int rows = (int) x.dim(0);
        int width = (int) x.dim(1);
        MemorySegment xs = x.segment();
        MemorySegment ys = y.segment();
        MemorySegment ws = norm.weight().segment();
        MemorySegment bs = norm.bias().segment();
        pool.run(Math.ceilDiv(rows, TASK_ROWS), task -> {
            for (long r = (long) task * TASK_ROWS; r < Math.min(rows, (task + 1) * TASK_ROWS); r++) {
                addAndNormalize(xs, ys, r * width * 4, ws, bs, width);
            }
        });
    }

    private static void addAndNormalize(MemorySegment xs, MemorySegment ys, long row, MemorySegment ws,
            MemorySegment bs, long width) {
        FloatVector sum = FloatVector.zero(S);
        for (long i = 0; i < width; i += S.length()) {
            FloatVector v = FloatVector.fromMemorySegment(S, xs, row + i * 4, LE)
                    .add(FloatVector.fromMemorySegment(S, ys, row + i * 4, LE));
            v.intoMemorySegment(ys, row + i * 4, LE);
            sum = sum.add(v);
        }
        MemorySegment lanes = Scratch.get(2, S.vectorByteSize());
        sum.intoMemorySegment(lanes, 0, LE);
        float mean = sum(lanes) / width;
        FloatVector squares = FloatVector.zero(S);
        for (long i = 0; i < width; i += S.length()) {
            FloatVector d = FloatVector.fromMemorySegment(S, ys, row + i * 4, LE).sub(mean);
            squares = d.fma(d, squares);
        }
        squares.intoMemorySegment(lanes, 0, LE);
        float factor = (float) (1 / Math.sqrt(sum(lanes) / (double) width + EPSILON));
        for (long i = 0; i < width; i += S.length()) {
            FloatVector.fromMemorySegment(S, ys, row + i * 4, LE).sub(mean).mul(factor)
                    .fma(FloatVector.fromMemorySegment(S, ws, i * 4, LE),
                            FloatVector.fromMemorySegment(S, bs, i * 4, LE))
                    .intoMemorySegment(ys, row + i * 4, LE);
        }
    }

    /** The sum of a vector's lanes in order. The order of reduceLanes is undefined, and changes when C2 compiles it. */
    static float sum(MemorySegment lanes) {
        float sum = 0;
        for (long i = 0; i < S.length(); i++) {
            sum += lanes.get(F32, i * 4);
        }
        return sum;
    }

    /**
     * {@code x = x / 2 * (1 + erf(x / sqrt 2))}, the exact GELU and not its tanh approximation.
     *
     * @param x {@code [rows, width]}, contiguous
     * @param pool the threads
     */
    static void gelu(Tensor x, CpuPool pool) {
        MemorySegment xs = x.segment();
        long elements = x.shape().elements();
        long chunk = x.dim(1) * TASK_ROWS;
        pool.run((int) Math.ceilDiv(elements, chunk),
                task -> gelu(xs, task * chunk, Math.min(elements, (task + 1) * chunk)));
    }

    /*
     * erf(z) = z P(z^2) / Q(z^2) on [-4, 4], beyond which erf is 1 to FP32's precision. P and Q were fitted for the least
     * largest relative error, 2.5e-8 before rounding; evaluated in FP32 it is 3.1e-7.
     */
    private static void gelu(MemorySegment xs, long from, long to) {
        for (long i = from; i < to; i += S.length()) {
            FloatVector x = FloatVector.fromMemorySegment(S, xs, i * 4, LE);
            FloatVector z = x.mul(0.70710678f).min(4f).max(-4f);
            FloatVector t = z.mul(z);
            FloatVector p = t.mul(1.98675697e-6f).add(2.84555805e-4f);
            p = p.fma(t, FloatVector.broadcast(S, 3.88312340e-3f));
            p = p.fma(t, FloatVector.broadcast(S, 5.31010963e-2f));
            p = p.fma(t, FloatVector.broadcast(S, 1.93540618e-1f));
            p = p.fma(t, FloatVector.broadcast(S, 1.12837911f));
            FloatVector q = t.mul(3.74193674e-5f).add(1.18550693e-3f);
            q = q.fma(t, FloatVector.broadcast(S, 1.52068324e-2f));
            q = q.fma(t, FloatVector.broadcast(S, 1.15348101e-1f));
            q = q.fma(t, FloatVector.broadcast(S, 5.04853487e-1f));
            q = q.fma(t, FloatVector.broadcast(S, 1f));
            x.mul(0.5f).mul(z.mul(p).div(q).add(1f)).intoMemorySegment(xs, i * 4, LE);
        }
    }

    /**
     * {@code y = word + segment + position} for each token of one sentence, not yet normalised.
     *
     * @param ids the tokens
     * @param model the tables
     * @param y where the rows are written
     * @param first the row of the first token
     */
    static void embed(int[] ids, MiniLm model, Tensor y, long first) {
        MemorySegment ys = y.segment();
        MemorySegment words = model.words().segment();
        MemorySegment positions = model.positions().segment();
        MemorySegment segment = model.segments().segment();
        for (int t = 0; t < ids.length; t++) {
            embed(words, (long) ids[t] * MiniLm.HIDDEN * 4, segment, positions, (long) t * MiniLm.HIDDEN * 4, ys,
                    (first + t) * MiniLm.HIDDEN * 4);
        }
    }

    private static void embed(MemorySegment words, long word, MemorySegment segment, MemorySegment positions,
            long position, MemorySegment ys, long y) {
        for (long i = 0; i < MiniLm.HIDDEN * 4L; i += S.vectorByteSize()) {
            FloatVector.fromMemorySegment(S, words, word + i, LE)
                    .add(FloatVector.fromMemorySegment(S, segment, i, LE))
                    .add(FloatVector.fromMemorySegment(S, positions, position + i, LE))
                    .intoMemorySegment(ys, y + i, LE);
        }
    }

    /**
     * {@return the mean of some rows, scaled to length 1: the embedding of a sentence}
     *
     * @param x {@code [rows, width]}
     * @param from the first row
     * @param to one past the last
     */
    static float[] meanDirection(Tensor x, long from, long to) {
        int width = (int) x.dim(1);
        MemorySegment xs = x.segment();
        double[] sum = new double[width];
        for (long r = from; r < to; r++) {
            for (int i = 0; i < width; i++) {
                sum[i] += xs.get(F32, (r * width + i) * 4);
            }
        }
        double square = 0;
        for (double s : sum) {
            square += s * s;
        }
        float[] direction = new float[width];
        double factor = 1 / Math.sqrt(Math.max(square, Double.MIN_NORMAL));
        for (int i = 0; i < width; i++) {
            direction[i] = (float) (sum[i] * factor);
        }
        return direction;
    }
}
