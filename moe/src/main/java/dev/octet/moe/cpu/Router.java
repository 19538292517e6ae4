package dev.octet.moe.cpu;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.NativeMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.nio.ByteOrder;
import java.util.Arrays;

/**
 * Hidden states times the experts' centroids. For few tokens the bytes of the weights are the limit: they are
 * multiplied as they lie in memory. Otherwise both sides are packed as floats, a stretch of their rows at a time, and
 * multiplied in tiles of four by four. A sum has the same order either way.
 */
final class Router {
    private static final MemorySegment ALL = NativeMemory.ALL;
    static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final int ROWS = RouterKernels.ROWS;
    /** Up to so many tokens read the weights as they are. */
    private static final int FEW = 8;
    /** Elements of a stretch: four rows of it fill a third of L1, so that the other side's may come from L2. */
    private static final int STRETCH = 1024;
    /** The same where a token is alone: nothing is read twice, and the longer a stream, the better. */
    private static final int STRETCH_OF_ONE = 8192;
    /** Tokens of a task of many: packed weights serve all of them. */
    private static final int TOKENS = 128;
    /** Experts of a task of many. */
    private static final int EXPERTS = 64;
    /** Experts of a task of few tokens. */
    private static final int FEW_EXPERTS = 16;

    private static final ThreadLocal<float[][]> MINE = ThreadLocal.withInitial(() -> new float[3][0]);

    private final RouterKernels kernels;
    private final Tensor hidden;
    private final Tensor weight;
    private final Tensor out;
    private final long tokens;
    private final long experts;
    private final long d;

    private Router(RouterKernels kernels, Tensor hidden, Tensor weight, Tensor out) {
        this.kernels = kernels;
        this.hidden = hidden;
        this.weight = weight;
        this.out = out;
        tokens = hidden.dim(0);
        experts = weight.dim(0);
        d = hidden.dim(1);
    }

    static void multiply(RouterKernels kernels, Tensor hidden, Tensor weight, Tensor out, CpuPool pool) {
        if (out.shape().elements() == 0) {
            return;
        }
        Router router = new Router(kernels, hidden, weight, out);
        if (router.tokens <= FEW && (weight.stride(1) == 1 || router.d < 2) && router.d % kernels.lanes() == 0) {
            pool.run(ceil(router.experts, FEW_EXPERTS), task -> router.few((long) task * FEW_EXPERTS));
        } else {
            int columns = ceil(router.experts, EXPERTS);
            pool.run(Math.multiplyExact(columns, ceil(router.tokens, TOKENS)),
                    task -> router.many((long) (task / columns) * TOKENS, (long) (task % columns) * EXPERTS));
        }
        Reference.reachabilityFence(hidden);
        Reference.reachabilityFence(weight);
        Reference.reachabilityFence(out);
    }

    private static int ceil(long n, int by) {
        return Math.toIntExact((n + by - 1) / by);
    }

    private static float[] mine(int slot, int size) {
        float[][] mine = MINE.get();
        if (mine[slot].length < size) {
            mine[slot] = new float[size];
        }
        return mine[slot];
    }

    // ---------------------------------------------------------------------------------------------- few tokens

