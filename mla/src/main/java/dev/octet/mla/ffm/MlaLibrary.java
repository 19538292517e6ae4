package dev.octet.mla.ffm;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.octet.core.ffi.InstructionSet;
import dev.octet.core.ffi.NativeLibrary;
import java.lang.foreign.FunctionDescriptor;
import java.lang.invoke.MethodHandle;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** This module's native library, and its functions for the best instruction set that can be used here. */
final class MlaLibrary {
    /** Agrees with OCTET_MLA_ABI in mla.h. */
    private static final int ABI = 3;
    private static final NativeLibrary LIBRARY = NativeLibrary.open(MlaLibrary.class, "mla", ABI);
    private static final @Nullable InstructionSet LEVEL =
            LIBRARY.best(InstructionSet.AVX2, InstructionSet.AVX512, InstructionSet.AVX512_BF16).orElse(null);

    private MlaLibrary() {}

    /** {@return empty if the kernels can run, else why not} */
    static Optional<String> unavailable() {
        if (LIBRARY.unavailable().isPresent()) {
            return LIBRARY.unavailable();
        }
        return LEVEL == null ? Optional.of("no kernels for what this processor supports: " + LIBRARY.supported())
                : Optional.empty();
    }

    /** {@return whether the library is there and has nothing for this processor} */
    static boolean lacksKernels() {
        return LIBRARY.unavailable().isEmpty() && LEVEL == null;
    }

    /** {@return the instruction set that the kernels use} */
    static InstructionSet level() {
        InstructionSet level = LEVEL;
        if (level == null) {
            throw new IllegalStateException(unavailable().orElse(""));
        }
        return level;
    }

    /** {@return a function of mla.h: addresses and numbers of a call, a unit, a task, and working memory} */
    static MethodHandle function(String name, InstructionSet set) {
        return LIBRARY.function("octet_mla_" + name + "_" + set.suffix(),
                FunctionDescriptor.ofVoid(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG));
    }
}
