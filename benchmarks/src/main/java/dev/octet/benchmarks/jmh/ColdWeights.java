package dev.octet.benchmarks.jmh;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * How many copies of the weights a benchmark walks through, so that they come from memory each time, as they do in a
 * model whose layers together exceed every cache. A product with many rows uses each weight often enough not to care.
 */
final class ColdWeights {
    /** Up to this many rows the weights' bytes still matter. */
    private static final long FEW_ROWS = 64;
    /** The last-level cache is refilled this often before a copy comes round again. */
    private static final long TIMES = 4;
    private static final long USUAL_CACHE = 32L << 20;
    private static final Path LAST_LEVEL = Path.of("/sys/devices/system/cpu/cpu0/cache/index3/size");

    private ColdWeights() {}

    static int copies(long m, long weightBytes) {
        if (m > FEW_ROWS) {
            return 1;
        }
        return (int) Math.max(2, Math.ceilDiv(TIMES * lastLevelCache(), Math.max(1, weightBytes)) + 1);
    }

    /**
     * How many layers' caches a benchmark walks through: the same rule, but a cache that is four times as large as the
     * last-level cache is alone cold enough, since it is read from end to end.
     */
    static int layers(long cacheBytes) {
        return cacheBytes >= TIMES * lastLevelCache() ? 1 : copies(1, cacheBytes);
    }

    private static long lastLevelCache() {
        try {
            String size = Files.readString(LAST_LEVEL).strip();
            return Long.parseLong(size.substring(0, size.length() - 1)) * (size.endsWith("M") ? 1L << 20 : 1L << 10);
        } catch (IOException | RuntimeException e) {
            return USUAL_CACHE;
        }
    }
}
