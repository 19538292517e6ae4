package dev.octet.mla.cpu;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import java.lang.ref.Reference;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorShuffle;

/**
 * One matrix for each head. For few tokens the bytes of the matrices are the limit: a BF16 matrix that is contiguous
 * along {@code n} or along {@code k} is read once, widened in registers, and multiplied with up to 4 tokens at a time;
 * further tokens find it in L1. All else goes through {@link HeadTiles}.
 *
 * <p>A task is a head, or a part of its {@code n}. What it computes does not depend on the pool; nor does, for few
 * tokens, a token's result depend on the other tokens.
 */
final class HeadProjection {
    /** Beyond it {@link HeadTiles} are faster, since they widen a matrix once for all tokens; rows along n. */
    private static final int FEW_ALONG_N = 12;
    /** The same for rows along k, which the tiles must turn first. */
    private static final int FEW_ALONG_K = 32;
    private static final int L = Lanes.COUNT;
    private static final int GROUP = HeadKernels.GROUP;
    private static final int TOKENS = HeadKernels.MAX_TOKENS;
    /** Sums of four tokens over so many columns take a third of L1. */
    private static final int MAX_COLUMNS = 1024;
    /** Bytes of a matrix that are read before the next tokens' turn: what is still in L1 then. */
    private static final int CHUNK = 16 << 10;
    /** A matrix longer than that would make working arrays too large. */
    private static final long MAX_EXTENT = 1 << 24;

    private final Tensor x;
    private final Tensor weight;
    private final Tensor out;
    private final int tokens;
    private final int heads;
    private final int n;
    private final int k;

    private HeadProjection(Tensor x, Tensor weight, Tensor out) {
        this.x = x;
        this.weight = weight;
        this.out = out;
        tokens = (int) x.dim(0);
        heads = (int) x.dim(1);
        n = (int) weight.dim(1);
        k = (int) x.dim(2);
    }

    static void project(Tensor x, Tensor weight, Tensor out, CpuPool pool) {
        if (out.shape().elements() == 0) {
            return;
        }
        boolean direct = weight.dtype() == DType.BF16 && x.dim(2) > 0 && x.dim(1) <= MAX_EXTENT
                && weight.dim(1) <= MAX_EXTENT && weight.dim(2) <= MAX_EXTENT;
        if (direct && x.dim(0) <= FEW_ALONG_N && weight.stride(1) == 1 && weight.dim(1) % GROUP == 0
                && weight.dim(2) % 2 == 0) {
            new HeadProjection(x, weight, out).runAlongN(pool);
        } else if (direct && x.dim(0) <= FEW_ALONG_K && weight.stride(2) == 1
                && weight.dim(2) % GROUP == 0) {
            new HeadProjection(x, weight, out).runAlongK(pool);
        } else {
            HeadTiles.project(x, weight, out, pool);
        }
        Reference.reachabilityFence(x);
        Reference.reachabilityFence(weight);
        Reference.reachabilityFence(out);
    }

    // ---------------------------------------------------------------------------------------------- rows along n

    private void runAlongN(CpuPool pool) {
        int parts = (n + MAX_COLUMNS - 1) / MAX_COLUMNS;
        pool.run(Math.multiplyExact(heads, parts), task -> {
            int from = task % parts * MAX_COLUMNS;
            addRows(task / parts, from, Math.min(MAX_COLUMNS, n - from));
        });
    }

    private void addRows(int head, int column, int columns) {
        HeadWorkspace work = HeadWorkspace.mine();
        int groups = (tokens + TOKENS - 1) / TOKENS;
        float[] row = work.row(Math.max(k, columns));
        float[] packed = work.x(groups * TOKENS * k);
        for (int t = 0; t < groups * TOKENS; t++) {
            loadX(t, head, row);
            int at = t / TOKENS * TOKENS * k + t % TOKENS;
            for (int i = 0; i < k; i++) {
                packed[at + i * TOKENS] = row[i];
            }
        }
        float[] sums = work.sums(groups * TOKENS * columns);
        Arrays.fill(sums, 0, groups * TOKENS * columns, 0);
        long stride = 2 * weight.stride(2);
        long w = weight.address() + 2 * (head * weight.stride(0) + column);
        int half = k / 2;
        int rows = Math.max(1, CHUNK / (4 * columns));
        for (int from = 0; from < half; from += rows) {
            int to = Math.min(from + rows, half);
            for (int g = 0; g < groups; g++) {
                HeadKernels.addRows(inGroup(g), w, stride, half, from, to, columns / GROUP, packed, g * TOKENS * k,
                        sums, g * TOKENS * columns);
            }
        }
        for (int t = 0; t < tokens; t++) {
            unpack(sums, t * columns, columns, row);
            store(t, head, column, row, 0, columns);
        }
    }

