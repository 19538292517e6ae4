package dev.octet.fp8.ffm;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.octet.core.ffi.InstructionSet;
import dev.octet.core.ffi.NativeLibrary;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** This module's native library, and its functions for the best instruction set that can be used here. */
final class Fp8Library {
    /** Agrees with FP8_ABI in fp8.h. */
    private static final int ABI = 4;
    private static final NativeLibrary LIBRARY = NativeLibrary.open(Fp8Library.class, "fp8", ABI);
    /** What kernels were compiled for; those for AMX never ran, so they have to be asked for. */
    private static final List<InstructionSet> COMPILED = List.of(InstructionSet.AVX2, InstructionSet.AVX512,
            InstructionSet.AVX512_BF16, InstructionSet.NEON, InstructionSet.NEON_BF16);
    private static final @Nullable InstructionSet LEVEL = level(LIBRARY);
    private static final @Nullable InstructionSet CONVERTERS =
            LIBRARY.best(InstructionSet.AVX2, InstructionSet.AVX512).orElse(null);

    private Fp8Library() {}

    private static @Nullable InstructionSet level(NativeLibrary library) {
        if (InstructionSet.AMX.id().equals(System.getProperty("octet.native.level"))
                && library.supported().contains(InstructionSet.AMX)) {
            return InstructionSet.AMX;
        }
        return library.best(COMPILED.toArray(InstructionSet[]::new)).orElse(null);
    }

    /** {@return whether the kernels are known to be faster than those on the Vector API, by measurement} */
    static boolean isFaster() {
        return LEVEL != null && LEVEL != InstructionSet.NEON && LEVEL != InstructionSet.NEON_BF16;
    }

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

    /** {@return a function of the level, which gets so many longs and returns nothing} */
    static MethodHandle procedure(String name, int longs) {
        return LIBRARY.function(symbol(name), FunctionDescriptor.ofVoid(longs(longs)));
    }

    /** {@return whether there are quantisers and casts for this processor} */
    static boolean hasConverters() {
        return CONVERTERS != null;
    }

    /** {@return a quantiser's or cast's function, which gets so many longs and returns nothing} */
    static MethodHandle converter(String name, int longs) {
        InstructionSet set = Objects.requireNonNull(CONVERTERS);
        return LIBRARY.function("octet_fp8_" + name + "_" + set.suffix(), FunctionDescriptor.ofVoid(longs(longs)));
    }

    /** {@return a short function of the level from longs to a long} */
    static MethodHandle shortFunction(String name, int longs) {
        return LIBRARY.shortFunction(symbol(name), FunctionDescriptor.of(JAVA_LONG, longs(longs)));
    }

    private static String symbol(String name) {
        return "octet_fp8_" + name + "_" + level().suffix();
    }

    private static MemoryLayout[] longs(int n) {
        MemoryLayout[] layouts = new MemoryLayout[n];
        Arrays.fill(layouts, JAVA_LONG);
        return layouts;
    }
}
