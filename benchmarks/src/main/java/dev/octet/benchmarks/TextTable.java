package dev.octet.benchmarks;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Rows of cells in columns as wide as their widest cell: the first to the left, the others to the right. */
final class TextTable {
    private final List<List<String>> rows = new ArrayList<>();

    void row(String first, List<String> others) {
        List<String> cells = new ArrayList<>();
        cells.add(first);
        cells.addAll(others);
        rows.add(cells);
    }

    void row(String first, String... others) {
        row(first, List.of(others));
    }

    void print(PrintWriter out) {
        int columns = rows.stream().mapToInt(List::size).max().orElse(0);
        int[] widths = new int[columns];
        for (List<String> r : rows) {
            for (int i = 0; i < r.size(); i++) {
                widths[i] = Math.max(widths[i], r.get(i).length());
            }
        }
        for (List<String> r : rows) {
            StringBuilder line = new StringBuilder();
            for (int i = 0; i < r.size(); i++) {
                String space = " ".repeat(widths[i] - r.get(i).length());
                line.append(i == 0 ? r.get(i) + space : "  " + space + r.get(i));
            }
            out.println(line.toString().stripTrailing());
        }
    }

    static String count(long n) {
        return String.format(Locale.ROOT, "%,d", n);
    }

    static String fixed(int decimals, double x) {
        return String.format(Locale.ROOT, "%,." + decimals + "f", x);
    }
}
