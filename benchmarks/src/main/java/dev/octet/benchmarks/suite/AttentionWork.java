package dev.octet.benchmarks.suite;

import dev.octet.mla.CacheFormat;
import dev.octet.mla.MlaConfig;

/**
 * What latent attention has to do: multiply-adds, each of which counts as two operations, and bytes that must come from
 * memory. Heads have the dimensions of all DeepSeek models.
 *
 * @param flops FP32 operations
 * @param bytes bytes that are read
 */
public record AttentionWork(double flops, double bytes) {
    private static final MlaConfig DIMS = MlaConfig.V3;

    /**
     * {@return one query token of each sequence in the absorbed form: each head of it takes a product with latent and
     * rotary key of each cached token, and adds the latent to its sum; the cache is read once, by all heads together}
     *
     * @param heads query heads
     * @param batch how many sequences
     * @param context cached tokens of each
     * @param cache how they are cached
     */
    public static AttentionWork decode(long heads, long batch, long context, CacheFormat cache) {
        double tokens = (double) batch * context;
        return new AttentionWork(2.0 * heads * (DIMS.latentDim() + DIMS.kvLoraRank()) * tokens,
                tokens * cache.bytesPerToken(DIMS.kvLoraRank(), DIMS.qkRopeHeadDim()));
    }

    /**
     * {@return a sequence that attends to itself in the naive form, each token to those up to itself}
     *
     * @param heads query heads
     * @param tokens of the sequence
     * @param width bytes of a value
     */
    public static AttentionWork prefill(long heads, long tokens, int width) {
        double pairs = tokens * (tokens + 1) / 2.0;
        double values = (double) heads * (DIMS.qkHeadDim() + DIMS.qkNopeHeadDim() + DIMS.vHeadDim())
                + DIMS.qkRopeHeadDim();
        return new AttentionWork(2.0 * heads * (DIMS.qkHeadDim() + DIMS.vHeadDim()) * pairs, tokens * values * width);
    }

    /**
     * {@return bytes of one layer's absorbed weights in BF16, for keys and values together}
     *
     * @param heads query heads
     */
    static double absorbedBytes(long heads) {
        return 2.0 * heads * (DIMS.qkNopeHeadDim() + DIMS.vHeadDim()) * DIMS.kvLoraRank();
    }

    /**
     * {@return bytes of keys and values of each head of one sequence in BF16, which a cache without latents holds}
     *
     * @param heads query heads
     * @param context cached tokens
     */
    public static double uncompressedBytes(long heads, long context) {
        return 2.0 * heads * (DIMS.qkHeadDim() + DIMS.vHeadDim()) * context;
    }
}
