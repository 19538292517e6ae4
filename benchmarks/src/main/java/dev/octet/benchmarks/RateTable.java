package dev.octet.benchmarks;

import dev.octet.benchmarks.suite.Row;
import java.io.PrintWriter;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** What {@code octet bench} shows at its end: a line for each case, beside its limit and its peer. */
final class RateTable {
    private RateTable() {}

    /** Prints nothing where nothing was measured. */
    static void print(List<Row> rows, PrintWriter out) {
        if (rows.isEmpty()) {
            return;
        }
        int names = rows.stream().mapToInt(r -> name(r).length()).max().getAsInt();
        int limits = rows.stream().mapToInt(r -> kind(r.ratioToLimit(), r.limitKind()).length()).max().getAsInt();
        String format = "%-" + names + "s  %9s  %-9s  %8s  %-" + Math.max(5, limits) + "s  %6s  %s";
        out.println();
        line(out, format, "", "value", "", "of limit", "limit", "x peer", "peer");
        for (Row r : rows) {
            line(out, format, name(r), significant(r.value()), r.unit(), ratio(r.ratioToLimit()),
                    kind(r.ratioToLimit(), r.limitKind()), ratio(r.ratioToPeer()), kind(r.ratioToPeer(), r.peerKind()));
        }
        out.flush();
    }

    private static void line(PrintWriter out, String format, Object... cells) {
        out.println(String.format(Locale.ROOT, format, cells).stripTrailing());
    }

    private static String name(Row r) {
        String params = r.params().entrySet().stream().map(e -> " " + e.getKey() + "=" + e.getValue())
                .collect(Collectors.joining());
        return r.benchmark() + params + ", " + r.backend() + ", " + r.threads()
                + (r.threads() == 1 ? " thread" : " threads") + (r.counted().disturbed() ? ", disturbed" : "");
    }

    private static String significant(double d) {
        return String.format(Locale.ROOT, d >= 99.95 ? "%.0f" : d >= 9.995 ? "%.1f" : d >= 0.9995 ? "%.2f" : "%.3f", d);
    }

    private static String ratio(double d) {
        return Double.isFinite(d) ? String.format(Locale.ROOT, "%.2f", d) : "";
    }

    private static String kind(double ratio, @Nullable String kind) {
        return Double.isFinite(ratio) && kind != null ? kind : "";
    }
}
