package dev.octet.benchmarks.report;

import dev.octet.benchmarks.suite.AttentionWork;
import dev.octet.benchmarks.suite.Case;
import dev.octet.benchmarks.suite.Limits;
import dev.octet.benchmarks.suite.Measurement;
import dev.octet.benchmarks.suite.Row;
import dev.octet.mla.CacheFormat;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Decoding over a latent cache: what the roofline allows and what is reached of it. */
final class DecodeSection {
    private static final String PLOT = "mla-decode.png";

    private final Page page;
    private final Map<Case, Measurement> measured;
    private final Map<Row, Measurement> rows = new LinkedHashMap<>();

    DecodeSection(Page page, Map<Case, Measurement> measured, Map<Row, Measurement> sources) {
        this.page = page;
        this.measured = measured;
        sources.forEach((row, source) -> {
            if (row.benchmark().equals("mla.decode")) {
                rows.put(row, source);
            }
        });
    }

    /** Writes the section unless nothing of it was measured; whether it did. */
    boolean write(Plots plots) throws IOException {
        if (rows.isEmpty()) {
            return false;
        }
        page.paragraph("## Latent attention, decoding: one token of each sequence, absorbed form");
        page.paragraph("A query and a cached token take 2 x heads x (576 + 512) operations, and the cache is read once "
                + "for all heads. The roofline is the lower of two rates: the FMA peak, and what reading the cache "
                + "allows. DeepSeek-V3 has 128 heads, DeepSeek-V2-Lite 16.");
        Map<String, List<Row>> series = new LinkedHashMap<>();
        for (Row r : rows.keySet()) {
            series.computeIfAbsent(model(r) + ", batch " + r.params().get("batch") + ", " + r.params().get("cache"),
                    name -> new ArrayList<>()).add(r);
        }
        plots.decode(PLOT, series);
        page.paragraph("![Decoding](" + PLOT + ")");
        page.line("");
        page.table("heads", "cache", "batch", "context", "threads", "ms", "GFLOP/s", "spread", "FMA peak, GFLOP/s",
                "reading allows, GFLOP/s", "roofline is", "of roofline", "x peer", "peer is", "B/op", "iterations");
        rows.forEach((r, source) -> {
            Limits limits = Limits.of(measured, source.of());
            page.cells(param(r, "heads"), param(r, "cache"), param(r, "batch"), param(r, "context"),
                    String.valueOf(r.threads()), Page.plain(source.nanos() * 1e-6), Page.plain(r.value()),
                    Page.percent(source.spread()), Page.plain(limits.flops()), Page.plain(limits.reading(work(r))),
                    Double.isFinite(r.limit()) ? String.valueOf(r.limitKind()) : "", Page.ratio(r.ratioToLimit()),
                    Page.ratio(r.ratioToPeer()), Double.isFinite(r.peer()) ? String.valueOf(r.peerKind()) : "",
                    Page.plain(source.allocated()), DisturbanceSection.iterations(source));
        });
        return true;
    }

    /** All ways in which LibTorch was asked for attention: the fastest is the peer. */
    void peers() {
        List<Case> asked = measured.keySet().stream().filter(c -> c.method().equals("TorchBenchmark.attention"))
                .toList();
        if (asked.isEmpty()) {
            return;
        }
        page.paragraph("### LibTorch's attention over keys and values of each head");
        page.paragraph("The fastest way for each case is its peer; several queries are causal.");
        page.line("");
        page.table("heads", "queries", "keys", "dtype", "threads", "as", "ms");
        for (Case c : asked) {
            Measurement m = measured.get(c);
            if (m != null) {
                Map<String, String> p = c.params();
                page.cells(p.get("heads"), p.get("queries"), p.get("keys"), p.get("dtype"), p.get("threads"),
                        Limits.peerKind(c), Page.plain(m.nanos() * 1e-6));
            }
        }
    }

    /** What the caches of one layer take. */
    void memory() {
        page.paragraph("### Memory of one layer's cache, one sequence");
        page.line("");
        page.table("heads", "context", "cache", "latent, MB", "keys and values of each head in BF16, MB", "is 1 /");
        Map<String, Row> each = new LinkedHashMap<>();
        for (Row r : rows.keySet()) {
            each.putIfAbsent(param(r, "heads") + " " + param(r, "context") + " " + param(r, "cache"), r);
        }
        for (Row r : each.values()) {
            double latent = AttentionWork.decode(1, 1, number(r, "context"), CacheFormat.valueOf(param(r, "cache")))
                    .bytes();
            double whole = AttentionWork.uncompressedBytes(number(r, "heads"), number(r, "context"));
            page.cells(param(r, "heads"), param(r, "context"), param(r, "cache"), Page.plain(latent * 1e-6),
                    Page.plain(whole * 1e-6), Page.plain(whole / latent));
        }
    }

    private static AttentionWork work(Row r) {
        return AttentionWork.decode(number(r, "heads"), number(r, "batch"), number(r, "context"),
                CacheFormat.valueOf(param(r, "cache")));
    }

    /** A model's name where the heads are those of one. */
    static String model(Row r) {
        long heads = number(r, "heads");
        return heads == 128 ? "V3" : heads == 16 ? "V2-Lite" : heads + " heads";
    }

    static long number(Row r, String key) {
        return r.params().get(key) instanceof Long n ? n : 0;
    }

    private static String param(Row r, String key) {
        return String.valueOf(r.params().get(key));
    }
}