    private void few(long from) {
        int lanes = kernels.lanes();
        long to = Math.min(experts, from + FEW_EXPERTS);
        int stretch = tokens == 1 ? STRETCH_OF_ONE : STRETCH;
        float[] x = mine(0, stretch);
        float[] sums = mine(2, (int) tokens * FEW_EXPERTS * lanes);
        float[] four = mine(1, ROWS * lanes);
        Arrays.fill(sums, 0, (int) tokens * FEW_EXPERTS * lanes, 0);
        long step = weight.stride(0) * weight.dtype().byteSize();
        for (long k = 0; k < d; k += stretch) {
            int length = (int) Math.min(stretch, d - k);
            for (int t = 0; t < tokens; t++) {
                pack(hidden, t, k, length, length, x, 0);
                for (long e = from; e < to; e += ROWS) {
                    int at = (t * FEW_EXPERTS + (int) (e - from)) * lanes;
                    long w = weight.address() + e * step + k * weight.dtype().byteSize();
                    if (e + ROWS <= to) {
                        System.arraycopy(sums, at, four, 0, ROWS * lanes);
                        kernels.row(x, 0, w, step, weight.dtype(), length, four);
                        System.arraycopy(four, 0, sums, at, ROWS * lanes);
                        continue;
                    }
                    for (int r = 0; e + r < to; r++) {
                        System.arraycopy(sums, at + r * lanes, four, 0, lanes);
                        kernels.row(x, 0, w + r * step, 0, weight.dtype(), length, four);
                        System.arraycopy(four, 0, sums, at + r * lanes, lanes);
                    }
                }
            }
        }
        for (int t = 0; t < tokens; t++) {
            for (long e = from; e < to; e++) {
                store(t, e, RouterKernels.add(sums, (t * FEW_EXPERTS + (int) (e - from)) * lanes, lanes));
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- many tokens

    private void many(long tokenFrom, long expertFrom) {
        int lanes = kernels.lanes();
        int m = (int) Math.min(TOKENS, tokens - tokenFrom);
        int n = (int) Math.min(EXPERTS, experts - expertFrom);
        int rows = (m + ROWS - 1) / ROWS;
        int columns = (n + ROWS - 1) / ROWS;
        int tile = ROWS * ROWS * lanes;
        float[] a = mine(0, TOKENS * STRETCH);
        float[] b = mine(1, EXPERTS * STRETCH);
        float[] sums = mine(2, rows * columns * tile);
        int own = rows * columns * tile;
        Arrays.fill(sums, 0, own, 0);
        for (long k = 0; k < d; k += STRETCH) {
            int length = (int) Math.min(STRETCH, d - k);
            int padded = (length + lanes - 1) / lanes * lanes;
            pack(hidden, tokenFrom, m, k, length, padded, a);
            pack(weight, expertFrom, n, k, length, padded, b);
            for (int c = 0; c < columns; c++) {
                for (int r = 0; r < rows; r++) {
                    kernels.tile(a, r * ROWS * STRETCH, b, c * ROWS * STRETCH, STRETCH, padded, sums,
                            (c * rows + r) * tile);
                }
            }
        }
        for (int t = 0; t < m; t++) {
            for (int e = 0; e < n; e++) {
                int at = (e / ROWS * rows + t / ROWS) * tile + (t % ROWS * ROWS + e % ROWS) * lanes;
                store(tokenFrom + t, expertFrom + e, RouterKernels.add(sums, at, lanes));
            }
        }
    }

    /** Rows that there are not, up to a multiple of four, keep what they hold: nobody looks at what comes of them. */
    private void pack(Tensor t, long from, int count, long k, int length, int padded, float[] to) {
        for (int r = 0; r < count; r++) {
            pack(t, from + r, k, length, padded, to, r * STRETCH);
        }
    }

    private void pack(Tensor t, long row, long k, int length, int padded, float[] to, int at) {
        int size = t.dtype().byteSize();
        long step = t.stride(1) * size;
        long from = t.address() + row * t.stride(0) * size + k * step;
        if (t.dtype() == DType.BF16 && (step == Short.BYTES || length < 2)) {
            kernels.widen(from, to, at, length);
        } else if (t.dtype() == DType.BF16) {
            for (int i = 0; i < length; i++) {
                to[at + i] = Float.intBitsToFloat(ALL.get(I16, from + i * step) << 16);
            }
        } else if (step == Float.BYTES) {
            MemorySegment.copy(ALL, Gate.F32, from, to, at, length);
        } else {
            for (int i = 0; i < length; i++) {
                to[at + i] = ALL.get(Gate.F32, from + i * step);
            }
        }
        Arrays.fill(to, at + length, at + padded, 0);
    }

    private void store(long token, long expert, float value) {
        ALL.set(Gate.F32, out.address() + Float.BYTES * (token * out.stride(0) + expert * out.stride(1)), value);
    }
}
