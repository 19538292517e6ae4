package dev.octet.benchmarks.suite;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.openjdk.jmh.profile.GCProfiler;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.results.format.ResultFormatFactory;
import org.openjdk.jmh.results.format.ResultFormatType;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.format.OutputFormat;
import org.openjdk.jmh.runner.format.OutputFormatFactory;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.Options;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;

/**
 * Runs cases through JMH, each followed by its peers, and the probes of their limits before, between and after them: a
 * machine that is shared has not the same bandwidth all day. What was disturbed is run once more at the end.
 */
public final class SuiteRunner {
    /** Probes are repeated after so many cases; what changes from case to case is witnessed beside each. */
    private static final int PROBE_EVERY = 32;
    /** Of so many benchmarks one may be run again. */
    private static final int AGAIN_ONE_OF = 10;

    /** Is told what comes next. */
    @FunctionalInterface
    public interface Progress {
        /**
         * A benchmark begins.
         *
         * @param done how many have ended
         * @param total how many there are
         * @param next what comes now
         */
        void next(int done, int total, Case next);
    }

    private final Effort effort;
    private final boolean peers;
    private final PrintStream out;
    private final Progress progress;
    private final List<Case> failed = new ArrayList<>();

    /**
     * Makes a runner.
     *
     * @param effort how long to measure each case
     * @param peers whether to measure peers
     * @param out where JMH's own output goes
     * @param progress is told what comes next
     */
    public SuiteRunner(Effort effort, boolean peers, PrintStream out, Progress progress) {
        this.effort = effort;
        this.peers = peers;
        this.out = out;
        this.progress = progress;
    }

    /** The cases with their probes and peers, in the order in which they are run. */
    List<Case> plan(List<Case> cases) {
        Set<Case> probes = new LinkedHashSet<>();
        cases.forEach(c -> probes.addAll(Limits.probes(c)));
        List<Case> plan = new ArrayList<>(probes);
        Set<Case> peersDone = new LinkedHashSet<>();
        int sinceProbes = 0;
        for (Case c : cases) {
            if (sinceProbes == PROBE_EVERY) {
                plan.addAll(probes);
                sinceProbes = 0;
            }
            plan.add(c);
            sinceProbes++;
            if (peers) {
                Limits.peersHere(c).stream().filter(peersDone::add).forEach(plan::add);
            }
        }
        plan.addAll(probes);
        return plan;
    }

    /**
     * {@return about how long a run takes}
     *
     * @param cases what to measure
     */
    public Duration estimate(List<Case> cases) {
        return Duration.ofMillis(Math.round(1e3 * plan(cases).stream().mapToDouble(effort::seconds).sum()));
    }

    /**
     * Measures.
     *
     * @param cases what to measure
     * @return all results, as JMH writes them in JSON
     * @throws RunnerException if JMH can't run at all, for example because another instance does
     * @throws UncheckedIOException if nobody reads JMH's output any more
     */
    public String run(List<Case> cases) throws RunnerException {
        List<Case> plan = plan(cases);
        List<RunResult> results = new ArrayList<>();
        OutputFormat format = OutputFormatFactory.createFormatInstance(out, VerboseMode.NORMAL);
        for (int i = 0; i < plan.size(); i++) {
            progress.next(i, plan.size(), plan.get(i));
            if (!run(plan.get(i), results, format)) {
                failed.add(plan.get(i));
            }
        }
        List<Case> again = again(Measurement.read(json(results)), Math.ceilDiv(plan.size(), AGAIN_ONE_OF));
        for (int i = 0; i < again.size(); i++) {
            progress.next(plan.size() + i, plan.size() + again.size(), again.get(i));
            run(again.get(i), results, format);
        }
        format.endRun(OneRun.withoutWitnesses(results));
        format.flush();
        return json(results);
    }

    /** Whether there was a result. */
    private boolean run(Case c, List<RunResult> results, OutputFormat format) throws RunnerException {
        var result = new Runner(options(c), new OneRun(format)).run();
        if (out.checkError()) {
            throw new UncheckedIOException(new IOException("standard output is closed"));
        }
        return results.addAll(result);
    }

    /** What others used the machine beside, the worst first; the runs of a case count together. */
    static List<Case> again(Map<Case, Measurement> all, int most) {
        return all.values().stream().filter(m -> m.counted().disturbed() && !m.of().isProbe())
                .sorted(Comparator.comparingDouble(m -> (double) m.counted().undisturbed() / m.counted().all()))
                .limit(most).map(Measurement::of).toList();
    }

    private static String json(List<RunResult> results) {
        ByteArrayOutputStream json = new ByteArrayOutputStream();
        try (PrintStream to = new PrintStream(json, false, StandardCharsets.UTF_8)) {
            ResultFormatFactory.getInstance(ResultFormatType.JSON, to).writeOut(results);
        }
        return json.toString(StandardCharsets.UTF_8);
    }

    /** {@return what gave no result in the last run; JMH's output says why} */
    public List<Case> failed() {
        return List.copyOf(failed);
    }

    private Options options(Case c) {
        Effort own = effort.of(c);
        ChainedOptionsBuilder options = new OptionsBuilder()
                .include("^" + Pattern.quote(c.jmhName()) + "$")
                .forks(own.forks())
                .warmupIterations(own.warmups())
                .measurementIterations(own.iterations())
                .shouldFailOnError(false);
        c.params().forEach(options::param);
        if (!c.isStartup()) {
            options.warmupTime(own.warmupTime()).measurementTime(own.time()).timeout(TimeValue.minutes(5));
            options.addProfiler(WitnessProfiler.class); // the first of all
            if (c.isOctet()) {
                options.addProfiler(GCProfiler.class);
            }
        }
        return options.build();
    }
}
