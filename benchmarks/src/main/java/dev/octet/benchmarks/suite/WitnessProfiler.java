package dev.octet.benchmarks.suite;

import com.sun.management.OperatingSystemMXBean;
import dev.octet.benchmarks.probe.Witness;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.infra.BenchmarkParams;
import org.openjdk.jmh.infra.IterationParams;
import org.openjdk.jmh.profile.InternalProfiler;
import org.openjdk.jmh.results.AggregationPolicy;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.Result;
import org.openjdk.jmh.results.ScalarResult;

/**
 * Runs bursts of the probes right before and right after each iteration, in the JVM that measures, and gives their rates
 * as secondary metrics: {@code witness.fma.before}, {@code witness.fma.after} and so on. Beside them stand how many
 * cores the process had during the iteration ({@code witness.cpus}) and, where the system tells, how many other
 * processes of this machine had ({@code witness.others}) and the hypervisor kept back ({@code witness.steal}); both are
 * in steps of 10 ms.
 *
 * <p>It must be the first of all profilers: JMH starts the first one first and stops it last, so that what others
 * measure, such as bytes allocated, is without the bursts.
 */
public final class WitnessProfiler implements InternalProfiler {
    /** What the names of its results begin with. */
    static final String PREFIX = "witness.";
    static final String BEFORE = ".before";
    static final String AFTER = ".after";

    /** Readings are those before the next iteration, too, if no more time has gone by. */
    private static final long FRESH_NANOS = 3_000_000;
    /** LibTorch's threads wait in a loop for some milliseconds after their work, and would be witnessed. */
    private static final long PAUSE_NANOS = 500_000;
    private static final int PAUSES = 100;
    private static final double AT_REST = 0.2;

    private static final Path STAT = Path.of("/proc/stat");
    private static final double NANOS_OF_TICK = 1e7;

    private final OperatingSystemMXBean system =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    private final Map<Witness.Kind, Double> last = new EnumMap<>(Witness.Kind.class);
    private List<Witness.Kind> kinds = List.of();
    private @Nullable Witness witness;
    private Map<String, Result<?>> results = new LinkedHashMap<>();
    private long lastNanos;
    private long startNanos;
    private long startCpu;
    private Ticks startTicks = Ticks.UNKNOWN;

    /** For JMH, which makes it by its name. */
    public WitnessProfiler() {}

    @Override
    public String getDescription() {
        return "what the machine gives right before and right after an iteration";
    }

    @Override
    public void beforeIteration(BenchmarkParams benchmark, IterationParams iteration) {
        if (witness == null && Witness.isThere()) {
            Case of = of(benchmark);
            kinds = kinds(of);
            witness = new Witness(of.threads());
        }
        if (witness != null && (last.isEmpty() || System.nanoTime() - lastNanos > FRESH_NANOS)) {
            read(witness);
        }
        results = new LinkedHashMap<>();
        last.forEach((kind, rate) -> add(kind.probe() + BEFORE, rate, kind.unit()));
        startTicks = Ticks.now();
        startCpu = system.getProcessCpuTime();
        startNanos = System.nanoTime();
    }

    @Override
    public Collection<? extends Result<?>> afterIteration(BenchmarkParams benchmark, IterationParams iteration,
            IterationResult result) {
        double nanos = System.nanoTime() - startNanos;
        double own = system.getProcessCpuTime() - startCpu;
        add("cpus", own / nanos, "cores");
        Ticks ticks = Ticks.now();
        if (ticks != Ticks.UNKNOWN && startTicks != Ticks.UNKNOWN) {
            double busy = (ticks.busy - startTicks.busy) * NANOS_OF_TICK;
            add("others", Math.max(0, busy - own) / nanos, "cores");
            add("steal", (ticks.steal - startTicks.steal) * NANOS_OF_TICK / nanos, "cores");
        }
        if (witness != null) {
            rest();
            read(witness);
            last.forEach((kind, rate) -> add(kind.probe() + AFTER, rate, kind.unit()));
        }
        return new ArrayList<>(results.values());
    }

    private void read(Witness of) {
        for (Witness.Kind kind : kinds) {
            last.put(kind, of.burst(kind));
        }
        lastNanos = System.nanoTime();
    }

    private void add(String name, double value, String unit) {
        results.put(name, new ScalarResult(PREFIX + name, value, unit, AggregationPolicy.AVG));
    }

    /** Waits until the threads of this process do, for a while. */
    private void rest() {
        for (int i = 0; i < PAUSES; i++) {
            long cpu = system.getProcessCpuTime();
            long start = System.nanoTime();
            LockSupport.parkNanos(PAUSE_NANOS);
            if (system.getProcessCpuTime() - cpu < AT_REST * (System.nanoTime() - start)) {
                return;
            }
        }
    }

    /** What all processors have done since the machine started: for its processes, and for other machines on the host. */
    private record Ticks(long busy, long steal) {
        static final Ticks UNKNOWN = new Ticks(-1, -1);

        /** The columns are user, nice, system, idle, waiting, irq, softirq and steal. */
        static Ticks now() {
            try (var lines = Files.lines(STAT)) {
                String[] columns = lines.findFirst().orElseThrow().split(" +");
                long busy = 0;
                for (int i : new int[] {1, 2, 3, 6, 7}) {
                    busy += Long.parseLong(columns[i]);
                }
                return new Ticks(busy, Long.parseLong(columns[8]));
            } catch (IOException | RuntimeException e) {
                return UNKNOWN;
            }
        }
    }

    private static Case of(BenchmarkParams benchmark) {
        Map<String, String> params = new LinkedHashMap<>();
        for (Object key : benchmark.getParamsKeys()) {
            params.put(String.valueOf(key), benchmark.getParam(String.valueOf(key)));
        }
        return Case.ofJmh(benchmark.getBenchmark(), params);
    }

    /**
     * The multiply-adds beside everything; reading wherever the operands are more than a cache line or two; and what
     * else limits the case.
     */
    static List<Witness.Kind> kinds(Case c) {
        if (c.isTiny()) {
            return List.of(Witness.Kind.FMA);
        }
        List<Witness.Kind> kinds = new ArrayList<>(List.of(Witness.Kind.FMA, Witness.Kind.READ));
        List<String> probes = Limits.probes(c).stream().map(Case::method).toList();
        for (Witness.Kind kind : List.of(Witness.Kind.DOT, Witness.Kind.COPY)) {
            String probe = "ProbeBenchmark." + kind.probe();
            if (probes.contains(probe) || c.method().equals(probe)) {
                kinds.add(kind);
            }
        }
        return kinds;
    }
}
