package dev.octet.moe.ffm;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.ref.Reference;

/**
 * The router's product in native code, for rows whose elements are neighbours: few tokens are widened once and multiplied
 * with the weights as they lie, some experts a task; of many tokens a task has a block, and a block of experts. Sums have
 * one order either way; see router.h.
 *
 * <p>Each thread keeps one of these, so that a call leaves nothing to the garbage collector.
 */
final class FfmRouter {
    private static final MethodHandle PACK = MoeLibrary.procedure("router_pack", 1);
    private static final MethodHandle FEW = MoeLibrary.procedure("router_few", 3);
    private static final MethodHandle MANY = MoeLibrary.procedure("router_many", 4);
    private static final int TASK_TOKENS = (int) MoeLibrary.constant("router_layout", 0);
    private static final int TASK_EXPERTS = (int) MoeLibrary.constant("router_layout", 1);
    private static final long WORK_BYTES = MoeLibrary.constant("router_layout", 2);

    private static final int STRUCT_BYTES = 128;
    /** Partial sums, as in router.h. */
    private static final int PARTS = 32;
    /** Up to so many tokens read the weights as they are. */
    private static final int FEW_TOKENS = 8;
    /** Experts of a task of few tokens: those that are read side by side. */
    private static final int FEW_EXPERTS = 8;
    /** Up to so many products waking other threads costs more than they bring. */
    private static final long SERIAL_PRODUCTS = 1 << 17;
    /** Working memory of a call, and of a task. */
    private static final int CALL_SLOT = 6;
    private static final int TASK_SLOT = 7;

    private static final ThreadLocal<FfmRouter> MINE = ThreadLocal.withInitial(FfmRouter::new);

    private long call;
    private long experts;
    private int across;
    private final CpuPool.Task few = this::few;
    private final CpuPool.Task many = this::many;

    private FfmRouter() {}

    /** {@return whether there is a kernel for it} */
    static boolean takes(Tensor hidden, Tensor weight, Tensor out) {
        return out.shape().elements() > 0 && hidden.dim(1) > 0 && (hidden.dim(1) == 1
                || hidden.stride(1) == 1 && weight.stride(1) == 1);
    }

    static void multiply(Tensor hidden, Tensor weight, Tensor out, CpuPool pool) {
        FfmRouter mine = MINE.get();
        long tokens = hidden.dim(0);
        long d = hidden.dim(1);
        mine.experts = weight.dim(0);
        boolean few = tokens <= FEW_TOKENS;
        long packed = few ? tokens * Math.ceilDiv(d, (long) PARTS) * PARTS * Float.BYTES : 0;
        long call = Scratch.get(CALL_SLOT, STRUCT_BYTES + packed).address();
        mine.call = call;
        putMatrix(call, 0, hidden);
        putMatrix(call, 3, weight);
        put(call, 6, out.address());
        put(call, 7, out.stride(0) * Float.BYTES);
        put(call, 8, out.stride(1) * Float.BYTES);
        put(call, 9, tokens);
        put(call, 10, mine.experts);
        put(call, 11, d);
        put(call, 12, call + STRUCT_BYTES);
        if (few) {
            pack(call);
            run(pool, ceil(mine.experts, FEW_EXPERTS), mine.few, tokens * mine.experts * d);
        } else {
            mine.across = ceil(mine.experts, TASK_EXPERTS);
            run(pool, Math.multiplyExact(mine.across, ceil(tokens, TASK_TOKENS)), mine.many,
                    tokens * mine.experts * d);
        }
        Reference.reachabilityFence(hidden);
        Reference.reachabilityFence(weight);
        Reference.reachabilityFence(out);
    }

    private static int ceil(long n, int by) {
        return Math.toIntExact(Math.ceilDiv(n, (long) by));
    }

    private static void run(CpuPool pool, int tasks, CpuPool.Task task, long products) {
        if (products > SERIAL_PRODUCTS) {
            pool.run(tasks, task);
            return;
        }
        for (int i = 0; i < tasks; i++) {
            task.run(i);
        }
    }

    /** Writes {@code struct octet_moe_matrix} into that of a router. */
    private static void putMatrix(long struct, int field, Tensor t) {
        long size = t.dtype().byteSize();
        put(struct, field, t.address());
        put(struct, field + 1, t.stride(0) * size);
        put(struct, field + 2, t.dtype() == DType.BF16 ? 1 : 0);
    }

    private static void put(long struct, int field, long value) {
        ALL.set(ValueLayout.JAVA_LONG_UNALIGNED, struct + (long) Long.BYTES * field, value);
    }

    private static void pack(long call) {
        try {
            PACK.invokeExact(call);
        } catch (Throwable e) {
            throw MoeLibrary.asUnchecked(e);
        }
    }

    private void few(int task) {
        long first = (long) task * FEW_EXPERTS;
        long end = Math.min(experts, first + FEW_EXPERTS);
        try {
            FEW.invokeExact(call, first, end);
        } catch (Throwable e) {
            throw MoeLibrary.asUnchecked(e);
        }
    }

    private void many(int task) {
        long token = (long) (task / across) * TASK_TOKENS;
        long expert = (long) (task % across) * TASK_EXPERTS;
        long work = Scratch.get(TASK_SLOT, WORK_BYTES).address();
        try {
            MANY.invokeExact(call, token, expert, work);
        } catch (Throwable e) {
            throw MoeLibrary.asUnchecked(e);
        }
    }
}
