package dev.octet.benchmarks.demo;

import java.io.PrintWriter;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** Prints a {@link Comparison} for people, at most 112 columns wide. */
final class DemoReport {
    private static final int WIDTH = 112;
    /** Sentences listed one by one; of more, those that FP8 changes most. */
    private static final int MAX_LISTED = 20;

    private final PrintWriter out;
    private final Comparison c;

    DemoReport(PrintWriter out, Comparison comparison) {
        this.out = out;
        this.c = comparison;
    }

    /**
     * Prints everything.
     *
     * @param backend what runs the FP8 operations
     * @param pairs how many pairs to list
     */
    void print(String backend, int pairs) {
        int tokens = c.tokens().stream().mapToInt(WordPieceTokenizer.Tokens::count).sum();
        line("all-MiniLM-L6-v2, a sentence encoder: 6 transformer layers, %.1f million weights in linear layers.",
                c.fp32Bytes() / 4e6);
        line("Run twice on %s (%d tokens): in FP32, and with every linear layer as an FP8 GEMM, its weights",
                counted(c.sentences().size(), "sentence"), tokens);
        line("quantised to E4M3 in blocks of 128x128 before, its activations in groups of 1x128 as they come.");
        line("FP8 backend: %s", backend);
        truncation();
        cosines();
        if (!c.similarity().pairs().isEmpty()) {
            ranking(pairs);
        }
        layers();
        memory();
        if (c.speed() != null) {
            speed(c.speed());
        }
        summary();
        out.flush();
    }

    private void truncation() {
        List<String> cut = java.util.stream.IntStream.range(0, c.tokens().size())
                .filter(i -> c.tokens().get(i).truncated()).mapToObj(i -> String.valueOf(i + 1)).toList();
        if (!cut.isEmpty()) {
            String numbers = String.join(", ", cut.subList(0, Math.min(10, cut.size())));
            line("Note: longer than %d tokens, only the beginning is encoded: sentence %s%s", MiniLm.MAX_TOKENS, numbers,
                    cut.size() > 10 ? " and " + (cut.size() - 10) + " more" : "");
        }
    }

    private void cosines() {
        int n = c.cosines().length;
        title("Does FP8 change the meaning? Cosine between a sentence's FP32 and FP8 embedding");
        Integer[] order = new Integer[n];
        Arrays.setAll(order, i -> i);
        if (n > MAX_LISTED) {
            Arrays.sort(order, java.util.Comparator.comparingDouble(i -> c.cosines()[i]));
        }
        line("     #    cosine   tokens  sentence");
        for (int i = 0; i < Math.min(n, MAX_LISTED); i++) {
            int s = order[i];
            line("%6d  %8.6f  %7d  %s", s + 1, c.cosines()[s], c.tokens().get(s).count(),
                    shortened(c.sentences().get(s), WIDTH - 27));
        }
        double least = Arrays.stream(c.cosines()).min().orElseThrow();
        line("  %s: mean %.6f, least %.6f%s", counted(n, "sentence"), mean(c.cosines()), least,
                n > MAX_LISTED ? "; listed are the " + MAX_LISTED + " least" : "");
    }

    private void ranking(int pairs) {
        Similarity similarity = c.similarity();
        int all = similarity.pairs().size();
        title("Does FP8 change the ranking? The most similar pairs of sentences, by cosine");
        line("  -- FP32 --   --- FP8 --");
        line("  #   cosine    #  cosine  pair");
        int half = (WIDTH - 37) / 2;
        for (Similarity.Pair p : similarity.pairs().subList(0, Math.min(pairs, all))) {
            line("%3d   %6.4f  %3d  %6.4f  %3d %s | %d %s", p.rank(), p.cosine(), p.otherRank(), p.otherCosine(),
                    p.first() + 1, padded(shortened(c.sentences().get(p.first()), half), half), p.second() + 1,
                    shortened(c.sentences().get(p.second()), half));
        }
        int paired = Math.min(c.sentences().size(), Comparison.MAX_PAIRED);
        if (paired < c.sentences().size()) {
            line("  Among the first %d sentences:", paired);
        }
        if (all > 1) {
            line("  Of all %d pairs the first %d have the same place in both rankings; rank correlation %.4f", all,
                    similarity.sameFromTop(), similarity.rankCorrelation());
            line("  (Spearman). The nearest other sentence is the same for %d of %d sentences.",
                    similarity.sameNearest(paired), paired);
        }
    }

