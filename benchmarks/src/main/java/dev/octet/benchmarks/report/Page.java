package dev.octet.benchmarks.report;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.Locale;

/** A page of Markdown, written from top to bottom, and how figures are written on it. */
final class Page {
    private final StringBuilder out = new StringBuilder();

    String text() {
        return out.toString();
    }

    void line(String text) {
        out.append(text).append('\n');
    }

    /** Text with an empty line before it. */
    void paragraph(String text) {
        line("");
        line(text);
    }

    void table(String... head) {
        cells(head);
        line("|" + "---|".repeat(head.length));
    }

    void cells(String... cells) {
        StringBuilder row = new StringBuilder("|");
        for (String cell : cells) {
            row.append(' ').append(cell.replace("|", "\\|")).append(" |");
        }
        line(row.toString());
    }

    /** Four significant digits, without an exponent; nothing for what is not there. */
    static String plain(double d) {
        if (!Double.isFinite(d)) {
            return "";
        }
        int decimals = d == 0 ? 0 : Math.clamp(3 - (int) Math.floor(Math.log10(Math.abs(d))), 0, 6);
        return String.format(Locale.ROOT, "%." + decimals + "f", d);
    }

    /** Three digits after the point, rounded so that nothing seems to reach a bar that does not. */
    static String digits(double d, boolean up) {
        return Double.isFinite(d) ? BigDecimal.valueOf(d).setScale(3, up ? RoundingMode.CEILING : RoundingMode.FLOOR)
                .stripTrailingZeros().toPlainString() : "";
    }

    static String ratio(double d) {
        return Double.isFinite(d) ? String.format(Locale.ROOT, "%.2f", d) : "";
    }

    static String percent(double d) {
        return String.format(Locale.ROOT, "%.1f %%", 100 * d);
    }
}
