package dev.octet.benchmarks.probe;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.octet.core.cpu.CpuPool;
import dev.octet.core.ffi.InstructionSet;
import dev.octet.core.ffi.NativeLibrary;
import java.lang.foreign.FunctionDescriptor;
import java.lang.invoke.MethodHandle;

/**
 * BF16 dot products on registers alone, in native code: the peak that no BF16 GEMM on these cores can exceed; and what a
 * call of native code costs.
 */
public final class DotProbe {
    static final NativeLibrary LIBRARY = NativeLibrary.open(DotProbe.class, "benchmarks", 1);
    private static final int STEPS = 1 << 20;
    /** Chains, lanes, products of a lane, and a multiplication and an addition for each. */
    static final double FLOPS_OF_STEP = 20.0 * 16 * 2 * 2;

    private final CpuPool pool;
    private final long[] sink;

    /** Apart, so that the class loads where the library is not there. */
    private static final class Functions {
        private static final FunctionDescriptor LONG_TO_LONG = FunctionDescriptor.of(JAVA_LONG, JAVA_LONG);
        static final MethodHandle DOT = LIBRARY.function("octet_benchmarks_dot_avx512bf16", LONG_TO_LONG);
        static final MethodHandle NOTHING = LIBRARY.function("octet_benchmarks_nothing", LONG_TO_LONG);
        static final MethodHandle SHORT_NOTHING = LIBRARY.shortFunction("octet_benchmarks_nothing", LONG_TO_LONG);
    }

    /**
     * Makes a probe.
     *
     * @param pool the threads; each of them runs the same loop
     */
    public DotProbe(CpuPool pool) {
        this.pool = pool;
        sink = new long[pool.threads() * 16];
    }

    /** {@return whether the processor has BF16 dot products, and the library is there} */
    public static boolean isThere() {
        return LIBRARY.supported().contains(InstructionSet.AVX512_BF16);
    }

    /**
     * {@return floating-point operations of one {@link #run()}: a multiply-add counts as two}
     *
     * @param threads the size of the pool
     */
    public static double flops(int threads) {
        return FLOPS_OF_STEP * STEPS * threads;
    }

    /** Runs the loop once on each thread. */
    public void run() {
        pool.run(pool.threads(), this::task);
    }

    private void task(int index) {
        sink[index * 16] = chains(STEPS);
    }

    static long chains(long steps) {
        return call(Functions.DOT, steps);
    }

    /** {@return something that depends on everything computed} */
    public long result() {
        return sink[0];
    }

    /**
     * Calls a native function that does nothing.
     *
     * @param x what it returns
     * @return that
     */
    public static long call(long x) {
        try {
            return (long) Functions.NOTHING.invokeExact(x);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    /**
     * The same as a critical call, which the garbage collector waits for.
     *
     * @param x what it returns
     * @return that
     */
    public static long criticalCall(long x) {
        try {
            return (long) Functions.SHORT_NOTHING.invokeExact(x);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    private static long call(MethodHandle function, long x) {
        try {
            return (long) function.invokeExact(x);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }
}
