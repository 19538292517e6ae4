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
 * cores the process had during the iteration ({@code witness.cpus}), and how many the hypervisor kept back from all
 * processes ({@code witness.steal}), where the system tells.
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
    private static final int STEAL = 8;
    private static final double TICKS_PER_NANO = 100e-9;

    private final OperatingSystemMXBean system =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    private final Map<Witness.Kind, Double> last = new EnumMap<>(Witness.Kind.class);
    private List<Witness.Kind> kinds = List.of();
    private @Nullable Witness witness;
    private Map<String, Result<?>> results = new LinkedHashMap<>();
    private long lastNanos;
    private long startNanos;
    private long startCpu;
    private long startSteal;

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
        startSteal = steal();
        startCpu = system.getProcessCpuTime();
        startNanos = System.nanoTime();
    }

    @Override
    public Collection<? extends Result<?>> afterIteration(BenchmarkParams benchmark, IterationParams iteration,
            IterationResult result) {
        double nanos = System.nanoTime() - startNanos;
        add("cpus", (system.getProcessCpuTime() - startCpu) / nanos, "cores");
        long steal = steal();
        if (steal >= 0 && startSteal >= 0) {
            add("steal", (steal - startSteal) / (nanos * TICKS_PER_NANO), "cores");
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

    /** Ticks of all processors that went to other machines on this host, or -1. */
    private static long steal() {
        try (var lines = Files.lines(STAT)) {
            return Long.parseLong(lines.findFirst().orElseThrow().split(" +")[STEAL]);
        } catch (IOException | RuntimeException e) {
            return -1;
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
