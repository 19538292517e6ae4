package dev.octet.benchmarks.suite;

import dev.octet.core.DType;
import dev.octet.fp8.Granularity;
import dev.octet.mla.CacheFormat;
import dev.octet.moe.GateConfig;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * One object of the summary: a rate of Octet beside the limit and the peer of the same run, all three in one unit, of
 * which more is better. The one exception is a time to the first result, in seconds, of which less is better; its
 * ratios are turned round, so that more is better in every ratio.
 *
 * @param benchmark the case's name, for example {@code gemm.fprop}
 * @param backend the implementation
 * @param threads how many threads it and its limit and peer had
 * @param params sizes, and types where they differ between cases of one name
 * @param value what was measured
 * @param unit {@code GFLOP/s}, {@code GB/s}, {@code Mtokens/s} or {@code s}
 * @param limit what the machine allows, or NaN
 * @param limitKind what kind of limit that is, or null
 * @param peer what the peer reaches with the same work, or NaN
 * @param peerKind which peer that is, or null
 * @param counted how many iterations the value comes from
 */
public record Row(String benchmark, String backend, int threads, Map<String, Object> params, double value, String unit,
        double limit, @Nullable String limitKind, double peer, @Nullable String peerKind, Counted counted) {
    private static final String SECONDS = "s";

    private Row(String benchmark, String backend, int threads, Map<String, Object> params, double value, String unit,
            double limit, @Nullable String limitKind, double peer, @Nullable String peerKind) {
        this(benchmark, backend, threads, params, value, unit, limit, limitKind, peer, peerKind,
                Counted.unwitnessed(1));
    }

    /**
     * Makes the summary.
     *
     * @param all everything that was measured, probes and peers included
     * @return one row for each case that measures Octet
     */
    public static List<Row> of(Map<Case, Measurement> all) {
        return List.copyOf(byCase(all).values());
    }

    /**
     * The same with the cases that the rows are of.
     *
     * @param all everything that was measured, probes and peers included
     * @return rows by case, in the order in which they were measured
     */
    public static Map<Case, Row> byCase(Map<Case, Measurement> all) {
        Map<Case, Row> rows = new LinkedHashMap<>();
        all.forEach((c, m) -> {
            if (c.isOctet()) {
                rows.put(c, of(c, m, all).with(m.counted()));
            }
        });
        return rows;
    }

    private Row with(Counted own) {
        return new Row(benchmark, backend, threads, params, value, unit, limit, limitKind, peer, peerKind, own);
    }

    private static Row of(Case c, Measurement m, Map<Case, Measurement> all) {
        Limits limits = Limits.of(all, c);
        if (!c.isStartup()) {
            Peer peer = Peer.of(c, all);
            return c.method().startsWith("GemmBenchmark.") ? gemm(c, m.nanos(), limits, peer)
                    : c.method().startsWith("QuantizeBenchmark.") ? quantize(c, m.nanos(), limits, peer)
                    : c.method().startsWith("GroupedBenchmark.") ? grouped(c, m.nanos(), limits, peer)
                    : c.method().startsWith("PermuteBenchmark.") ? permute(c, m.nanos(), limits, peer)
                    : c.method().equals("MoeBenchmark.gate") ? gate(c, m.nanos(), limits, peer)
                    : c.method().equals("MoeBenchmark.router") ? router(c, m.nanos(), limits, peer)
                    : c.method().equals("MoeBenchmark.layer") ? layer(c, m.nanos(), limits, peer)
                    : c.method().startsWith("DowncallBenchmark.") ? downcall(c, m.nanos())
                    : c.method().startsWith("SmallBenchmark.") ? small(c, m.nanos(), peer)
                    : mla(c, m.nanos(), limits, peer);
        }
        Measurement jvm = all.get(Limits.probes(c).getFirst());
        double limit = jvm == null ? Double.NaN : jvm.nanos() * 1e-9;
        return new Row(c.name(), c.text("backend"), c.threads(), Map.of(), m.nanos() * 1e-9, SECONDS, limit,
                "start of a JVM that does nothing", Double.NaN, null);
    }

    /** The fastest of the peers that were measured; if none was, the time is NaN. */
    private record Peer(double nanos, @Nullable String kind) {
        static Peer of(Case c, Map<Case, Measurement> all) {
            Peer best = null;
            for (Case other : Limits.peers(c)) {
                Measurement m = all.get(other);
                Peer peer = new Peer(m == null ? Double.NaN : m.nanos(), Limits.peerKind(other));
                if (best == null || Double.isNaN(best.nanos) || peer.nanos < best.nanos) {
                    best = peer;
                }
            }
            return best == null ? new Peer(Double.NaN, null) : best;
        }
    }

    private static Row gemm(Case c, double nanos, Limits limits, Peer peer) {
        long m = c.number("m");
        long n = c.number("n");
        long k = c.number("k");
        boolean few = m <= Limits.FEW_ROWS;
        boolean many = m >= Limits.MANY_ROWS;
        double work = few ? weightBytes(c) : 2.0 * m * n * k;
        return new Row(c.name(), c.text("backend"), c.threads(), params("m", m, "n", n, "k", k), work / nanos,
                few ? "GB/s" : "GFLOP/s", few ? limits.productFlops(m) / (2 * m) : limits.productFlops(m),
                few && limits.readingLimits(m) ? Limits.READ : few || many ? limits.peak() : "line from read bandwidth to " + limits.peak(),
                work / peer.nanos(), peer.kind());
    }

    private static Row downcall(Case c, double nanos) {
        return new Row(c.name(), c.text("backend"), c.threads(), Map.of(), 1e3 / nanos, "calls/us", Double.NaN,
                "none", Double.NaN, null);
    }

    private static Row small(Case c, double nanos, Peer peer) {
        return new Row(c.name(), c.text("backend"), c.threads(),
                params("m", c.number("m"), "n", c.number("n"), "k", c.number("k")), 1e3 / nanos, "calls/us", Double.NaN,
                "none", 1e3 / peer.nanos(), peer.kind());
    }

    private static Row grouped(Case c, double nanos, Limits limits, Peer peer) {
        long groups = c.number("groups");
        long n = c.number("n");
        long k = c.number("k");
        Map<String, Object> params = params("groups", groups, "rows", c.number("rows"), "n", n, "k", k);
        if (c.number("rows") == 1) {
            return weights(c, params, groups * weightBytes(c), nanos, limits, peer);
        }
        double work = 2.0 * Limits.groupedRows(c) * n * k;
        return new Row(c.name(), c.text("backend"), c.threads(), params, work / nanos, "GFLOP/s", limits.flops(),
                limits.peak(), work / peer.nanos(), peer.kind());
    }

    /** With one token the weights' bytes, with many the arithmetic of all projections. */
    private static Row layer(Case c, double nanos, Limits limits, Peer peer) {
        long tokens = c.number("tokens");
        Map<String, Object> params = params("tokens", tokens);
        if (tokens < Limits.MANY_ROWS) {
            return weights(c, params, ExpertsWork.weightBytes(tokens), nanos, limits, peer);
        }
        double work = ExpertsWork.flops(tokens);
        return new Row(c.name(), c.text("backend"), c.threads(), params, work / nanos, "GFLOP/s", limits.flops(),
                limits.peak(), work / peer.nanos(), peer.kind());
    }

    /** Rows read and rows written, each once. */
    private static Row permute(Case c, double nanos, Limits limits, Peer peer) {
        long tokens = c.number("tokens");
        long topK = c.number("topK");
        long hidden = c.number("hidden");
        double bytes = (double) DType.valueOf(c.text("dtype")).byteSize() * tokens * (topK + 1) * hidden;
        return new Row(c.name(), c.text("backend"), c.threads(),
                params("tokens", tokens, "topK", topK, "hidden", hidden, "dtype", c.text("dtype")), bytes / nanos,
                "GB/s", limits.copied(), "copy bandwidth", bytes / peer.nanos(), peer.kind());
    }

    /** Bytes of B: its codes and the scales that its pairing gives it. */
    static double weightBytes(Case c) {
        long n = c.number("n");
        long k = c.number("k");
        Granularity g = switch (c.method()) {
            case "GemmBenchmark.wgrad" -> Granularity.BLOCK_1X128;
            case "GemmBenchmark.row" -> Granularity.ROW;
            case "GemmBenchmark.tensor" -> Granularity.TENSOR;
            default -> Granularity.BLOCK_128X128;
        };
        return (double) n * k + Float.BYTES * (double) g.scaleShape(n, k).elements();
    }

    private static Row mla(Case c, double nanos, Limits limits, Peer peer) {
        return switch (c.method()) {
            case "MlaBenchmark.decode" -> {
                long heads = c.number("heads");
                long batch = c.number("batch");
                long context = c.number("context");
                yield attention(c, params("heads", heads, "batch", batch, "context", context, "cache", c.text("cache")),
                        AttentionWork.decode(heads, batch, context, CacheFormat.valueOf(c.text("cache"))), nanos,
                        limits, peer);
            }
            case "MlaBenchmark.prefill" -> {
                long heads = c.number("heads");
                long tokens = c.number("tokens");
                yield attention(c, params("heads", heads, "tokens", tokens, "dtype", c.text("dtype")),
                        AttentionWork.prefill(heads, tokens, DType.valueOf(c.text("dtype")).byteSize()), nanos, limits,
                        peer);
            }
            case "MlaBenchmark.compress" -> weights(c, params("n", c.number("n"), "k", c.number("k")), weightBytes(c),
                    nanos, limits, peer);
            default -> weights(c, params("tokens", c.number("tokens"), "heads", c.number("heads"), "weight",
                    c.text("weight")), AttentionWork.absorbedBytes(c.number("heads")) / 2, nanos, limits, peer);
        };
    }

    private static Row attention(Case c, Map<String, Object> params, AttentionWork work, double nanos, Limits limits,
            Peer peer) {
        return new Row(c.name(), c.text("backend"), c.threads(), params, work.flops() / nanos, "GFLOP/s",
                limits.roofline(work), limits.readingLimits(work) ? Limits.READ : limits.peak(),
                work.flops() / peer.nanos(), peer.kind());
    }

    private static Row weights(Case c, Map<String, Object> params, double bytes, double nanos, Limits limits,
            Peer peer) {
        return new Row(c.name(), c.text("backend"), c.threads(), params, bytes / nanos, "GB/s", limits.read(),
                Limits.READ, bytes / peer.nanos(), peer.kind());
    }

    /** The limit is reading the logits once. */
    private static Row gate(Case c, double nanos, Limits limits, Peer peer) {
        double tokens = c.number("tokens");
        return new Row(c.name(), c.text("backend"), c.threads(), params("tokens", c.number("tokens")),
                1e3 * tokens / nanos, "Mtokens/s", 1e3 * limits.read() / (Float.BYTES * GateConfig.V3.experts()),
                Limits.READ, 1e3 * tokens / peer.nanos(), peer.kind());
    }

    /** What takes longer, reading all operands once or the arithmetic at its peak. */
    private static Row router(Case c, double nanos, Limits limits, Peer peer) {
        long tokens = c.number("tokens");
        long n = c.number("n");
        long k = c.number("k");
        double work = 2.0 * tokens * n * k;
        double bytes = DType.valueOf(c.text("dtype")).byteSize() * (double) (tokens + n) * k
                + (double) Float.BYTES * tokens * n;
        double reading = limits.read() * work / bytes;
        return new Row(c.name(), c.text("backend"), c.threads(),
                params("tokens", tokens, "n", n, "k", k, "dtype", c.text("dtype")), work / nanos, "GFLOP/s",
                Math.min(reading, limits.flops()), reading < limits.flops() ? Limits.READ : Limits.PEAK,
                work / peer.nanos(), peer.kind());
    }

    private static Row quantize(Case c, double nanos, Limits limits, Peer peer) {
        long rows = c.number("rows");
        long columns = c.number("columns");
        double bytes = (double) rows * columns * (1 + (c.text("dtype").equals("F32") ? 4 : 2));
        if (!c.method().equals("QuantizeBenchmark.cast")) {
            bytes += Float.BYTES * (double) c.granularity().scaleShape(rows, columns).elements();
        }
        return new Row(c.name(), c.text("backend"), c.threads(),
                params("rows", rows, "columns", columns, "dtype", c.text("dtype")), bytes / nanos, "GB/s",
                limits.copied(), "copy bandwidth", bytes / peer.nanos(), peer.kind());
    }

    private static Map<String, Object> params(Object... entries) {
        Map<String, Object> map = new LinkedHashMap<>();
        for (int i = 0; i < entries.length; i += 2) {
            map.put((String) entries[i], entries[i + 1]);
        }
        return map;
    }

    /** {@return how close to the limit, 1 being there, or NaN} */
    public double ratioToLimit() {
        return unit.equals(SECONDS) ? limit / value : value / limit;
    }

    /** {@return how many times as fast as the peer, or NaN} */
    public double ratioToPeer() {
        return unit.equals(SECONDS) ? peer / value : value / peer;
    }

    /** {@return the object as it stands in the summary: limit, peer and ratios that are not there are null} */
    public Map<String, @Nullable Object> toJson() {
        Map<String, @Nullable Object> json = new LinkedHashMap<>();
        json.put("benchmark", benchmark);
        json.put("backend", backend);
        json.put("threads", threads);
        json.put("params", params);
        json.put("value", value);
        json.put("unit", unit);
        json.put("limit", limit);
        json.put("limitKind", Double.isNaN(limit) ? null : limitKind);
        json.put("peer", peer);
        json.put("peerKind", Double.isNaN(peer) ? null : peerKind);
        json.put("ratioToLimit", ratioToLimit());
        json.put("ratioToPeer", ratioToPeer());
        json.put("iterations", counted.all());
        json.put("counted", counted.count());
        json.put("disturbed", counted.disturbed());
        return json;
    }

    /**
     * Writes the summary.
     *
     * @param rows its rows
     * @return a JSON array, one object on each line
     */
    public static String summary(List<Row> rows) {
        return Json.write(rows.stream().map(Row::toJson).toList());
    }
}
