package dev.octet.benchmarks;

import dev.octet.benchmarks.peer.LibTorch;
import dev.octet.benchmarks.report.Report;
import dev.octet.benchmarks.suite.Case;
import dev.octet.benchmarks.suite.Catalog;
import dev.octet.benchmarks.suite.Catalog.NK;
import dev.octet.benchmarks.suite.Effort;
import dev.octet.benchmarks.suite.Json;
import dev.octet.benchmarks.suite.Measurement;
import dev.octet.benchmarks.suite.Row;
import dev.octet.benchmarks.suite.RunInfo;
import dev.octet.benchmarks.suite.SuiteRunner;
import dev.octet.core.cpu.CpuConfig;
import dev.octet.fp8.Fp8;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.runner.RunnerException;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import picocli.CommandLine.TypeConversionException;

/** {@code octet bench}. */
@Command(name = "bench", mixinStandardHelpOptions = true,
        description = "Measures Octet's operations with JMH, each beside the machine's limit and, where there is one, "
                + "a peer, both measured in the same run. JMH's own output goes to standard output, and "
                + "after it a line for each case.")
public final class BenchCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(arity = "0..1", paramLabel = "FILTER", defaultValue = "",
            description = "A regular expression for the beginning of a benchmark's name, for example gemm, gemm.fprop "
                    + "or .*128x128. Without it everything is measured.")
    private String filter;

    @Option(names = "--quick", description = "A look instead of a measurement: one JVM for each case, short "
            + "iterations, few shapes. A few minutes.")
    private boolean quick;

    @Option(names = "--list", description = "Shows the cases that would be measured and about how "
            + "long that takes, and measures nothing.")
    private boolean list;

    @Option(names = "--summary", paramLabel = "FILE",
            description = "Writes a JSON array with an object for each case: value, limit, peer and their ratios.")
    private @Nullable Path summary;

    @Option(names = "--raw", paramLabel = "FILE", description = "Writes JMH's own JSON, probes and peers included.")
    private @Nullable Path raw;

    @Option(names = "--report", paramLabel = "DIR",
            description = "Writes report.md and its plots, and the files that they are made from: jmh.json, run.json "
                    + "and summary.json.")
    private @Nullable Path report;

    @Option(names = "--backend", paramLabel = "NAME", defaultValue = "cpu",
            description = "The implementation to measure (default: ${DEFAULT-VALUE}).")
    private String backend;

    @Option(names = "--threads", split = ",", paramLabel = "N",
            description = "Pool sizes. Products of 128 rows and more with the first shape are measured with each of "
                    + "them, everything else with the largest (default: 1 and the number of physical cores).")
    private @Nullable List<Integer> threads;

    @Option(names = "--m", split = ",", paramLabel = "M",
            description = "Rows of the GEMM's A instead of the usual ones.")
    private @Nullable List<Long> rows;

    @Option(names = "--shapes", split = ",", paramLabel = "NxK", converter = ShapeConverter.class,
            description = "Shapes of the GEMM's weights instead of the usual ones, for example 2112x7168.")
    private @Nullable List<NK> shapes;

    @Option(names = "--forks", paramLabel = "N", description = "JVMs for each case of Octet, 1 or more.")
    private @Nullable Integer forks;

    @Option(names = "--peer", negatable = true, defaultValue = "true", fallbackValue = "true",
            description = "Whether to measure LibTorch beside Octet (default: yes, where it can be loaded).")
    private boolean peer;

    /** For the command line's reflection. */
    public BenchCommand() {}

    @Override
    public Integer call() throws IOException {
        List<Case> cases = select();
        Effort effort = quick ? Effort.QUICK : Effort.FULL;
        if (forks != null) {
            if (forks < 1) {
                throw new ParameterException(spec.commandLine(), "--forks is " + forks + ", it must be 1 or more");
            }
            effort = effort.withForks(forks);
        }
        PrintWriter out = spec.commandLine().getOut();
        if (list) {
            cases.forEach(out::println);
            out.flush();
            estimate(new SuiteRunner(effort, peer, System.out, (done, total, next) -> { }), cases);
            return 0;
        }
        prepareFiles();
        boolean peers = peer && peerIsThere();
        Map<String, Object> info = RunInfo.gather(commandLine(), effort, peers);
        SuiteRunner runner = new SuiteRunner(effort, peers, System.out, new TerminalProgress());
        estimate(runner, cases);
        String json;
        try {
            json = runner.run(cases);
        } catch (RunnerException e) {
            throw new CommandFailure("JMH could not run: " + e.getMessage(), e);
        } catch (UncheckedIOException e) {
            throw new CommandFailure(e.getCause().getMessage() + ", nothing more is measured or written", e);
        }
        write(json, info);
        if (!runner.failed().isEmpty()) {
            throw new CommandFailure("no result for " + runner.failed() + "; JMH's output above says why");
        }
        return 0;
    }

    private void estimate(SuiteRunner runner, List<Case> cases) {
        long seconds = runner.estimate(cases).toSeconds();
        PrintWriter err = spec.commandLine().getErr();
        err.println("octet: " + cases.size() + (cases.size() == 1 ? " case" : " cases")
                + ", with limits and peers about " + (seconds < 120 ? seconds + " s" : (seconds + 30) / 60 + " min"));
        err.flush();
    }

    private List<Case> select() {
        try {
            Fp8.on(backend);
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), "--backend: " + e.getMessage(), e);
        }
        List<Integer> pools = threads != null ? threads.stream().sorted().distinct().toList()
                : IntStream.of(1, CpuConfig.threads()).distinct().boxed().toList();
        if (pools.getFirst() < 1 || pools.getLast() > 1024) {
            throw new ParameterException(spec.commandLine(), "--threads is " + pools + ", a pool has 1 to 1024");
        }
        List<Long> m = rows != null ? rows : quick ? Catalog.QUICK_ROWS : Catalog.ROWS;
        if (m.stream().anyMatch(r -> r < 1)) {
            throw new ParameterException(spec.commandLine(), "--m is " + m + ", rows must be 1 or more");
        }
        Catalog catalog = new Catalog(backend, pools,
                shapes != null ? shapes : quick ? Catalog.QUICK_SHAPES : Catalog.SHAPES, m, quick);
        Pattern pattern;
        try {
            pattern = Pattern.compile(filter, Pattern.CASE_INSENSITIVE);
        } catch (PatternSyntaxException e) {
            throw new ParameterException(spec.commandLine(), "FILTER is no regular expression: " + e.getMessage(), e);
        }
        List<Case> cases = catalog.cases().stream().filter(c -> pattern.matcher(c.name()).lookingAt()).toList();
        if (cases.isEmpty()) {
            throw new ParameterException(spec.commandLine(),
                    "no benchmark matches '" + filter + "'; there are " + String.join(", ", catalog.names()));
        }
        return cases;
    }

    private boolean peerIsThere() {
        return LibTorch.unavailable().map(reason -> {
            spec.commandLine().getErr().println("octet: measuring without LibTorch, which can't be loaded: " + reason);
            return false;
        }).orElse(true);
    }

    private String commandLine() {
        StringBuilder line = new StringBuilder("./octet");
        for (String arg : spec.root().commandLine().getParseResult().originalArgs()) {
            line.append(' ').append(arg.matches("[\\w./,:=+-]+") ? arg : "'" + arg + "'");
        }
        return line.toString();
    }

    /** A report is kept and shown to others, whom the folders of this machine tell nothing. */
    private static String withoutPaths(String json) {
        String home = System.getProperty("octet.home");
        String noJdk = json.replace(System.getProperty("java.home") + "/bin/", "");
        return home == null ? noJdk : noJdk.replace(home, ".");
    }

    /** What was measured comes first: a mistake in what is made of it must not cost half an hour. */
    private void write(String json, Map<String, Object> info) throws IOException {
        if (raw != null) {
            Files.writeString(raw, json);
        }
        if (report != null) {
            Files.writeString(report.resolve(Report.RAW), withoutPaths(json));
            Files.writeString(report.resolve(Report.RUN), Json.write(info));
        }
        List<Row> rows = Row.of(Measurement.read(json));
        String rowsJson = Row.summary(rows);
        if (summary != null) {
            Files.writeString(summary, rowsJson);
        }
        if (report != null) {
            Files.writeString(report.resolve(Report.SUMMARY), rowsJson);
            Report.write(report);
        }
        RateTable.print(rows, spec.commandLine().getOut());
    }

    /** Before anything is measured, so that a file that can't be written costs no half an hour. */
    private void prepareFiles() {
        if (summary != null) {
            OutputFiles.prepareFile("--summary", summary);
        }
        if (raw != null) {
            OutputFiles.prepareFile("--raw", raw);
        }
        if (report != null) {
            OutputFiles.prepareFolder("--report", report);
        }
    }

    /** Reads {@code 2112x7168}. */
    static final class ShapeConverter implements ITypeConverter<NK> {
        @Override
        public NK convert(String text) {
            if (!text.matches("[1-9][0-9]{0,8}x[1-9][0-9]{0,8}")) {
                throw new TypeConversionException("'" + text + "' is no shape like 2112x7168");
            }
            int x = text.indexOf('x');
            return new NK(Long.parseLong(text.substring(0, x)), Long.parseLong(text.substring(x + 1)));
        }
    }
}
