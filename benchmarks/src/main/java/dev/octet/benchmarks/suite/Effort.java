package dev.octet.benchmarks.suite;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.runner.options.TimeValue;

/**
 * How long each case is measured.
 *
 * @param forks JVMs for each case; 0 measures in this JVM, which only a test of the harness should do
 * @param warmups iterations that do not count
 * @param iterations iterations that count
 * @param warmupTime the least time of one that does not count
 * @param time the least time of one that counts
 */
public record Effort(int forks, int warmups, int iterations, TimeValue warmupTime, TimeValue time) {
    /** For results that are kept. */
    public static final Effort FULL = new Effort(2, 4, 6, millis(500), millis(500));
    /** For a look. */
    public static final Effort QUICK = new Effort(1, 3, 5, millis(300), millis(200));

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
