package dev.octet.mla.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * One matrix for each head and many tokens, or a matrix that {@link HeadProjection} can't read where it lies: panels of
 * the matrix are widened and turned into
 *
 * <pre>
 * weights  float[k][WIDTH n]           one panel, in L1 and L2
 * x        float[group][k][4 tokens]   packed tokens
 * sums     float[panel][group][4 tokens][WIDTH n]
 * </pre>
 *
 * and swept by tiles of 4 tokens. Lanes run along {@code n}, values of x are broadcast by the load. All sums run over
 * increasing {@code k}, with one rounding for each product and sum.
 */
final class HeadTiles {
    private static final VectorSpecies<Float> F = Lanes.F;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(LE);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(LE);
    private static final int L = Lanes.COUNT;
    /** Vectors of a panel: with 4 tokens as many accumulators as the registers hold beside the weights. */
    private static final int VECTORS = L >= 16 ? 4 : 2;
    private static final int WIDTH = VECTORS * L;
    private static final int TOKENS = 4;
    /** Packed tokens and sums of a chunk fill half of a 1 MiB L2; a panel is turned once for so many tokens. */
    private static final int CHUNK_TOKENS = 256;
    private static final int CHUNK_K = 256;
    private static final int CHUNK_N = 256;
    private static final int SQUARE = 32;

    private final Tensor x;
    private final Tensor weight;
    private final Tensor out;
    private final long tokens;
    private final long n;
    private final long k;

    private HeadTiles(Tensor x, Tensor weight, Tensor out) {
        this.x = x;
        this.weight = weight;
        this.out = out;
        tokens = x.dim(0);
        n = weight.dim(1);
        k = x.dim(2);
    }

    static void project(Tensor x, Tensor weight, Tensor out, CpuPool pool) {
        HeadTiles tiles = new HeadTiles(x, weight, out);
        int parts = Math.toIntExact(Math.ceilDiv(tiles.n, (long) CHUNK_N));
        pool.run(Math.multiplyExact(Math.toIntExact(x.dim(1)), parts),
                task -> tiles.multiply(task / parts, (long) (task % parts) * CHUNK_N));
    }

    private void multiply(long head, long column) {
        int columns = (int) Math.min(CHUNK_N, n - column);
        int panels = (columns + WIDTH - 1) / WIDTH;
        HeadWorkspace work = HeadWorkspace.mine();
        for (long token = 0; token < tokens; token += CHUNK_TOKENS) {
            int count = (int) Math.min(CHUNK_TOKENS, tokens - token);
            int groups = (count + TOKENS - 1) / TOKENS;
            float[] sums = work.sums(panels * groups * TOKENS * WIDTH);
            Arrays.fill(sums, 0, panels * groups * TOKENS * WIDTH, 0);
            for (long from = 0; from < k; from += CHUNK_K) {
                int depth = (int) Math.min(CHUNK_K, k - from);
                float[] packed = packX(work, head, token, count, from, depth);
                for (int p = 0; p < panels; p++) {
                    long first = column + (long) p * WIDTH;
                    float[] panel = packWeights(work, head, first, (int) Math.min(WIDTH, n - first), from, depth);
                    for (int g = 0; g < groups; g++) {
                        int at = (p * groups + g) * TOKENS * WIDTH;
                        if (VECTORS == 4) {
                            tile4(packed, g * depth * TOKENS, panel, depth, sums, at);
                        } else {
                            tile2(packed, g * depth * TOKENS, panel, depth, sums, at);
                        }
                    }
                }
            }
            for (int t = 0; t < count; t++) {
                for (int p = 0; p < panels; p++) {
                    int at = ((p * groups + t / TOKENS) * TOKENS + t % TOKENS) * WIDTH;
                    store(token + t, head, column + (long) p * WIDTH, sums, at, Math.min(WIDTH, columns - p * WIDTH));
                }
            }
        }
    }

    private float[] packX(HeadWorkspace work, long head, long token, int count, long from, int depth) {
        int groups = (count + TOKENS - 1) / TOKENS;
        float[] packed = work.x(groups * TOKENS * depth);
        float[] row = work.row(CHUNK_K);
        long step = FloatRows.step(x, 2);
        long first = x.address() + head * FloatRows.step(x, 1) + from * step;
        for (int t = 0; t < groups * TOKENS; t++) {
            if (t < count) {
                FloatRows.load(first + (token + t) * FloatRows.step(x, 0), step, x.dtype(), row, depth);
            } else {
                Arrays.fill(row, 0, depth, 0);
            }
            int at = t / TOKENS * TOKENS * depth + t % TOKENS;
            for (int i = 0; i < depth; i++) {
                packed[at + i * TOKENS] = row[i];
            }
        }
        return packed;
    }

