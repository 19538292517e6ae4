package dev.octet.benchmarks.report;

import dev.octet.benchmarks.suite.Bar;
import dev.octet.benchmarks.suite.Limits;
import dev.octet.benchmarks.suite.Row;
import java.awt.BasicStroke;
import java.awt.Color;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategoryChartBuilder;
import org.knowm.xchart.CategorySeries;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.internal.chartpart.Chart;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.markers.Marker;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Plots as PNG files in one folder: what Octet reaches in blue, the limit as a dashed line, the peer in orange. */
final class Plots {
    private static final Color OCTET = new Color(0x1f77b4);
    private static final Color PEER = new Color(0xff7f0e);
    private static final Color LIMIT = new Color(0x444444);
    private static final Color FEW_HEADS = new Color(0x2ca02c);
    private static final int MANY_HEADS = 64;
    private static final BasicStroke LINE = new BasicStroke(2f);
    private static final BasicStroke DASHES =
            new BasicStroke(1.5f, BasicStroke.CAP_BUTT, BasicStroke.JOIN_ROUND, 10f, new float[] {6f, 4f}, 0f);
    private static final int WIDTH = 900;
    private static final int HEIGHT = 520;

    private final Path folder;

    Plots(Path folder) {
        System.setProperty("java.awt.headless", "true");
        this.folder = folder;
    }

    /** Arithmetic rate against rows, both axes logarithmic. */
    void gemm(String file, String shape, List<Row> rows, Limits limits) throws IOException {
        XYChart chart = new XYChartBuilder().width(WIDTH).height(HEIGHT).title("FP8 GEMM, N x K = " + shape + ", "
                + rows.getFirst().threads() + " threads").xAxisTitle("M").yAxisTitle("GFLOP/s").build();
        style(chart.getStyler());
        chart.getStyler().setXAxisLogarithmic(true);
        chart.getStyler().setYAxisLogarithmic(true);
        List<Row> sorted = rows.stream().sorted(Comparator.comparingLong(Plots::m)).toList();
        List<Double> m = sorted.stream().map(r -> (double) m(r)).toList();
        series(chart, "Octet FP8", m, sorted.stream().map(r -> gflops(r, r.value())).toList(), OCTET, LINE,
                SeriesMarkers.CIRCLE);
        peer(chart, "LibTorch BF16", sorted);
        peer(chart, "LibTorch FP32", sorted);
        if (sorted.stream().allMatch(r -> Double.isFinite(r.limit()))) {
            series(chart, "limit", m, sorted.stream().map(r -> gflops(r, r.limit())).toList(), LIMIT, DASHES,
                    SeriesMarkers.NONE);
        }
        if (m.size() > 1 && Double.isFinite(limits.flops())) {
            series(chart, limits.peak(), List.of(m.getFirst(), m.getLast()), List.of(limits.flops(), limits.flops()),
                    Color.RED.darker(), DASHES, SeriesMarkers.NONE);
        }
        save(chart, file);
    }

    /** The part of the roofline that is reached against cached tokens: a colour for a model, circles for batch 1. */
    void decode(String file, Map<String, List<Row>> series) throws IOException {
        XYChart chart = new XYChartBuilder().width(WIDTH).height(HEIGHT).title("Decoding over a latent cache")
                .xAxisTitle("cached tokens of each sequence").yAxisTitle("of the roofline").build();
        style(chart.getStyler());
        chart.getStyler().setLegendPosition(Styler.LegendPosition.OutsideE);
        chart.getStyler().setLegendLayout(Styler.LegendLayout.Vertical);
        chart.getStyler().setYAxisMin(0.0);
        // Contexts are powers of two; a logarithmic axis would show those of ten alone.
        chart.setCustomXAxisTickLabelsFormatter(
                x -> x == Math.rint(x) ? String.valueOf(Math.round(Math.pow(2, x))) : "");
        double most = series.values().stream().flatMap(List::stream).mapToDouble(Row::ratioToLimit)
                .filter(Double::isFinite).max().orElse(1);
        chart.getStyler().setYAxisMax(Math.max(1, most * 1.05));
        double first = Double.POSITIVE_INFINITY;
        double last = 0;
        for (Map.Entry<String, List<Row>> s : series.entrySet()) {
            List<Row> rows = s.getValue().stream().filter(r -> Double.isFinite(r.ratioToLimit()))
                    .sorted(Comparator.comparingDouble(Plots::log2)).toList();
            if (!rows.isEmpty()) {
                boolean fp8 = !"BF16".equals(rows.getFirst().params().get("cache"));
                Color color = DecodeSection.number(rows.getFirst(), "heads") < MANY_HEADS
                        ? fp8 ? FEW_HEADS.brighter() : FEW_HEADS : fp8 ? OCTET.brighter() : OCTET;
                series(chart, s.getKey(), rows.stream().map(Plots::log2).toList(),
                        rows.stream().map(Row::ratioToLimit).toList(), color, fp8 ? DASHES : LINE,
                        DecodeSection.number(rows.getFirst(), "batch") == 1 ? SeriesMarkers.CIRCLE
                                : SeriesMarkers.SQUARE);
                first = Math.min(first, log2(rows.getFirst()));
                last = Math.max(last, log2(rows.getLast()));
            }
        }
        if (first < last) {
            series(chart, "bar", List.of(first, last), List.of(Bar.OF_ROOFLINE, Bar.OF_ROOFLINE), LIMIT, DASHES,
                    SeriesMarkers.NONE);
        }
        save(chart, file);
    }

