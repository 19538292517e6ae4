package dev.octet.fp8;

/**
 * What a cast to FP8 does with a value that is too large after rounding, and with infinities.
 */
public enum Overflow {
    /**
     * The largest finite value with the sign kept: &plusmn;448 in E4M3, &plusmn;57344 in E5M2, for infinities too. This
     * is what CUDA's {@code SATFINITE} does, and the default.
     */
    SATURATE,
    /** NaN in E4M3, which has no infinities; an infinity in E5M2. */
    NON_SATURATING
}
