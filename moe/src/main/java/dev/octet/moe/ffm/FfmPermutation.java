package dev.octet.moe.ffm;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import dev.octet.fp8.ScaledTensor;
import dev.octet.moe.TokenPermutation;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.ref.Reference;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The way of rows to experts and back in native code, for rows whose columns are neighbours. A task is a few tokens
 * either way, so that a token's row is read once; there padding and the scales of quantised rows are tasks of their own, of
 * a run of positions. No row is written by two tasks.
 *
 * <p>Each thread keeps one of these, so that a call leaves nothing to the garbage collector.
 */
final class FfmPermutation {
    private static final MethodHandle EXPAND = MoeLibrary.procedure("expand", 4);
    private static final MethodHandle REDUCE = MoeLibrary.procedure("reduce", 4);
    private static final MethodHandle GATHER = MoeLibrary.commonProcedure("gather", 4);

    /** As in rows.h. */
    private static final int MOST_SLOTS = 64;
    private static final int CALL_BYTES = 14 * Long.BYTES;
    private static final int GATHER_BYTES = 9 * Long.BYTES;
    /** Working memory of a call, and of a task. */
    private static final int CALL_SLOT = 6;
    private static final int TASK_SLOT = 7;

    /** Enough that the rows of the next token are there when this one's are through, few enough to end together. */
    private static final int TASK_TOKENS = 16;
    private static final int TASK_POSITIONS = 512;
    /** Up to so many bytes of rows waking other threads costs more than they bring. */
    private static final long SERIAL_BYTES = 64 << 10;
    /** From so many bytes on rows are written past the caches: fewer are still in the last one when they are read. */
    private static final long PAST_CACHE = 16 << 20;
    private static final int LINE = 64;

    private static final int ONE_F32 = Float.floatToRawIntBits(1);
    /** The code of 2^0 in E8M0. */
    private static final int ONE_E8M0 = 127;

    private static final ThreadLocal<FfmPermutation> MINE = ThreadLocal.withInitial(FfmPermutation::new);

    private @Nullable TokenPermutation permutation;
    private long call;
    /** Of scales, or 0. */
    private long gather;
    /** Of rows that are written. */
    private long to;
    private long toRow;
    private long rowBytes;
    private int share;
    private int tokenTasks;
    private final CpuPool.Task expanding = this::expand;
    private final CpuPool.Task reducing = this::reduce;

    private FfmPermutation() {}

    /** {@return whether there is a kernel for it} */
    static boolean takes(TokenPermutation p, Tensor from, Tensor to) {
        return p.topK() <= MOST_SLOTS && from.shape().elements() > 0 && to.shape().elements() > 0
                && hasRows(from) && hasRows(to);
    }

    private static boolean hasRows(Tensor t) {
        return t.stride(1) == 1 || t.dim(1) == 1;
    }

    static void expand(TokenPermutation p, Tensor tokens, @Nullable Tensor weights, Tensor out, CpuPool pool) {
        FfmPermutation mine = MINE.get();
        mine.set(p, tokens, weights, out, pool.threads());
        mine.expand(p, pool);
        Reference.reachabilityFence(tokens);
        Reference.reachabilityFence(weights);
        Reference.reachabilityFence(out);
    }

    static void expand(TokenPermutation p, ScaledTensor tokens, ScaledTensor out, CpuPool pool) {
        FfmPermutation mine = MINE.get();
        mine.set(p, tokens.codes(), null, out.codes(), pool.threads());
        mine.setScales(tokens.scales(), out.scales());
        mine.expand(p, pool);
        Reference.reachabilityFence(tokens);
        Reference.reachabilityFence(out);
    }

    static void reduce(TokenPermutation p, Tensor rows, @Nullable Tensor weights, Tensor out, CpuPool pool) {
        FfmPermutation mine = MINE.get();
        mine.set(p, rows, weights, out, pool.threads());
        mine.run(pool, mine.tokenTasks, mine.reducing);
        Reference.reachabilityFence(rows);
        Reference.reachabilityFence(weights);
        Reference.reachabilityFence(out);
    }

