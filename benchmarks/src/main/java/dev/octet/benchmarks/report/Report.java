package dev.octet.benchmarks.report;

import dev.octet.benchmarks.suite.Bar;
import dev.octet.benchmarks.suite.Case;
import dev.octet.benchmarks.suite.Json;
import dev.octet.benchmarks.suite.Limits;
import dev.octet.benchmarks.suite.Measurement;
import dev.octet.benchmarks.suite.Row;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.function.Predicate;

/**
 * A report in Markdown, with plots, made from the files of a run: JMH's JSON and what is known of the machine. Made
 * again from the same files it is the same.
 */
public final class Report {
    /** JMH's own JSON. */
    public static final String RAW = "jmh.json";
    /** The rates beside their limits and peers. */
    public static final String SUMMARY = "summary.json";
    /** Machine, commit, command and date. */
    public static final String RUN = "run.json";
    /** The report. */
    public static final String PAGE = "report.md";

    private final Map<Case, Measurement> measured;
    private final List<Row> rows;
    private final Map<Row, Measurement> sources = new LinkedHashMap<>();
    private final Page page = new Page();

    private Report(Map<Case, Measurement> measured) {
        this.measured = measured;
        Row.byCase(measured).forEach((of, row) -> sources.put(row, measured.get(of)));
        rows = List.copyOf(sources.keySet());
    }

    /**
     * Writes the report and its plots beside the files that they are made from.
     *
     * @param folder has {@value #RAW} and {@value #RUN}
     * @throws IOException if a file can't be read or written
     */
    public static void write(Path folder) throws IOException {
        Report report = new Report(Measurement.read(Files.readString(folder.resolve(RAW))));
        report.head(Json.parse(Files.readString(folder.resolve(RUN))));
        report.body(new Plots(folder));
        Files.writeString(folder.resolve(PAGE), report.page.text());
    }

    private void head(Object run) {
        page.line("# Octet benchmarks");
        page.line("");
        if (run instanceof Map<?, ?> info) {
            page.table("what", "value");
            info.forEach((name, value) -> page.cells(String.valueOf(name),
                    name.equals("command") ? "`" + value + "`" : String.valueOf(value)));
        }
        page.paragraph("Every value is the median over all iterations that count. Limits and peers were measured in the same run, "
                + "with the same threads, and are given in the unit of the value beside them; ratios above 1 are "
                + "better than the limit or the peer. What each of them is stands in the module's README. "
                + "Raw results: [" + RAW + "](" + RAW + "), [" + SUMMARY + "](" + SUMMARY + ").");
        limits();
        DisturbanceSection.write(page, measured);
        bars();
    }

    private void limits() {
        page.paragraph("## Limits of this machine");
        page.line("");
        page.table("threads", "FP32 FMA, GFLOP/s", "BF16 dot products, GFLOP/s", "read, GB/s",
                "copy (read + written), GB/s");
        for (int threads : threads()) {
            Limits l = Limits.of(measured, threads, "cpu");
            Limits dots = Limits.of(measured, threads, "native");
            page.cells(String.valueOf(threads), Page.plain(l.flops()), dots.peak().equals(Limits.DOT_PEAK)
                    ? Page.plain(dots.flops()) : "not measured", Page.plain(l.read()), Page.plain(l.copied()));
        }
    }

    private void bars() {
        List<Bar> bars = Bar.of(measured);
        if (bars.isEmpty()) {
            return;
        }
        page.paragraph("## Bars");
        page.paragraph("What Octet means to reach: " + bars.stream().filter(Bar::met).count() + " of " + bars.size()
                + " met. What limits those that are missed, with the machine code or the times that show it, is in the "
                + "project's benchmarks/docs/bars.md.");
        page.line("");
        page.table("case", "is", "value", "bar", "outcome");
        for (Bar b : bars) {
            page.cells(b.of(), b.measure(), Page.digits(b.value(), b.atMost()),
                    (b.atMost() ? "at most " : "") + Page.digits(b.bar(), !b.atMost()),
                    b.outcome().equals("missed") ? "**missed**" : b.outcome());
        }
    }