    /** Tokens that the kernels get for a group: 1, 2 or 4, of which 4 may be 3 and one of zeros. */
    private int inGroup(int group) {
        int count = Math.min(TOKENS, tokens - group * TOKENS);
        return count == 3 ? TOKENS : count;
    }

    // ---------------------------------------------------------------------------------------------- rows along k

    private void runAlongK(CpuPool pool) {
        int rows = Math.max(2, CHUNK * 8 / (2 * k));
        int parts = (n + rows - 1) / rows;
        pool.run(Math.multiplyExact(heads, parts), task -> {
            int from = task % parts * rows;
            multiplyRows(task / parts, from, Math.min(rows, n - from));
        });
    }

    private void multiplyRows(int head, int first, int rows) {
        HeadWorkspace work = HeadWorkspace.mine();
        int groups = (tokens + TOKENS - 1) / TOKENS;
        float[] row = work.row(k);
        float[] packed = work.x(groups * TOKENS * k);
        for (int t = 0; t < groups * TOKENS; t++) {
            loadX(t, head, row);
            pack(row, k, packed, t * k);
        }
        float[] lanes = work.sums(2 * TOKENS * L);
        float[] result = work.weights(tokens * rows);
        long stride = 2 * weight.stride(1);
        long w = weight.address() + 2 * head * weight.stride(0) + first * stride;
        // Two streams, each through half of the rows; the second ends on the last row, if need be twice.
        int half = (rows + 1) / 2;
        for (int r = 0; r < half; r++) {
            int other = Math.min(r + half, rows - 1);
            for (int g = 0; g < groups; g++) {
                int count = inGroup(g);
                HeadKernels.multiplyRows(count, w + r * stride, w + other * stride, k / GROUP, packed,
                        g * TOKENS * k, lanes);
                int real = Math.min(count, tokens - g * TOKENS);
                addLanes(lanes, 0, result, g * TOKENS * rows + r, real, rows);
                addLanes(lanes, count, result, g * TOKENS * rows + other, real, rows);
            }
        }
        for (int t = 0; t < tokens; t++) {
            store(t, head, first, result, t * rows, rows);
        }
    }

    private static final VectorShuffle<Float> ROTATE_8 = rotate(8);
    private static final VectorShuffle<Float> ROTATE_4 = rotate(4);
    private static final VectorShuffle<Float> ROTATE_2 = rotate(2);
    private static final VectorShuffle<Float> ROTATE_1 = rotate(1);

    private static VectorShuffle<Float> rotate(int by) {
        return VectorShuffle.fromOp(Lanes.F, i -> (i + by) % L);
    }

    /** Adds the lanes of each sum in a fixed order, halves first, so that no compiler can choose another. */
    private static void addLanes(float[] lanes, int from, float[] result, int at, int count, int step) {
        for (int i = 0; i < count; i++) {
            FloatVector v = FloatVector.fromArray(Lanes.F, lanes, (from + i) * L);
            if (L > 8) {
                v = v.add(v.rearrange(ROTATE_8));
            }
            if (L > 4) {
                v = v.add(v.rearrange(ROTATE_4));
            }
            v = v.add(v.rearrange(ROTATE_2));
            v = v.add(v.rearrange(ROTATE_1));
            result[at + i * step] = v.lane(0);
        }
    }

    // ---------------------------------------------------------------------------------------------- tokens

    /** One token's values of a head; zeros for a token that only fills up a group. */
    private void loadX(int token, int head, float[] row) {
        if (token >= tokens) {
            Arrays.fill(row, 0, k, 0);
            return;
        }
        long at = x.address() + token * FloatRows.step(x, 0) + head * FloatRows.step(x, 1);
        FloatRows.load(at, FloatRows.step(x, 2), x.dtype(), row, k);
    }

    private void store(int token, int head, int column, float[] row, int from, int count) {
        long step = FloatRows.step(out, 2);
        long at = out.address() + token * FloatRows.step(out, 0) + head * FloatRows.step(out, 1) + column * step;
        FloatRows.store(row, from, count, at, step, out.dtype());
    }

    /** To the packed order of {@link HeadKernels}: in each group first the even elements, then the odd ones. */
    private static void pack(float[] row, int count, float[] packed, int at) {
        for (int g = 0; g < count; g += GROUP) {
            for (int i = 0; i < L; i++) {
                packed[at + g + i] = row[g + 2 * i];
                packed[at + g + L + i] = row[g + 2 * i + 1];
            }
        }
    }

    private static void unpack(float[] packed, int at, int count, float[] row) {
        for (int g = 0; g < count; g += GROUP) {
            for (int i = 0; i < L; i++) {
                row[g + 2 * i] = packed[at + g + i];
                row[g + 2 * i + 1] = packed[at + g + L + i];
            }
        }
    }
}
