package dev.octet.benchmarks.suite;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.runner.options.TimeValue;

/**
 * How long each case is measured. Octet's warm-up takes three seconds: until C2 has compiled them kernels box their
 * vectors, and where the pool's threads leave C2 no core of its own that was seen to last longer than two. LibTorch has
 * nothing to compile. Its cases and the probes have one JVM, and probes are repeated during a run. Peers that are Octet's own
 * operations have one JVM, too, but are warmed up for six seconds: after one they look slower than they are. Iterations
 * are many and short, so that those during which others used the machine can be left out.
 *
 * @param forks JVMs for each case of Octet; 0 measures everything in this JVM, which only a test of the harness should
 *     do
 * @param warmups iterations that do not count
 * @param iterations iterations that count
 * @param warmupTime the least time of one that does not count
 * @param time the least time of one that counts
 */
public record Effort(int forks, int warmups, int iterations, TimeValue warmupTime, TimeValue time) {
    /** For results that are kept. */
    public static final Effort FULL = new Effort(2, 6, 10, millis(500), millis(150));
    /** For a look. */
    public static final Effort QUICK = new Effort(1, 6, 10, millis(500), millis(100));

    /** Iterations that are a process each. */
    private static final int SHOTS = 5;
    private static final int PROBE_WARMUPS = 4;
    private static final int PEER_WARMUPS = 2;

    /** Seconds that a JVM takes to start, to make its operands and to end; seen on two cores. */
    private static final double FORK_SECONDS = 1.7;
    /** Seconds of what is witnessed beside an iteration. */
    private static final double WITNESS_SECONDS = 0.013;
    /** Seconds of a process that makes one product, and of one that does nothing; the same. */
    private static final double FIRST_RESULT_SECONDS = 2;
    private static final double NOTHING_SECONDS = 0.1;

    /**
     * {@return the same with another number of JVMs}
     *
     * @param count how many
     */
    public Effort withForks(int count) {
        return new Effort(count, warmups, iterations, warmupTime, time);
    }

    /**
     * What one case gets of it.
     *
     * @param c a case of Octet, a probe or a peer
     */
    Effort of(Case c) {
        int shots = Math.min(SHOTS, iterations);
        if (c.isOctet()) {
            // One shot is one process. Several kernels in turns were seen to take five seconds until all are compiled.
            return c.isStartup() ? new Effort(forks, 1, shots, TimeValue.NONE, TimeValue.NONE)
                    : c.calls() > 1 ? new Effort(forks, 2 * warmups, iterations, warmupTime, time) : this;
        }
        int one = Math.min(1, forks);
        if (c.isOctetAsPeer()) {
            return new Effort(one, 2 * warmups, iterations, warmupTime, time);
        }
        if (c.isStartup()) {
            return new Effort(one, 1, shots, TimeValue.NONE, TimeValue.NONE);
        }
        int most = c.isPeer() ? PEER_WARMUPS : PROBE_WARMUPS;
        return new Effort(one, Math.min(most, warmups), iterations, warmupTime, time);
    }

    /** About how long a case takes with its part of this effort, if no operation takes longer than an iteration. */
    double seconds(Case c) {
        Effort e = of(c);
        double measuring = c.isStartup()
                ? (e.warmups + e.iterations) * (c.isOctet() ? FIRST_RESULT_SECONDS : NOTHING_SECONDS)
                : e.warmups * seconds(warmupTime) + e.iterations * seconds(time)
                        + (e.warmups + e.iterations) * WITNESS_SECONDS;
        return Math.max(1, e.forks) * (measuring + (e.forks == 0 ? 0 : FORK_SECONDS));
    }

    private static double seconds(TimeValue t) {
        return t.convertTo(TimeUnit.NANOSECONDS) * 1e-9;
    }

    /** {@return what is done for a case, as a report says it} */
    public String describe() {
        return "Octet: " + times(forks, warmups) + ", as a peer " + times(1, 2 * warmups) + "; LibTorch: "
                + times(1, Math.min(PEER_WARMUPS, warmups))
                + "; probes, each time: " + times(1, Math.min(PROBE_WARMUPS, warmups));
    }

    private String times(int jvms, int unmeasured) {
        return jvms + (jvms == 1 ? " fork" : " forks") + " of " + unmeasured + " x " + warmupTime + " warm-up and "
                + iterations + " x " + time;
    }

    static TimeValue millis(int n) {
        return new TimeValue(n, TimeUnit.MILLISECONDS);
    }
}
