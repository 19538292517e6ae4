package dev.octet.benchmarks.suite;

import dev.octet.fp8.Granularity;

/** What a layer of DeepSeek-V2-Lite's experts has to do: six of 64 for each token, and two shared. */
final class ExpertsWork {
    private static final long HIDDEN = 2048;
    private static final long INTER = 1408;
    private static final long EXPERTS = 64;
    private static final long TOP_K = 6;
    private static final long SHARED = 2;

    private ExpertsWork() {}

    /** {@return how many experts have tokens, at most} */
    static long active(long tokens) {
        return Math.min(EXPERTS, TOP_K * tokens);
    }

    /** {@return bytes of codes and scales that are read, if no two tokens have an expert in common} */
    static double weightBytes(long tokens) {
        return active(tokens) * bytes(INTER) + bytes(SHARED * INTER);
    }

    private static double bytes(long inter) {
        return 3.0 * inter * HIDDEN + Float.BYTES * (Granularity.BLOCK_128X128.scaleShape(2 * inter, HIDDEN).elements()
                + Granularity.BLOCK_128X128.scaleShape(HIDDEN, inter).elements());
    }

    /** {@return FP32 operations of all products, a multiply-add counting as two} */
    static double flops(long tokens) {
        return 2.0 * tokens * (TOP_K + SHARED) * 3 * INTER * HIDDEN;
    }
}