    private void body(Plots plots) throws IOException {
        Map<String, List<Row>> shapes = new LinkedHashMap<>();
        for (Row r : rows) {
            if (r.benchmark().equals("gemm.fprop")) {
                shapes.computeIfAbsent(r.params().get("n") + "x" + r.params().get("k"), s -> new ArrayList<>()).add(r);
            }
        }
        if (!shapes.isEmpty()) {
            page.paragraph("## GEMM, forward: activations 1x128, weights 128x128, BF16 result");
            page.paragraph("Decoding is inside the measured time. With M of 1 and 4 the unit is bytes of weights a "
                    + "second, and the limit is reading them once.");
            int most = new TreeSet<>(threads()).last();
            for (Map.Entry<String, List<Row>> shape : shapes.entrySet()) {
                String file = "gemm-" + shape.getKey() + ".png";
                plots.gemm(file, shape.getKey(), shape.getValue().stream().filter(r -> r.threads() == most).toList(),
                        Limits.of(measured, most, shape.getValue().getFirst().backend()));
                page.paragraph("### N x K = " + shape.getKey());
                page.paragraph("![GEMM " + shape.getKey() + "](" + file + ")");
                rows(shape.getValue()::contains, "m");
            }
            List<Row> few = rows.stream().filter(r -> r.benchmark().equals("gemm.fprop") && r.unit().equals("GB/s"))
                    .toList();
            if (!few.isEmpty()) {
                plots.rates("gemm-weights.png", "Weight bytes read by a product of few rows", few,
                        List.of("m", "n", "k"));
                page.paragraph("### Bytes of weights a second");
                page.paragraph("![Weight bytes](gemm-weights.png)");
            }
            scaling();
        }
        section("GEMM, other pairings", r -> r.benchmark().matches("gemm\\.(dgrad|wgrad|row|tensor)"), "m", "n", "k");
        section("Grouped GEMM over experts", r -> r.benchmark().equals("gemm.grouped"), "groups", "rows", "n", "k");
        section("Tokens to experts and back", r -> r.benchmark().matches("moe\\.(permute|reduce)"), "tokens", "topK",
                "hidden", "dtype");
        section("Time to the first result of a fresh JVM", r -> r.benchmark().equals("startup.gemm"));
        Predicate<Row> element = r -> r.benchmark().matches("(quantize|dequantize|cast)\\..*");
        if (section("Quantising, dequantising, casting", element, "rows", "columns", "dtype")) {
            plots.rates("quantize.png", "Bytes read and written", rows.stream().filter(element).toList(),
                    List.of("dtype"));
            page.paragraph("![Quantising](quantize.png)");
        }
        DecodeSection decode = new DecodeSection(page, measured, sources);
        if (decode.write(plots)) {
            decode.peers();
            decode.memory();
        }
        section("Latent attention, prefill", r -> r.benchmark().equals("mla.prefill"), "heads", "tokens", "dtype");
        section("Latent attention, compression of one token", r -> r.benchmark().equals("mla.compress"), "n", "k");
        section("Latent attention, a matrix for each head", r -> r.benchmark().equals("mla.absorb"), "tokens", "heads",
                "weight");
        section("The gate of a mixture of experts", r -> r.benchmark().equals("moe.gate"), "tokens");
        section("The product in front of the gate", r -> r.benchmark().equals("moe.router"), "tokens", "n", "k",
                "dtype");
    }

    private boolean section(String title, Predicate<Row> of, String... params) {
        if (rows.stream().noneMatch(of)) {
            return false;
        }
        page.paragraph("## " + title);
        rows(of, params);
        return true;
    }

    private void rows(Predicate<Row> of, String... params) {
        page.line("");
        List<String> head = new ArrayList<>(List.of("benchmark"));
        head.addAll(List.of(params));
        head.addAll(List.of("threads", "value", "unit", "spread", "limit", "of limit", "limit is", "peer", "x peer",
                "peer is", "B/op"));
        if (DisturbanceSection.isNeeded(measured)) {
            head.add("iterations");
        }
        page.table(head.toArray(String[]::new));
        for (Row r : rows) {
            if (of.test(r)) {
                List<String> cells = new ArrayList<>(List.of(r.benchmark()));
                for (String p : params) {
                    cells.add(String.valueOf(r.params().get(p)));
                }
                Measurement source = sources.get(r);
                cells.addAll(List.of(String.valueOf(r.threads()), Page.plain(r.value()), r.unit(),
                        Page.percent(source.spread()), Page.plain(r.limit()), Page.ratio(r.ratioToLimit()),
                        Double.isNaN(r.limit()) || r.limitKind() == null ? "" : r.limitKind(), Page.plain(r.peer()),
                        Page.ratio(r.ratioToPeer()), Double.isNaN(r.peer()) || r.peerKind() == null ? "" : r.peerKind(),
                        Page.plain(source.allocated())));
                if (DisturbanceSection.isNeeded(measured)) {
                    cells.add(DisturbanceSection.iterations(source));
                }
                page.cells(cells.toArray(String[]::new));
            }
        }
    }

    private void scaling() {
        List<String[]> found = new ArrayList<>();
        for (Row one : rows) {
            for (Row more : rows) {
                if (one.threads() == 1 && more.threads() > 1 && one.benchmark().equals("gemm.fprop")
                        && one.benchmark().equals(more.benchmark()) && one.params().equals(more.params())) {
                    found.add(new String[] {String.valueOf(one.params().get("m")),
                            one.params().get("n") + "x" + one.params().get("k"), String.valueOf(more.threads()),
                            Page.ratio(more.value() / one.value()), Page.ratio(more.limit() / one.limit())});
                }
            }
        }
        if (!found.isEmpty()) {
            page.paragraph("### Threads");
            page.line("");
            page.table("m", "N x K", "threads", "times as fast as one", "the FMA probe's own factor");
            found.forEach(page::cells);
        }
    }

    private List<Integer> threads() {
        return measured.keySet().stream().filter(Case::isOctet).map(c -> Integer.valueOf(c.params().get("threads")))
                .distinct().sorted().toList();
    }
}
