package dev.octet.core.ffi;

import java.util.Locale;

/**
 * What a translation unit of a native library may be compiled for, worst first within an architecture. Ordinals are the
 * bits of the native function {@code octet_cpu_sets}.
 */
public enum InstructionSet {
    /** AVX2, FMA, F16C and BMI2. */
    AVX2,
    /** AVX-512 F, BW, DQ and VL. */
    AVX512,
    /** With VBMI and BF16 dot products. */
    AVX512_BF16,
    /** With AMX tiles of BF16. */
    AMX,
    /** Arm's 64-bit baseline. */
    NEON,
    /** With BF16 dot products and matrix products. */
    NEON_BF16;

    /** {@return the name in lower case, as properties and descriptions have it} */
    public String id() {
        return name().toLowerCase(Locale.ROOT);
    }

    /** {@return the ending of file and function names, for example {@code avx512bf16}} */
    public String suffix() {
        return id().replace("_", "");
    }

    private boolean isArm() {
        return this == NEON || this == NEON_BF16;
    }

    /** {@return whether a limit to one set allows another: the same architecture, and not better} */
    boolean allows(InstructionSet other) {
        return isArm() == other.isArm() && other.ordinal() <= ordinal();
    }
}