    /** Columns past the edge are zeros. */
    private float[] packWeights(HeadWorkspace work, long head, long column, int columns, long from, int depth) {
        float[] panel = work.weights(CHUNK_K * WIDTH);
        if (columns < WIDTH) {
            Arrays.fill(panel, 0, depth * WIDTH, 0);
        }
        boolean bf16 = weight.dtype() == DType.BF16;
        long columnStep = FloatRows.step(weight, 1);
        long step = FloatRows.step(weight, 2);
        long w = weight.address() + head * FloatRows.step(weight, 0) + column * columnStep + from * step;
        if (bf16 && columnStep == 2 && columns == WIDTH) {
            widen(w, step, depth, panel);
        } else if (columnStep <= step) {
            for (int i = 0; i < depth; i++) {
                FloatRows.load(w + i * step, columnStep, weight.dtype(), panel, i * WIDTH, columns);
            }
        } else {
            for (int i = 0; i < depth; i += SQUARE) {
                turn(w + i * step, columnStep, step, bf16, columns, Math.min(SQUARE, depth - i), panel, i * WIDTH);
            }
        }
        return panel;
    }

    /** Rows of a panel, two vectors at a time. */
    private static void widen(long w, long step, int depth, float[] panel) {
        for (int i = 0; i < depth * (WIDTH / (2 * L)); i++) {
            long from = w + i / (WIDTH / (2 * L)) * step + i % (WIDTH / (2 * L)) * (4L * L);
            ShortVector low = ShortVector.fromMemorySegment(Lanes.S, ALL, from, LE);
            ShortVector high = ShortVector.fromMemorySegment(Lanes.S, ALL, from + 2 * L, LE);
            ((IntVector) low.convertShape(VectorOperators.S2I, Lanes.I, 0)).lanewise(VectorOperators.LSHL, 16)
                    .reinterpretAsFloats().intoArray(panel, i * (2 * L));
            ((IntVector) high.convertShape(VectorOperators.S2I, Lanes.I, 0)).lanewise(VectorOperators.LSHL, 16)
                    .reinterpretAsFloats().intoArray(panel, i * (2 * L) + L);
        }
    }

    /** Turns so few rows at a time that what is written stays in L1. */
    private static void turn(long w, long columnStep, long step, boolean bf16, int columns, int depth, float[] panel,
            int at) {
        for (int c = 0; c < columns; c++) {
            long from = w + c * columnStep;
            if (bf16) {
                for (int i = 0; i < depth; i++) {
                    panel[at + i * WIDTH + c] = BFloat16.toFloat(ALL.get(I16, from + i * step));
                }
            } else {
                for (int i = 0; i < depth; i++) {
                    panel[at + i * WIDTH + c] = ALL.get(F32, from + i * step);
                }
            }
        }
    }

    private void store(long token, long head, long column, float[] row, int from, int count) {
        long step = FloatRows.step(out, 2);
        long at = out.address() + token * FloatRows.step(out, 0) + head * FloatRows.step(out, 1) + column * step;
        FloatRows.store(row, from, count, at, step, out.dtype());
    }

