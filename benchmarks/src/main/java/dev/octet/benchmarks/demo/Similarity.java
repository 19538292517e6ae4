package dev.octet.benchmarks.demo;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * How similar sentences are to each other under two encoders, and how far the two agree.
 *
 * @param pairs all pairs, the most similar under the first encoder first
 */
record Similarity(List<Pair> pairs) {
    /**
     * Two sentences.
     *
     * @param first the index of one
     * @param second the index of the other, larger
     * @param cosine similarity under the first encoder
     * @param otherCosine under the second
     * @param rank place among all pairs under the first encoder, from 1
     * @param otherRank under the second
     */
    record Pair(int first, int second, double cosine, double otherCosine, int rank, int otherRank) {}

    /**
     * Compares all pairs.
     *
     * @param embeddings of length 1 each, from the first encoder
     * @param others from the second
     */
    static Similarity of(float[][] embeddings, float[][] others) {
        List<Pair> pairs = new ArrayList<>();
        for (int i = 0; i < embeddings.length; i++) {
            for (int j = i + 1; j < embeddings.length; j++) {
                pairs.add(new Pair(i, j, cosine(embeddings[i], embeddings[j]), cosine(others[i], others[j]), 0, 0));
            }
        }
        pairs.sort(Comparator.comparingDouble(Pair::otherCosine).reversed());
        pairs.replaceAll(new Ranking()::other);
        pairs.sort(Comparator.comparingDouble(Pair::cosine).reversed());
        pairs.replaceAll(new Ranking()::first);
        return new Similarity(List.copyOf(pairs));
    }

    private static final class Ranking {
        private int place;

        Pair first(Pair p) {
            return new Pair(p.first, p.second, p.cosine, p.otherCosine, ++place, p.otherRank);
        }

        Pair other(Pair p) {
            return new Pair(p.first, p.second, p.cosine, p.otherCosine, p.rank, ++place);
        }
    }

    static double cosine(float[] a, float[] b) {
        double ab = 0;
        double aa = 0;
        double bb = 0;
        for (int i = 0; i < a.length; i++) {
            ab += (double) a[i] * b[i];
            aa += (double) a[i] * a[i];
            bb += (double) b[i] * b[i];
        }
        return ab / Math.sqrt(aa * bb);
    }

    /** How many of the most similar pairs, from the top, have the same place under both. */
    int sameFromTop() {
        int n = 0;
        while (n < pairs.size() && pairs.get(n).otherRank() == n + 1) {
            n++;
        }
        return n;
    }

    /** Spearman's rank correlation: 1 if both rank all pairs alike, 0 if by chance; NaN for fewer than two pairs. */
    double rankCorrelation() {
        double n = pairs.size();
        double squares = 0;
        for (Pair p : pairs) {
            squares += Math.pow(p.rank() - p.otherRank(), 2);
        }
        return n < 2 ? Double.NaN : 1 - 6 * squares / (n * (n * n - 1));
    }

    /** For how many sentences the most similar other sentence is the same under both. */
    int sameNearest(int sentences) {
        int[] nearest = new int[sentences];
        int[] otherNearest = new int[sentences];
        int[] rank = new int[sentences];
        int[] otherRank = new int[sentences];
        java.util.Arrays.fill(rank, Integer.MAX_VALUE);
        java.util.Arrays.fill(otherRank, Integer.MAX_VALUE);
        for (Pair p : pairs) {
            for (int i : new int[] {p.first(), p.second()}) {
                int partner = p.first() + p.second() - i;
                if (p.rank() < rank[i]) {
                    rank[i] = p.rank();
                    nearest[i] = partner;
                }
                if (p.otherRank() < otherRank[i]) {
                    otherRank[i] = p.otherRank();
                    otherNearest[i] = partner;
                }
            }
        }
        int same = 0;
        for (int i = 0; i < sentences; i++) {
            same += nearest[i] == otherNearest[i] ? 1 : 0;
        }
        return same;
    }
}
