package dev.octet.fp8;

/** A function applied to each element of a GEMM's result before the final cast. */
public enum Activation {
    /** The value itself. */
    IDENTITY,
    /** {@code x / (1 + exp(-x))}, in FP32. */
    SILU
}
