package dev.octet.benchmarks.demo;

import dev.octet.benchmarks.demo.LatentStudy.Curve;
import dev.octet.benchmarks.demo.LatentStudy.Method;
import dev.octet.mla.factor.LatentError;
import java.io.PrintWriter;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Prints a {@link LatentStudy} for people, at most 112 columns wide, and as comma-separated values. */
final class LatentReport {
    private final PrintWriter out;
    private final LatentStudy s;
    private final Curve free;
    private final Curve aware;

    LatentReport(PrintWriter out, LatentStudy study) {
        this.out = out;
        this.s = study;
        free = curve(study, Method.DATA_FREE);
        aware = curve(study, Method.ACTIVATION_AWARE);
    }

    private static Curve curve(LatentStudy study, Method method) {
        return java.util.Objects.requireNonNull(study.curves().get(method));
    }

    /** Prints everything. */
    void print() {
        line("all-MiniLM-L6-v2: 6 attention layers of 12 heads of 32 channels, hidden width 384, no rotary embedding.");
        line("In each layer the projections to keys and values, 768 x 384, become one projection to a latent and one");
        line("back; only the latent is cached, in %s.", s.cache());
        line("  data-free         the weights' singular value decomposition, which keeps most of the weights");
        line("  activation-aware  keeps most of keys and values on %d sentences (%d tokens); ridge %s, the mean",
                s.calibration().sentences(), s.calibration().tokens(), number(s.options().ridge()));
        line("                    goes into the biases");
        line("Keys and values count %s. Errors are relative (L2), on %d other sentences (%d tokens).",
                switch (s.options().weighting()) {
                    case PLAIN -> "by element";
                    case BALANCED -> "relative to their size";
                }, s.heldOut().sentences(), s.heldOut().tokens());
        if (s.layer() == null) {
            together();
            byLayer();
            summary();
        } else {
            alone(s.layer());
        }
        out.flush();
    }

    private void together() {
        List<LatentError> a = free.total();
        List<LatentError> b = aware.total();
        title("All layers together, against " + a.getFirst().uncompressedBytesPerToken()
                + " B per token of keys and values");
        String columns = "weights    keys  values  output  cosine";
        line("%23s -------------- data-free --------------    ----------- activation-aware ----------", "");
        line(" rank  B/token  times  %s    %s", columns, columns);
        for (int r = 0; r < a.size(); r++) {
            line("%5d %8d %6.1f %s%s%s%s%8.4f   %s%s%s%s%8.4f", a.get(r).rank(), a.get(r).bytesPerToken(),
                    a.get(r).compression(), percent(a.get(r).weights().relative()), percent(a.get(r).keys().relative()),
                    percent(a.get(r).values().relative()), percent(a.get(r).output().relative()), free.meanCosine()[r],
                    percent(b.get(r).weights().relative()), percent(b.get(r).keys().relative()),
                    percent(b.get(r).values().relative()), percent(b.get(r).output().relative()),
                    aware.meanCosine()[r]);
        }
        line("  times    how many times smaller than a cache of keys and values in the same format");
        line("  weights  of both projections; keys, values: with biases; output: of the attention layer, without bias");
        line("  cosine   mean over the sentences, between embeddings with all layers factorised and with none");
        line("Keys and values themselves in %s: output error %s, by rounding alone.", s.cache(),
                percent(s.uncompressed().relative()).strip());
        if (a.getLast().rank() == MiniLm.HIDDEN) {
            line("At rank 384, the hidden width, only rounding is lost: such a latent is the layer's whole input.");
        }
    }

    private void byLayer() {
        title("Output error by layer");
        line("%6s ------------------ data-free ------------------    --------------- activation-aware --------------",
                "");
        StringBuilder head = new StringBuilder(" rank ");
        for (int i = 0; i < 2; i++) {
            for (int l = 1; l <= free.layers().size(); l++) {
                head.append(String.format(Locale.ROOT, "%8s", "layer " + l));
            }
            head.append("   ");
        }
        line("%s", head);
        for (int r = 0; r < s.ranks().length; r++) {
            StringBuilder row = new StringBuilder(String.format(Locale.ROOT, "%5d ", s.ranks()[r]));
            for (Curve c : List.of(free, aware)) {
                for (List<LatentError> l : c.layers()) {
                    row.append(percent(l.get(r).output().relative()));
                }
                row.append("   ");
            }
            line("%s", row);
        }
    }

