package dev.octet.moe.cpu;

import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.ScaledTensor;
import dev.octet.moe.TokenPermutation;
import java.lang.ref.Reference;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The way of rows to experts and back, for both CPU backends. Memory limits it, so it is read and written in the order
 * in which it lies wherever there is a choice.
 *
 * <p>Schedule: to the experts a task is a block of tokens that stays in L2; it writes the positions that one expert has
 * for them, then those of the next. Padding is filled by tasks of its own. Back a task is a few tokens; it reads all rows
 * of a token at once, so that each is a stream of its own, and sums never leave the registers. No row is written by two
 * tasks, and what is written does not depend on the cut.
 */
final class Permutation {
    /** Few enough that threads end together, enough that handing out a task costs nothing beside moving its rows. */
    private static final int TASK_TOKENS = 8;
    private static final int TASK_POSITIONS = 512;
    /** Of a block of tokens; half of an L2. */
    private static final long BLOCK_BYTES = 512 << 10;

    private static final ThreadLocal<Permutation> MINE = ThreadLocal.withInitial(Permutation::new);

    private @Nullable TokenPermutation permutation;
    private RowKernels kernels = ScalarRowKernels.KERNELS;
    private final Rows from = new Rows();
    private final Rows to = new Rows();
    /** Scales of quantised rows. */
    private final Rows fromScales = new Rows();
    private final Rows toScales = new Rows();
    private final Rows weights = new Rows();
    private boolean weighted;
    private final Rows gradient = new Rows();
    /** Tokens of a task on the way to the experts, and how many such tasks there are. */
    private int block;
    private int blocks;

    private final Move copy = (i, t) -> to.copy(i, from, t, kernels);
    private final Move scale = (i, t) -> to.scale(i, from, t, weights.get(t, permutation().slotAt(i)), kernels);
    private final Run clear = (first, end) -> to.clear(permutation(), first, end);
    private final Run clearAndGatherScales = (first, end) -> {
        // Scales lie column by column, so that a line of them in memory belongs to many rows: runs of positions
        // write whole lines, blocks of tokens would each write to all of them.
        toScales.gather(permutation(), fromScales, first, end);
        to.clear(permutation(), first, end);
    };
    private Move move = copy;
    private Run run = clear;
    private final CpuPool.Task expanding = this::expand;
    private final CpuPool.Task reducing = this::reduce;
    private final CpuPool.Task gradients = this::weightGradients;

    private Permutation() {}

    /** {@return the thread's, used again, so that a call leaves nothing to the garbage collector} */
    private static Permutation of(TokenPermutation p, RowKernels kernels, Tensor from, Tensor to) {
        Permutation mine = MINE.get();
        mine.from.set(from);
        mine.to.set(to);
        mine.kernels = kernels;
        mine.permutation = p;
        return mine;
    }

    private TokenPermutation permutation() {
        return Objects.requireNonNull(permutation);
    }

    /** Runs tasks, and keeps nothing of the caller's alive. */
    private void run(CpuPool pool, int tasks, CpuPool.Task task) {
        try {
            pool.run(tasks, task);
        } finally {
            permutation = null;
        }
    }

    /** {@return whether there are weights} */
    private boolean setWeights(@Nullable Tensor w) {
        weighted = w != null;
        if (w != null) {
            weights.set(w);
        }
        return weighted;
    }

    // ---------------------------------------------------------------------------------------------- expand

    static void expand(TokenPermutation p, Tensor tokens, @Nullable Tensor weights, Tensor out, RowKernels kernels,
            CpuPool pool) {
        Permutation mine = of(p, kernels, tokens, out);
        mine.move = mine.setWeights(weights) ? mine.scale : mine.copy;
        mine.run = mine.clear;
        mine.expand(p, pool);
        Reference.reachabilityFence(tokens);
        Reference.reachabilityFence(weights);
        Reference.reachabilityFence(out);
    }

    static void expand(TokenPermutation p, ScaledTensor tokens, ScaledTensor out, RowKernels kernels, CpuPool pool) {
        Permutation mine = of(p, kernels, tokens.codes(), out.codes());
        mine.fromScales.set(tokens.scales());
        mine.toScales.set(out.scales());
        mine.move = mine.copy;
        mine.run = mine.clearAndGatherScales;
        mine.expand(p, pool);
        Reference.reachabilityFence(tokens);
        Reference.reachabilityFence(out);
    }

    /** What is done for a position that a token has. */
    private interface Move {
        void row(int position, int token);
    }

    /** What is done for a run of positions, padding among them. */
    private interface Run {
        void positions(int first, int end);
    }

    private void expand(TokenPermutation p, CpuPool pool) {
        // Blocks for all threads, even if there are few tokens.
        block = Math.clamp(Math.min(p.tokens() / (4L * pool.threads()), BLOCK_BYTES / from.rowSize()), 1,
                Integer.MAX_VALUE);
        blocks = Math.ceilDiv(p.tokens(), block);
        run(pool, blocks + Math.ceilDiv(p.positions(), TASK_POSITIONS), expanding);
    }