    private void layers() {
        title("How the error grows: hidden states in FP8 against FP32, all tokens");
        StringBuilder head = new StringBuilder("  after           embeddings");
        StringBuilder relative = new StringBuilder("  relative L2    ");
        StringBuilder diff = new StringBuilder("  1 - similarity ");
        for (int l = 0; l < c.relativeErrors().length; l++) {
            if (l > 0) {
                head.append(String.format(Locale.ROOT, "%10s", "layer " + l));
            }
            relative.append(String.format(Locale.ROOT, "%9.3f%%", c.relativeErrors()[l] * 100));
            diff.append(String.format(Locale.ROOT, "%10.1e", c.calcDiffs()[l]));
        }
        line("%s", head);
        line("%s", relative);
        line("%s", diff);
        line("  1 - similarity is 1 - 2 x.y / (x.x + y.y).");
    }

    private void memory() {
        title("Memory of the weights, MB (10^6 bytes)");
        line("                             FP32       FP8");
        line("  linear layers          %8.2f  %8.2f   with scales; %.2f times smaller", c.fp32Bytes() / 1e6,
                c.fp8Bytes() / 1e6, (double) c.fp32Bytes() / c.fp8Bytes());
        line("  embeddings, norms, ... %8.2f  %8.2f   FP32 in both", c.otherBytes() / 1e6, c.otherBytes() / 1e6);
        line("  all                    %8.2f  %8.2f", (c.fp32Bytes() + c.otherBytes()) / 1e6,
                (c.fp8Bytes() + c.otherBytes()) / 1e6);
    }

    private void speed(Comparison.Speed s) {
        title("Sentences per second, " + counted(s.sentences(), "sentence"));
        line("                             FP32       FP8");
        line("  all in one call        %8.0f  %8.0f   %.2f times FP32", s.fp32Batch(), s.fp8Batch(),
                s.fp8Batch() / s.fp32Batch());
        line("  one by one             %8.0f  %8.0f   %.2f times FP32", s.fp32Single(), s.fp8Single(),
                s.fp8Single() / s.fp32Single());
        line("  Each call reads all weights of the linear layers: %.1f MB in FP32, %.1f MB in FP8.", c.fp32Bytes() / 1e6,
                c.fp8Bytes() / 1e6);
    }

    private void summary() {
        Similarity s = c.similarity();
        title(String.format(Locale.ROOT, "In short: linear layers in %.0f %% of the memory, embeddings that point the same"
                + " way to a cosine of %.4f,", 100.0 * c.fp8Bytes() / c.fp32Bytes(), mean(c.cosines())));
        String ranking = s.pairs().size() > 1
                ? String.format(Locale.ROOT, "a ranking of pairs that agrees to %.4f, ", s.rankCorrelation()) : "";
        line("%shidden states off by %.1f %% after the last layer.", ranking,
                100 * c.relativeErrors()[c.relativeErrors().length - 1]);
    }

    private static double mean(double[] values) {
        return Arrays.stream(values).average().orElseThrow();
    }

    private void title(String text) {
        out.println();
        out.println(text);
    }

    private void line(String format, Object... values) {
        out.println(String.format(Locale.ROOT, format, values).stripTrailing());
    }

    private static String counted(int n, String thing) {
        return n + " " + thing + (n == 1 ? "" : "s");
    }

    /** One line of at most {@code width} characters; what a terminal could take for a command becomes a space. */
    static String shortened(String text, int width) {
        int[] c = text.codePoints().map(p -> Character.isISOControl(p) ? ' ' : p).toArray();
        return c.length <= width ? new String(c, 0, c.length) : new String(c, 0, width - 3).stripTrailing() + "...";
    }

    private static String padded(String text, int width) {
        return text + " ".repeat(Math.max(0, width - text.codePointCount(0, text.length())));
    }
}
