package dev.octet.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.benchmarks.suite.Json;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** The README's tables of products say what the reports say that they name. */
class ReadmeFiguresTest {
    private static final Path ROOT = Path.of(System.getProperty("basedir", "")).toAbsolutePath().getParent();
    private static final Pattern REPORT = Pattern.compile("\\((benchmarks/results/[^/)]+)/report\\.md\\)");
    private static final Pattern CELL = Pattern.compile("([\\d.]+) \\(([\\d.]+); ([\\d.]+)x\\)");

    @Test
    void productsAreThoseOfTheirReports() throws Exception {
        List<String> wrong = new ArrayList<>();
        int cells = 0;
        String report = "";
        String[] head = {};
        for (String line : Files.readAllLines(ROOT.resolve("README.md"))) {
            Matcher named = REPORT.matcher(line);
            if (named.find()) {
                report = named.group(1);
            }
            String[] row = line.split("\\|");
            if (line.startsWith("| N x K |")) {
                head = row;
            } else if (!line.startsWith("|")) {
                head = new String[0];
            } else if (head.length > 0 && row[1].matches(" \\d+ x \\d+ ")) {
                for (int i = 2; i < row.length; i++) {
                    cells++;
                    String m = head[i].replaceFirst("^ M = (\\d+).*", "$1");
                    String expected = cell(report, m, row[1].strip().split(" x "), row[i].strip());
                    if (!row[i].strip().equals(expected)) {
                        wrong.add(row[1] + "M = " + m + ":" + row[i] + "is " + expected + " in " + report);
                    }
                }
            }
        }
        assertEquals(List.of(), wrong);
        assertTrue(cells > 20, "cells found: " + cells);
    }

    /** The cell as it should be, with as many digits as it has. */
    private static String cell(String report, String m, String[] shape, String cell) throws Exception {
        Matcher figures = CELL.matcher(cell);
        if (!figures.matches()) {
            return "a value, its share of the limit and its multiple of the peer";
        }
        for (Object row : (List<?>) Json.parse(Files.readString(ROOT.resolve(report).resolve("summary.json")))) {
            Map<?, ?> r = (Map<?, ?>) row;
            Map<?, ?> p = (Map<?, ?>) r.get("params");
            if (r.get("benchmark").equals("gemm.fprop") && number(r.get("threads")) == 2
                    && number(p.get("m")) == Double.parseDouble(m) && number(p.get("n")) == Double.parseDouble(shape[0])
                    && number(p.get("k")) == Double.parseDouble(shape[1])) {
                return rounded(r.get("value"), figures.group(1)) + " (" + rounded(r.get("ratioToLimit"), figures.group(2))
                        + "; " + rounded(r.get("ratioToPeer"), figures.group(3)) + "x)";
            }
        }
        return "missing";
    }

    private static double number(Object value) {
        return ((Number) value).doubleValue();
    }

    /** A value with the digits of what is shown, which stays if it is a rounding of it in either direction of a tie. */
    private static String rounded(Object value, String shown) {
        int point = shown.indexOf('.');
        int digits = point < 0 ? 0 : shown.length() - point - 1;
        double unit = Math.pow(10, -digits);
        double exact = number(value);
        return Math.abs(exact - Double.parseDouble(shown)) <= 0.5001 * unit ? shown
                : String.format(Locale.ROOT, "%." + digits + "f", exact);
    }
}