    private void alone(int layer) {
        List<LatentError> a = free.layers().getFirst();
        List<LatentError> b = aware.layers().getFirst();
        title("Layer " + layer + ", against " + a.getFirst().uncompressedBytesPerToken()
                + " B per token of keys and values");
        line("%16s ----------------- data-free ----------------    -------------- activation-aware -------------", "");
        line(" rank  B/token  weights    keys  values  output calc_diff    weights    keys  values  output calc_diff");
        for (int r = 0; r < a.size(); r++) {
            StringBuilder row = new StringBuilder(
                    String.format(Locale.ROOT, "%5d %8d ", a.get(r).rank(), a.get(r).bytesPerToken()));
            for (LatentError e : List.of(a.get(r), b.get(r))) {
                row.append(percent(e.weights().relative())).append(percent(e.keys().relative()))
                        .append(percent(e.values().relative())).append(percent(e.output().relative()))
                        .append(String.format(Locale.ROOT, "%10.1e   ", e.output().calcDiff()));
            }
            line("%s", row);
        }
        line("  calc_diff is 1 - 2 x.y / (x.x + y.y) of the outputs.");
        line("Keys and values themselves in %s: output error %s, by rounding alone.", s.cache(),
                percent(s.uncompressed().relative()).strip());
    }

    private void summary() {
        title("In short: the smallest of these latents that keep embeddings to a mean cosine of");
        line("           data-free             activation-aware");
        for (double bar : new double[] {0.95, 0.99, 0.999}) {
            line("  %5s    %-20s  %s", number(bar), smallest(free, bar), smallest(aware, bar));
        }
    }

    private String smallest(Curve c, double bar) {
        for (int r = 0; r < s.ranks().length; r++) {
            if (c.meanCosine()[r] >= bar) {
                return String.format(Locale.ROOT, "%d (%.1f times)", s.ranks()[r], c.total().get(r).compression());
            }
        }
        return "none";
    }

    /** Eight columns. */
    private static String percent(double share) {
        return share == 0 || share >= 0.0001 ? String.format(Locale.ROOT, "%7.2f%%", share * 100)
                : String.format(Locale.ROOT, "%8.0e", share);
    }

    private static String number(double v) {
        return v == Math.rint(v) && v < 1e9 ? String.valueOf((long) v) : String.valueOf(v);
    }

    /** All figures: a line for each method, layer and rank; layer 0 is all of them together. */
    static String csv(LatentStudy study) {
        StringBuilder csv = new StringBuilder("method,layer,rank,bytes_per_token,uncompressed_bytes_per_token,weights,"
                + "keys,values,output,output_calc_diff,mean_cosine,least_cosine\n");
        for (Map.Entry<Method, Curve> m : study.curves().entrySet()) {
            Curve c = m.getValue();
            for (int l = 0; l <= c.layers().size(); l++) {
                boolean all = l == 0;
                if (all && study.layer() != null) {
                    continue;
                }
                int number = study.layer() == null ? l : study.layer();
                List<LatentError> errors = all ? c.total() : c.layers().get(l - 1);
                for (int r = 0; r < errors.size(); r++) {
                    LatentError e = errors.get(r);
                    csv.append(String.format(Locale.ROOT, "%s,%d,%d,%d,%d,%.6g,%.6g,%.6g,%.6g,%.6g,%s%n",
                            m.getKey().label(), number, e.rank(), e.bytesPerToken(), e.uncompressedBytesPerToken(),
                            e.weights().relative(), e.keys().relative(), e.values().relative(), e.output().relative(),
                            e.output().calcDiff(), !all ? ","
                                    : String.format(Locale.ROOT, "%.6f,%.6f", c.meanCosine()[r], c.leastCosine()[r])));
                }
            }
        }
        return csv.toString();
    }

    private void title(String text) {
        out.println();
        out.println(text);
    }

    private void line(String format, Object... values) {
        out.println(String.format(Locale.ROOT, format, values).stripTrailing());
    }
}
