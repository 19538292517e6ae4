package dev.octet.benchmarks.jmh;

import dev.octet.benchmarks.probe.LastLevelCache;

/**
 * How many copies of the weights a benchmark walks through, so that they come from memory each time, as they do in a
 * model whose layers together exceed every cache. A product with many rows uses each weight often enough not to care.
 */
final class ColdWeights {
    /** Up to this many rows the weights' bytes still matter. */
    private static final long FEW_ROWS = 64;

    private ColdWeights() {}

    static int copies(long m, long weightBytes) {
        if (m > FEW_ROWS) {
            return 1;
        }
        long cold = LastLevelCache.TIMES * LastLevelCache.bytes();
        return (int) Math.max(2, Math.ceilDiv(cold, Math.max(1, weightBytes)) + 1);
    }

    /**
     * How many layers' caches a benchmark walks through: the same rule, but a cache that is four times as large as the
     * last-level cache is alone cold enough, since it is read from end to end.
     */
    static int layers(long cacheBytes) {
        return cacheBytes >= LastLevelCache.TIMES * LastLevelCache.bytes() ? 1 : copies(1, cacheBytes);
    }
}