    /** Writes {@code struct octet_moe_permute}. */
    private void set(TokenPermutation p, Tensor from, @Nullable Tensor weights, Tensor target, int threads) {
        permutation = p;
        call = Scratch.get(CALL_SLOT, CALL_BYTES + GATHER_BYTES).address();
        gather = 0;
        to = target.address();
        int size = target.dtype().byteSize();
        toRow = target.stride(0) * size;
        rowBytes = target.dim(1) * size;
        boolean pastCache = target.dim(0) * rowBytes >= PAST_CACHE && to % LINE == 0 && toRow % LINE == 0;
        boolean weighted = weights != null && weights.shape().elements() > 0;
        put(call, 0, from.address());
        put(call, 1, from.stride(0) * from.dtype().byteSize());
        put(call, 2, from.dtype() == DType.BF16 ? 1 : 0);
        put(call, 3, to);
        put(call, 4, toRow);
        put(call, 5, target.dtype() == DType.BF16 ? 1 : 0);
        put(call, 6, target.dim(1));
        put(call, 7, size);
        put(call, 8, p.tokens());
        put(call, 9, p.topK());
        put(call, 10, weighted ? weights.address() : 0);
        put(call, 11, weighted ? weights.stride(0) * Float.BYTES : 0);
        put(call, 12, weighted ? weights.stride(1) * Float.BYTES : 0);
        put(call, 13, pastCache ? 1 : 0);
        share = Math.clamp(p.tokens() / (4L * threads), 1, TASK_TOKENS);
        tokenTasks = Math.ceilDiv(p.tokens(), share);
    }

    /** Writes {@code struct octet_moe_gather}. */
    private void setScales(Tensor from, Tensor target) {
        if (target.shape().elements() == 0) {
            return;
        }
        gather = call + CALL_BYTES;
        int size = target.dtype().byteSize();
        put(gather, 0, from.address());
        put(gather, 1, from.stride(0) * size);
        put(gather, 2, from.stride(1) * size);
        put(gather, 3, target.address());
        put(gather, 4, target.stride(0) * size);
        put(gather, 5, target.stride(1) * size);
        put(gather, 6, target.dim(1));
        put(gather, 7, size);
        put(gather, 8, size == 1 ? ONE_E8M0 : ONE_F32);
    }

    private static void put(long struct, int field, long value) {
        ALL.set(ValueLayout.JAVA_LONG_UNALIGNED, struct + (long) Long.BYTES * field, value);
    }

    private TokenPermutation permutation() {
        return Objects.requireNonNull(permutation);
    }

    /** Runs tasks, and keeps nothing of the caller's alive. */
    private void run(CpuPool pool, int tasks, CpuPool.Task task) {
        try {
            if (permutation().positions() * rowBytes <= SERIAL_BYTES) {
                for (int i = 0; i < tasks; i++) {
                    task.run(i);
                }
            } else {
                pool.run(tasks, task);
            }
        } finally {
            permutation = null;
        }
    }

    /** {@return the address of positions of a task's tokens, an int for each slot} */
    private static long positions(TokenPermutation p, int first, int count) {
        long at = Scratch.get(TASK_SLOT, (long) Integer.BYTES * count * p.topK()).address();
        long next = at;
        for (int t = first; t < first + count; t++) {
            for (int j = 0; j < p.topK(); j++) {
                ALL.set(ValueLayout.JAVA_INT, next, p.positionOf(t, j));
                next += Integer.BYTES;
            }
        }
        return at;
    }

    // ---------------------------------------------------------------------------------------------- expand

    private void expand(TokenPermutation p, CpuPool pool) {
        boolean runs = gather != 0 || p.alignment() > 1;
        run(pool, tokenTasks + (runs ? Math.ceilDiv(p.positions(), TASK_POSITIONS) : 0), expanding);
    }

    private void expand(int task) {
        TokenPermutation p = permutation();
        if (task >= tokenTasks) {
            run(p, (task - tokenTasks) * TASK_POSITIONS);
            return;
        }
        int first = task * share;
        int count = Math.min(p.tokens() - first, share);
        invoke(EXPAND, call, first, count, positions(p, first, count));
    }

    /** A run of positions from one on: zeros for padding, and scales. */
    private void run(TokenPermutation p, int first) {
        int count = Math.min(p.positions() - first, TASK_POSITIONS);
        for (int i = first; i < first + count; i++) {
            if (p.tokenAt(i) < 0) {
                ALL.asSlice(to + i * toRow, rowBytes).fill((byte) 0);
            }
        }
        if (gather == 0) {
            return;
        }
        long tokens = Scratch.get(TASK_SLOT, (long) Integer.BYTES * count).address();
        for (int i = 0; i < count; i++) {
            ALL.set(ValueLayout.JAVA_INT, tokens + (long) Integer.BYTES * i, p.tokenAt(first + i));
        }
        invoke(GATHER, gather, first, count, tokens);
    }

    // ---------------------------------------------------------------------------------------------- reduce

    private void reduce(int task) {
        TokenPermutation p = permutation();
        int first = task * share;
        int count = Math.min(p.tokens() - first, share);
        invoke(REDUCE, call, first, count, positions(p, first, count));
    }

    private static void invoke(MethodHandle function, long struct, long first, long count, long table) {
        try {
            function.invokeExact(struct, first, count, table);
        } catch (Throwable e) {
            throw MoeLibrary.asUnchecked(e);
        }
    }
}
