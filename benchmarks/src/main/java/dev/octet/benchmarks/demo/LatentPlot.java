package dev.octet.benchmarks.demo;

import dev.octet.benchmarks.demo.LatentStudy.Curve;
import dev.octet.benchmarks.demo.LatentStudy.Method;
import dev.octet.mla.factor.LatentError;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.markers.Marker;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** The curve that decides: what leaves the attention layers against what their cache takes. */
final class LatentPlot {
    private static final Color FREE = new Color(0xff7f0e);
    private static final Color AWARE = new Color(0x1f77b4);
    private static final Color UNCOMPRESSED = new Color(0x444444);
    private static final BasicStroke LINE = new BasicStroke(2f);
    private static final BasicStroke DASHES =
            new BasicStroke(1.5f, BasicStroke.CAP_BUTT, BasicStroke.JOIN_ROUND, 10f, new float[] {6f, 4f}, 0f);
    private static final Font TEXT = new Font(Font.SANS_SERIF, Font.PLAIN, 13);

    private LatentPlot() {}

    /**
     * Writes the plot.
     *
     * @param study what to show
     * @param file a name that ends in {@code .png}, in a folder that is there
     */
    static void write(LatentStudy study, Path file) throws IOException {
        System.setProperty("java.awt.headless", "true");
        XYChart chart = new XYChartBuilder().width(900).height(520)
                .title("all-MiniLM-L6-v2, " + (study.layer() == null ? "6 layers" : "layer " + study.layer())
                        + ": keys and values through a latent in " + study.cache())
                .xAxisTitle("cache bytes per token").yAxisTitle("relative error of the attention output, %").build();
        Styler styler = chart.getStyler();
        styler.setChartBackgroundColor(Color.WHITE);
        styler.setLegendBorderColor(Color.WHITE);
        styler.setLegendPosition(Styler.LegendPosition.OutsideS);
        styler.setLegendLayout(Styler.LegendLayout.Horizontal);
        styler.setLegendFont(TEXT).setChartTitleFont(TEXT.deriveFont(Font.BOLD, 15f));
        chart.getStyler().setAxisTitleFont(TEXT).setAxisTickLabelsFont(TEXT.deriveFont(12f));
        chart.getStyler().setYAxisLogarithmic(true);
        chart.getStyler().setXAxisMin(0.0);
        for (Map.Entry<Method, Curve> m : study.curves().entrySet()) {
            Curve c = m.getValue();
            List<LatentError> errors = c.total();
            boolean free = m.getKey() == Method.DATA_FREE;
            series(chart, m.getKey().label(), errors.stream().map(e -> (double) e.bytesPerToken()).toList(),
                    errors.stream().map(e -> percent(e.output().relative())).toList(), free ? FREE : AWARE,
                    free ? SeriesMarkers.SQUARE : SeriesMarkers.CIRCLE);
        }
        List<LatentError> any = study.curves().values().iterator().next().total();
        String name = String.format(Locale.ROOT, "keys and values themselves, %,d bytes per token",
                any.getFirst().uncompressedBytesPerToken());
        double y = percent(study.uncompressed().relative());
        XYSeries line = series(chart, name, List.of(0.0, (double) any.getLast().bytesPerToken()), List.of(y, y),
                UNCOMPRESSED, SeriesMarkers.NONE);
        line.setLineStyle(DASHES);
        BitmapEncoder.saveBitmap(chart, file.toString(), BitmapEncoder.BitmapFormat.PNG);
    }

    /** A logarithmic axis has no place for 0. */
    private static double percent(double share) {
        return Math.max(share * 100, 1e-6);
    }

    private static XYSeries series(XYChart chart, String name, List<Double> x, List<Double> y, Color color,
            Marker marker) {
        XYSeries s = chart.addSeries(name, x, y);
        s.setMarkerColor(color);
        s.setMarker(marker);
        s.setLineColor(color).setLineStyle(LINE);
        return s;
    }
}
