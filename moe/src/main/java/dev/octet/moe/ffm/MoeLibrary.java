package dev.octet.moe.ffm;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.octet.core.ffi.InstructionSet;
import dev.octet.core.ffi.NativeLibrary;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** This module's native library, and its functions for the best instruction set that can be used here. */
final class MoeLibrary {
    /** Agrees with OCTET_MOE_ABI in moe.h. */
    private static final int ABI = 1;
    private static final NativeLibrary LIBRARY = NativeLibrary.open(MoeLibrary.class, "moe", ABI);
    private static final @Nullable InstructionSet LEVEL =
            LIBRARY.best(InstructionSet.AVX2, InstructionSet.AVX512, InstructionSet.NEON).orElse(null);

    private MoeLibrary() {}

    /** {@return empty if the kernels can run, else why not} */
    static Optional<String> unavailable() {
        if (LIBRARY.unavailable().isPresent()) {
            return LIBRARY.unavailable();
        }
        return LEVEL == null ? Optional.of("no kernels for what this processor supports: " + LIBRARY.supported())
                : Optional.empty();
    }

    /** {@return the instruction set that the kernels use} */
    static InstructionSet level() {
        InstructionSet level = LEVEL;
        if (level == null) {
            throw new IllegalStateException(unavailable().orElse(""));
        }
        return level;
    }

    /** {@return whether the kernels are known to be faster than those on the Vector API, by measurement} */
    static boolean isFaster() {
        return LEVEL == InstructionSet.AVX2 || LEVEL == InstructionSet.AVX512;
    }

    /** {@return whether there is a kernel of the router's product: with AVX2 it would not be faster than without} */
    static boolean hasRouter() {
        return LEVEL != InstructionSet.AVX2;
    }

    /** {@return a function of the level, which gets so many longs and returns nothing} */
    static MethodHandle procedure(String name, int longs) {
        return LIBRARY.function(symbol(name), FunctionDescriptor.ofVoid(longs(longs)));
    }

    /** {@return a function that all levels have in common} */
    static MethodHandle commonProcedure(String name, int longs) {
        return LIBRARY.function("octet_moe_" + name, FunctionDescriptor.ofVoid(longs(longs)));
    }

    /** {@return a number that is fixed in the code of the level} */
    static long constant(String name, long which) {
        try {
            return (long) LIBRARY.shortFunction(symbol(name), FunctionDescriptor.of(JAVA_LONG, JAVA_LONG))
                    .invokeExact(which);
        } catch (Throwable e) {
            throw asUnchecked(e);
        }
    }

    private static String symbol(String name) {
        return "octet_moe_" + name + "_" + level().suffix();
    }

    private static MemoryLayout[] longs(int n) {
        MemoryLayout[] layouts = new MemoryLayout[n];
        Arrays.fill(layouts, JAVA_LONG);
        return layouts;
    }

    /** Native functions throw nothing; what is left are errors of the JVM's. */
    static RuntimeException asUnchecked(Throwable e) {
        if (e instanceof Error error) {
            throw error;
        }
        return e instanceof RuntimeException r ? r : new IllegalStateException(e);
    }
}
