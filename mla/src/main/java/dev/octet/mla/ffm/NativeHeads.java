package dev.octet.mla.ffm;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import dev.octet.core.ffi.InstructionSet;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.ref.Reference;

/**
 * One BF16 matrix for each head in native code. A task is a head's results for all tokens, or a part of them if the
 * matrix is large; what it computes depends on neither the pool nor, for a token, the other tokens.
 */
final class NativeHeads {
    private static final MethodHandle HEADS = MlaLibrary.function("heads",
            MlaLibrary.level() == InstructionSet.AVX2 ? InstructionSet.AVX2 : InstructionSet.AVX512);

    /** As in mla.h. */
    private static final int TOKENS = 64;
    private static final int STEP = 32;
    private static final int CALL_BYTES = 20 * 8;

    /** Working memory holds so much of each of 64 tokens. */
    private static final int MOST_K = 2048;
    /** Sums of 8 tokens and so many columns take 32 KiB. */
    private static final int MOST_COLUMNS = 1024;
    /** Bytes of a matrix along k that are worth a task. */
    private static final int PART_BYTES = 128 << 10;
    private static final int MOST_TASKS = 1 << 24;
    private static final int CALL_SLOT = 6;
    private static final int TASK_SLOT = 7;

    private NativeHeads() {}

    /** {@return whether there are kernels for such operands: BF16, contiguous along one of its dimensions} */
    static boolean takes(Tensor x, Tensor weight) {
        long n = weight.dim(1);
        long k = weight.dim(2);
        return weight.dtype() == DType.BF16 && k > 0 && k <= MOST_K && (alongK(weight) || alongN(weight))
                && x.dim(0) > 0 && x.dim(1) > 0 && n > 0
                && x.dim(1) <= MOST_TASKS && n <= MOST_TASKS && x.dim(1) * n <= MOST_TASKS * (long) STEP;
    }

    private static boolean alongK(Tensor weight) {
        return weight.stride(2) == 1 && weight.dim(2) % STEP == 0;
    }

    private static boolean alongN(Tensor weight) {
        return weight.stride(1) == 1 && weight.dim(1) % STEP == 0;
    }

    static void project(Tensor x, Tensor weight, Tensor out, CpuPool pool) {
        if (x.dim(1) != weight.dim(0) || x.dim(2) != weight.dim(2) || out.dim(0) != x.dim(0)
                || out.dim(1) != x.dim(1) || out.dim(2) != weight.dim(1)) {
            throw new IllegalArgumentException("x has shape " + x.shape() + ", weight " + weight.shape() + ", out "
                    + out.shape());
        }
        boolean alongN = !alongK(weight);
        int n = Math.toIntExact(weight.dim(1));
        int k = Math.toIntExact(weight.dim(2));
        int most = alongN ? MOST_COLUMNS : Math.max(STEP, PART_BYTES / (2 * k) / STEP * STEP);
        int part = Math.min(most, Math.ceilDiv(n, STEP) * STEP);
        int parts = Math.ceilDiv(n, part);
        int heads = Math.toIntExact(x.dim(1));
        MemorySegment memory = Scratch.get(CALL_SLOT, CALL_BYTES);
        StructWriter f = new StructWriter(memory, 0);
        f.put(x);
        f.put(out);
        f.put(weight.address());
        f.put(2 * weight.stride(0));
        f.put(2 * weight.stride(alongN ? 2 : 1));
        f.put(alongN ? 1 : 0);
        f.put(x.dim(0));
        f.put(heads);
        f.put(n);
        f.put(k);
        f.put(part);
        f.put(pool.threads());
        f.end(CALL_BYTES);
        long call = memory.address();
        long work = 4L * TOKENS * (k + part);
        pool.run(Math.multiplyExact(heads, parts), task -> {
            try {
                HEADS.invokeExact(call, (long) (task / parts), (long) (task % parts),
                        Scratch.get(TASK_SLOT, work).address());
            } catch (Throwable e) {
                throw NativeKernels.asUnchecked(e);
            }
        });
        Reference.reachabilityFence(x);
        Reference.reachabilityFence(weight);
        Reference.reachabilityFence(out);
    }
}