    private static double log2(Row r) {
        return Math.log(DecodeSection.number(r, "context")) / Math.log(2);
    }

    private static void peer(XYChart chart, String name, List<Row> rows) {
        List<Row> with = rows.stream()
                .filter(r -> Double.isFinite(r.peer()) && r.peerKind() != null && r.peerKind().startsWith(name))
                .toList();
        if (!with.isEmpty()) {
            series(chart, name, with.stream().map(r -> (double) m(r)).toList(),
                    with.stream().map(r -> gflops(r, r.peer())).toList(), name.endsWith("FP32") ? PEER : PEER.darker(),
                    LINE, name.endsWith("FP32") ? SeriesMarkers.SQUARE : SeriesMarkers.TRIANGLE_UP);
        }
    }

    private static void series(XYChart chart, String name, List<Double> x, List<Double> y, Color color,
            BasicStroke line, Marker marker) {
        XYSeries s = chart.addSeries(name, x, y);
        s.setMarkerColor(color);
        s.setMarker(marker);
        s.setLineColor(color).setLineStyle(line);
    }

    /** Rates as bars, with the limit as a line through them. */
    void rates(String file, String title, List<Row> rows, List<String> params) throws IOException {
        CategoryChart chart = new CategoryChartBuilder().width(WIDTH).height(HEIGHT).title(title)
                .yAxisTitle(rows.getFirst().unit()).build();
        style(chart.getStyler());
        chart.getStyler().setXAxisLabelRotation(45);
        chart.getStyler().setAvailableSpaceFill(0.8);
        List<String> labels = rows.stream().map(r -> label(r, params)).toList();
        bars(chart, "Octet", labels, rows.stream().map(Row::value).toList(), OCTET);
        if (rows.stream().anyMatch(r -> Double.isFinite(r.peer()))) {
            bars(chart, "LibTorch", labels, rows.stream().map(r -> Double.isFinite(r.peer()) ? r.peer() : 0.0).toList(),
                    PEER);
        }
        if (rows.stream().allMatch(r -> Double.isFinite(r.limit()))) {
            CategorySeries limit = chart.addSeries(String.valueOf(rows.getFirst().limitKind()), labels,
                    rows.stream().map(Row::limit).toList());
            limit.setChartCategorySeriesRenderStyle(CategorySeries.CategorySeriesRenderStyle.Line);
            limit.setMarker(SeriesMarkers.NONE);
            limit.setLineColor(LIMIT).setLineStyle(DASHES);
        }
        save(chart, file);
    }

    private static void bars(CategoryChart chart, String name, List<String> labels, List<Double> values, Color color) {
        chart.addSeries(name, labels, values).setFillColor(color);
    }

    private static String label(Row r, List<String> params) {
        List<String> parts = new ArrayList<>();
        if (!r.benchmark().startsWith("gemm")) {
            parts.add(r.benchmark());
        }
        params.forEach(p -> parts.add(p.equals("m") ? "M=" + r.params().get(p) : String.valueOf(r.params().get(p))));
        parts.add(r.threads() + "T");
        return String.join(" ", parts);
    }

    private static void style(Styler styler) {
        styler.setChartBackgroundColor(Color.WHITE);
        styler.setLegendBorderColor(Color.WHITE);
        styler.setLegendPosition(Styler.LegendPosition.OutsideS);
        styler.setLegendLayout(Styler.LegendLayout.Horizontal);
    }

    private static long m(Row r) {
        return r.params().get("m") instanceof Long m ? m : 0;
    }

    /**
     * A rate as arithmetic, whatever its unit: a byte of weights stands for its multiply-adds. Codes are a byte each,
     * and the scales of 128x128 blocks too few to be seen in a plot.
     */
    private static double gflops(Row r, double rate) {
        return r.unit().equals("GFLOP/s") ? rate : 2.0 * m(r) * rate;
    }

    private void save(Chart<?, ?> chart, String file) throws IOException {
        BitmapEncoder.saveBitmap(chart, folder.resolve(file).toString(), BitmapEncoder.BitmapFormat.PNG);
    }
}
