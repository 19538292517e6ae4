package dev.octet.mla.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.mla.AttentionOptions;

/** One row of attention in FP64, and how far FP32 may be from it. */
final class ExactAttention {
    private static final double EPS = 0x1p-24;

    final double[] out;
    final double lse;
    /** What an output may differ by, and what the lse may. */
    final double[] bound;
    final double lseBound;

    /**
     * @param query the query
     * @param keys of the sequence
     * @param values of the sequence
     * @param position the query's
     */
    ExactAttention(float[] query, float[][] keys, float[][] values, int valueDims, long position,
            AttentionOptions options) {
        int first = (int) Math.min(keys.length, options.firstKey(position));
        int end = (int) options.endKey(position, keys.length);
        double[] scores = new double[keys.length];
        double max = Double.NEGATIVE_INFINITY;
        double largest = 0;
        for (int j = first; j < end; j++) {
            double sum = 0;
            double magnitude = 0;
            for (int d = 0; d < query.length; d++) {
                double product = (double) query[d] * keys[j][d];
                sum += product;
                magnitude += Math.abs(product);
            }
            scores[j] = sum * options.scale();
            max = Math.max(max, scores[j]);
            largest = Math.max(largest, magnitude * options.scale());
        }
        out = new double[valueDims];
        bound = new double[valueDims];
        if (first >= end) {
            lse = Double.POSITIVE_INFINITY;
            lseBound = 0;
            return;
        }
        double total = 0;
        for (int j = first; j < end; j++) {
            double weight = Math.exp(scores[j] - max);
            total += weight;
            for (int d = 0; d < valueDims; d++) {
                out[d] += weight * values[j][d];
                bound[d] += weight * Math.abs(values[j][d]);
            }
        }
        lse = max + Math.log(total);
        // A score is a chain of so many roundings, and a few more follow up to the weight; a sum over keys is a chain
        // for each chunk of 96, and one over the chunks.
        double score = largest * (query.length + 8) * EPS;
        double sums = (96 + (end - first) / 96.0 + 40) * EPS;
        for (int d = 0; d < valueDims; d++) {
            out[d] /= total;
            bound[d] = bound[d] / total * (2 * score + 2 * sums);
        }
        lseBound = score + sums + Math.abs(lse) * 2 * EPS;
    }

    /** @param relative what rounding to the result's type adds */
    void check(String what, float[] actual, int at, float actualLse, double relative) {
        for (int d = 0; d < out.length; d++) {
            double allowed = bound[d] + Math.abs(out[d]) * relative + 1e-37;
            double error = Math.abs(actual[at + d] - out[d]);
            assertTrue(error <= allowed, what + " dim " + d + ": expected " + out[d] + ", was " + actual[at + d] + ", allowed "
                    + allowed);
        }
        if (Double.isInfinite(lse)) {
            assertEquals(lse, actualLse, what);
        } else {
            assertEquals(lse, actualLse, lseBound, what + " lse");
        }
    }
}
