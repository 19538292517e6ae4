package dev.octet.mla.ffm;

import dev.octet.core.ffi.InstructionSet;
import java.lang.invoke.MethodHandle;

/**
 * The two functions of {@code mla.h} that do attention in either form, for one instruction set. They get the address of
 * a call, the numbers of a group and a task, and the address of working memory; nothing is checked any more.
 */
final class NativeKernels {
    /** FMAs of FP32. */
    private static final NativeKernels FP32 = new NativeKernels(
            MlaLibrary.level() == InstructionSet.AVX2 ? InstructionSet.AVX2 : InstructionSet.AVX512);
    /** Scores of products of BF16, two at a time, where the processor has them. */
    private static final NativeKernels BF16 = MlaLibrary.level() == InstructionSet.AVX512_BF16
            ? new NativeKernels(InstructionSet.AVX512_BF16) : FP32;

    private final MethodHandle sums;
    private final MethodHandle results;

    private NativeKernels(InstructionSet set) {
        sums = MlaLibrary.function("sums", set);
        results = MlaLibrary.function("results", set);
    }

    /** {@return the kernels to take, by whether all that they read is BF16} */
    static NativeKernels of(boolean bf16) {
        return bf16 ? BF16 : FP32;
    }

    void sums(long call, long group, long task, long work) {
        try {
            sums.invokeExact(call, group, task, work);
        } catch (Throwable e) {
            throw asUnchecked(e);
        }
    }

    void results(long call, long group, long task, long work) {
        try {
            results.invokeExact(call, group, task, work);
        } catch (Throwable e) {
            throw asUnchecked(e);
        }
    }

    /** Native functions throw nothing; what is left are errors of the JVM's. */
    static RuntimeException asUnchecked(Throwable e) {
        if (e instanceof Error error) {
            throw error;
        }
        return e instanceof RuntimeException r ? r : new IllegalStateException(e);
    }
}
