package dev.octet.benchmarks.probe;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.octet.core.ffi.InstructionSet;
import java.lang.foreign.FunctionDescriptor;
import java.lang.invoke.MethodHandle;
import java.util.Optional;

/** The loops of {@link FmaProbe} and {@link ReadProbe} in native code, with vectors as wide as the processor has. */
final class WitnessLoops {
    private static final int CHAINS = 12;
    private static final Optional<InstructionSet> SET =
            DotProbe.LIBRARY.best(InstructionSet.AVX512, InstructionSet.AVX2);

    private WitnessLoops() {}

    /** Apart, so that the class loads where the library is not there. */
    private static final class Functions {
        static final MethodHandle FMA = function("fma", FunctionDescriptor.of(JAVA_LONG, JAVA_LONG));
        static final MethodHandle READ = function("read", FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_LONG));

        private static MethodHandle function(String name, FunctionDescriptor descriptor) {
            return DotProbe.LIBRARY.function("octet_benchmarks_" + name + "_" + SET.orElseThrow().suffix(), descriptor);
        }
    }

    static boolean areThere() {
        return SET.isPresent();
    }

    /** Operations of a step of multiply-adds, each of which counts as two. */
    static double flopsOfStep() {
        return 2.0 * CHAINS * (SET.orElseThrow() == InstructionSet.AVX512 ? 16 : 8);
    }

    static long fma(long steps) {
        try {
            return (long) Functions.FMA.invokeExact(steps);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    /** Reads memory at an address that is a multiple of 64; bytes are a multiple of 256. */
    static long read(long address, long bytes) {
        try {
            return (long) Functions.READ.invokeExact(address, bytes);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }
}