    /** 4 tokens by 4 vectors: 16 accumulators, 4 vectors of weights and one value of x in 32 registers. */
    private static void tile4(float[] x, int xi, float[] w, int depth, float[] sums, int at) {
        FloatVector c00 = FloatVector.fromArray(F, sums, at);
        FloatVector c01 = FloatVector.fromArray(F, sums, at + L);
        FloatVector c02 = FloatVector.fromArray(F, sums, at + 2 * L);
        FloatVector c03 = FloatVector.fromArray(F, sums, at + 3 * L);
        FloatVector c10 = FloatVector.fromArray(F, sums, at + 4 * L);
        FloatVector c11 = FloatVector.fromArray(F, sums, at + 5 * L);
        FloatVector c12 = FloatVector.fromArray(F, sums, at + 6 * L);
        FloatVector c13 = FloatVector.fromArray(F, sums, at + 7 * L);
        FloatVector c20 = FloatVector.fromArray(F, sums, at + 8 * L);
        FloatVector c21 = FloatVector.fromArray(F, sums, at + 9 * L);
        FloatVector c22 = FloatVector.fromArray(F, sums, at + 10 * L);
        FloatVector c23 = FloatVector.fromArray(F, sums, at + 11 * L);
        FloatVector c30 = FloatVector.fromArray(F, sums, at + 12 * L);
        FloatVector c31 = FloatVector.fromArray(F, sums, at + 13 * L);
        FloatVector c32 = FloatVector.fromArray(F, sums, at + 14 * L);
        FloatVector c33 = FloatVector.fromArray(F, sums, at + 15 * L);
        for (int i = 0; i < depth; i++) {
            FloatVector w0 = FloatVector.fromArray(F, w, i * WIDTH);
            FloatVector w1 = FloatVector.fromArray(F, w, i * WIDTH + L);
            FloatVector w2 = FloatVector.fromArray(F, w, i * WIDTH + 2 * L);
            FloatVector w3 = FloatVector.fromArray(F, w, i * WIDTH + 3 * L);
            FloatVector x0 = FloatVector.broadcast(F, x[xi + i * TOKENS]);
            c00 = w0.fma(x0, c00);
            c01 = w1.fma(x0, c01);
            c02 = w2.fma(x0, c02);
            c03 = w3.fma(x0, c03);
            FloatVector x1 = FloatVector.broadcast(F, x[xi + i * TOKENS + 1]);
            c10 = w0.fma(x1, c10);
            c11 = w1.fma(x1, c11);
            c12 = w2.fma(x1, c12);
            c13 = w3.fma(x1, c13);
            FloatVector x2 = FloatVector.broadcast(F, x[xi + i * TOKENS + 2]);
            c20 = w0.fma(x2, c20);
            c21 = w1.fma(x2, c21);
            c22 = w2.fma(x2, c22);
            c23 = w3.fma(x2, c23);
            FloatVector x3 = FloatVector.broadcast(F, x[xi + i * TOKENS + 3]);
            c30 = w0.fma(x3, c30);
            c31 = w1.fma(x3, c31);
            c32 = w2.fma(x3, c32);
            c33 = w3.fma(x3, c33);
        }
        c00.intoArray(sums, at);
        c01.intoArray(sums, at + L);
        c02.intoArray(sums, at + 2 * L);
        c03.intoArray(sums, at + 3 * L);
        c10.intoArray(sums, at + 4 * L);
        c11.intoArray(sums, at + 5 * L);
        c12.intoArray(sums, at + 6 * L);
        c13.intoArray(sums, at + 7 * L);
        c20.intoArray(sums, at + 8 * L);
        c21.intoArray(sums, at + 9 * L);
        c22.intoArray(sums, at + 10 * L);
        c23.intoArray(sums, at + 11 * L);
        c30.intoArray(sums, at + 12 * L);
        c31.intoArray(sums, at + 13 * L);
        c32.intoArray(sums, at + 14 * L);
        c33.intoArray(sums, at + 15 * L);
    }

    /** 4 tokens by 2 vectors, for 16 registers. */
    private static void tile2(float[] x, int xi, float[] w, int depth, float[] sums, int at) {
        FloatVector c00 = FloatVector.fromArray(F, sums, at);
        FloatVector c01 = FloatVector.fromArray(F, sums, at + L);
        FloatVector c10 = FloatVector.fromArray(F, sums, at + 2 * L);
        FloatVector c11 = FloatVector.fromArray(F, sums, at + 3 * L);
        FloatVector c20 = FloatVector.fromArray(F, sums, at + 4 * L);
        FloatVector c21 = FloatVector.fromArray(F, sums, at + 5 * L);
        FloatVector c30 = FloatVector.fromArray(F, sums, at + 6 * L);
        FloatVector c31 = FloatVector.fromArray(F, sums, at + 7 * L);
        for (int i = 0; i < depth; i++) {
            FloatVector w0 = FloatVector.fromArray(F, w, i * WIDTH);
            FloatVector w1 = FloatVector.fromArray(F, w, i * WIDTH + L);
            FloatVector x0 = FloatVector.broadcast(F, x[xi + i * TOKENS]);
            c00 = w0.fma(x0, c00);
            c01 = w1.fma(x0, c01);
            FloatVector x1 = FloatVector.broadcast(F, x[xi + i * TOKENS + 1]);
            c10 = w0.fma(x1, c10);
            c11 = w1.fma(x1, c11);
            FloatVector x2 = FloatVector.broadcast(F, x[xi + i * TOKENS + 2]);
            c20 = w0.fma(x2, c20);
            c21 = w1.fma(x2, c21);
            FloatVector x3 = FloatVector.broadcast(F, x[xi + i * TOKENS + 3]);
            c30 = w0.fma(x3, c30);
            c31 = w1.fma(x3, c31);
        }
        c00.intoArray(sums, at);
        c01.intoArray(sums, at + L);
        c10.intoArray(sums, at + 2 * L);
        c11.intoArray(sums, at + 3 * L);
        c20.intoArray(sums, at + 4 * L);
        c21.intoArray(sums, at + 5 * L);
        c30.intoArray(sums, at + 6 * L);
        c31.intoArray(sums, at + 7 * L);
    }
}
