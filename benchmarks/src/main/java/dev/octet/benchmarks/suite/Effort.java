package dev.octet.benchmarks.suite;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.runner.options.TimeValue;

/**
 * How long each case is measured. Warm-up takes two seconds at least: until C2 has compiled them kernels box their
 * vectors, and some were seen to do so for a second.
 *
 * @param forks JVMs for each case; 0 measures in this JVM, which only a test of the harness should do
 * @param warmups iterations that do not count
 * @param iterations iterations that count
 * @param warmupTime the least time of one that does not count
 * @param time the least time of one that counts
 */
public record Effort(int forks, int warmups, int iterations, TimeValue warmupTime, TimeValue time) {
    /** For results that are kept. */
    public static final Effort FULL = new Effort(2, 6, 6, millis(500), millis(500));
    /** For a look. */
    public static final Effort QUICK = new Effort(1, 5, 5, millis(400), millis(200));

    /**
     * {@return the same with another number of JVMs}
     *
     * @param count how many
     */
    public Effort withForks(int count) {
        return new Effort(count, warmups, iterations, warmupTime, time);
    }

    static TimeValue millis(int n) {
        return new TimeValue(n, TimeUnit.MILLISECONDS);
    }
}
