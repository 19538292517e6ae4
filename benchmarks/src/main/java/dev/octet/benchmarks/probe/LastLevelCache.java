package dev.octet.benchmarks.probe;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** How much a benchmark has to read so that what it read before is in no cache any more. */
public final class LastLevelCache {
    /** After so many times the cache's size nothing is left of what was there. */
    public static final long TIMES = 4;
    private static final long USUAL_BYTES = 32L << 20;
    private static final Path SIZE = Path.of("/sys/devices/system/cpu/cpu0/cache/index3/size");

    private LastLevelCache() {}

    /** {@return the size of the last-level cache in bytes, or a usual one where the system does not tell} */
    public static long bytes() {
        try {
            String size = Files.readString(SIZE).strip();
            return Long.parseLong(size.substring(0, size.length() - 1)) * (size.endsWith("M") ? 1L << 20 : 1L << 10);
        } catch (IOException | RuntimeException e) {
            return USUAL_BYTES;
        }
    }
}