    private void expand(int task) {
        TokenPermutation p = permutation();
        if (task >= blocks) {
            int first = (task - blocks) * TASK_POSITIONS;
            run.positions(first, (int) Math.min(p.positions(), (long) first + TASK_POSITIONS));
            return;
        }
        int first = task * block;
        int end = (int) Math.min(p.tokens(), (long) first + block);
        for (int e = 0; e < p.experts(); e++) {
            int segmentEnd = p.begin(e + 1);
            for (int i = from(p, first, p.begin(e), segmentEnd); i < segmentEnd; i++) {
                int t = p.tokenAt(i);
                if (t < 0 || t >= end) {
                    break;
                }
                move.row(i, t);
            }
        }
    }

    /** {@return the first position of an expert's segment that is padding or has this token or one behind it} */
    private static int from(TokenPermutation p, int token, int begin, int end) {
        int low = begin;
        int high = end;
        while (low < high) {
            int middle = (low + high) >>> 1;
            int t = p.tokenAt(middle);
            if (t >= 0 && t < token) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }

    // ---------------------------------------------------------------------------------------------- reduce

    static void reduce(TokenPermutation p, Tensor rows, @Nullable Tensor weights, Tensor out, RowKernels kernels,
            CpuPool pool) {
        Permutation mine = of(p, kernels, rows, out);
        mine.setWeights(weights);
        mine.run(pool, Math.ceilDiv(p.tokens(), TASK_TOKENS), mine.reducing);
        Reference.reachabilityFence(rows);
        Reference.reachabilityFence(weights);
        Reference.reachabilityFence(out);
    }

    private void reduce(int task) {
        TokenPermutation p = permutation();
        Arrays scratch = Arrays.MINE.get();
        for (int t = task * TASK_TOKENS, end = Math.min(p.tokens(), t + TASK_TOKENS); t < end; t++) {
            int[] positions = scratch.positions(p.topK());
            float[] by = scratch.weights;
            int count = 0;
            for (int j = 0; j < p.topK(); j++) {
                int position = p.positionOf(t, j);
                if (position >= 0) {
                    positions[count] = position;
                    by[count++] = weighted ? weights.get(t, j) : 1;
                }
            }
            to.sum(t, from, positions, by, count, scratch.addresses, kernels);
        }
    }

    static void weightGradients(TokenPermutation p, Tensor rows, Tensor gradient, Tensor out, RowKernels kernels,
            CpuPool pool) {
        Permutation mine = of(p, kernels, rows, out);
        mine.gradient.set(gradient);
        mine.run(pool, Math.ceilDiv(p.tokens(), TASK_TOKENS), mine.gradients);
        Reference.reachabilityFence(rows);
        Reference.reachabilityFence(gradient);
        Reference.reachabilityFence(out);
    }

    private void weightGradients(int task) {
        TokenPermutation p = permutation();
        Arrays scratch = Arrays.MINE.get();
        int columns = gradient.columns;
        for (int t = task * TASK_TOKENS, end = Math.min(p.tokens(), t + TASK_TOKENS); t < end; t++) {
            float[] mine = gradient.load(t, scratch.row(1, columns), kernels);
            for (int j = 0; j < p.topK(); j++) {
                int position = p.positionOf(t, j);
                to.set(t, j, position < 0 ? 0
                        : dot(from.load(position, scratch.row(0, columns), kernels), mine, columns));
            }
        }
    }

    /** In double, where products of F32 are exact, eight sums so that no addition waits for the one before. */
    private static float dot(float[] x, float[] y, int n) {
        double s0 = 0;
        double s1 = 0;
        double s2 = 0;
        double s3 = 0;
        double s4 = 0;
        double s5 = 0;
        double s6 = 0;
        double s7 = 0;
        int i = 0;
        for (; i + 8 <= n; i += 8) {
            s0 += (double) x[i] * y[i];
            s1 += (double) x[i + 1] * y[i + 1];
            s2 += (double) x[i + 2] * y[i + 2];
            s3 += (double) x[i + 3] * y[i + 3];
            s4 += (double) x[i + 4] * y[i + 4];
            s5 += (double) x[i + 5] * y[i + 5];
            s6 += (double) x[i + 6] * y[i + 6];
            s7 += (double) x[i + 7] * y[i + 7];
        }
        for (; i < n; i++) {
            s0 += (double) x[i] * y[i];
        }
        return (float) (((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7)));
    }

    /** A thread's arrays, which grow as they must. */
    private static final class Arrays {
        static final ThreadLocal<Arrays> MINE = ThreadLocal.withInitial(Arrays::new);

        private final float[][] rows = new float[2][0];
        private int[] positions = new int[0];
        float[] weights = new float[0];
        long[] addresses = new long[0];

        /** {@return a row in float} */
        float[] row(int which, int count) {
            if (rows[which].length < count) {
                rows[which] = new float[count];
            }
            return rows[which];
        }

        /** {@return one for each slot; weights and addresses have the same length then} */
        int[] positions(int slots) {
            if (positions.length < slots) {
                positions = new int[slots];
                weights = new float[slots];
                addresses = new long[slots];
            }
            return positions;
        }
    }
}
