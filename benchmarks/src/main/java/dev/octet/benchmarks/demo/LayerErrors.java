package dev.octet.benchmarks.demo;

import dev.octet.core.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * How far two encoders drift apart from layer to layer, over all hidden states of all tokens. The first run is kept,
 * the second compared with it as it goes.
 */
final class LayerErrors {
    /** Tokens that are looked at; more would only cost memory. */
    private static final int MAX_TOKENS = 4096;

    private final int layers;
    private final List<float[]> expected = new ArrayList<>();
    private final double[] difference;
    private final double[] expectedSquare;
    private final double[] actualSquare;
    private int tokens;
    private int next;

    /**
     * Makes an empty comparison.
     *
     * @param layers the number of layers, the embeddings not counted
     */
    LayerErrors(int layers) {
        this.layers = layers;
        difference = new double[layers + 1];
        expectedSquare = new double[layers + 1];
        actualSquare = new double[layers + 1];
    }

    /** The observer of the first run. */
    void expect(int layer, Tensor hidden) {
        if (layer == 0) {
            tokens += (int) hidden.dim(0);
        }
        if (tokens <= MAX_TOKENS) {
            expected.add(hidden.toFloatArray());
        }
    }

    /** The observer of the second run, over the same sentences. */
    void compare(int layer, Tensor hidden) {
        if (next == expected.size()) {
            return;
        }
        float[] e = expected.get(next++);
        float[] a = hidden.toFloatArray();
        for (int i = 0; i < e.length; i++) {
            double d = (double) a[i] - e[i];
            difference[layer] += d * d;
            expectedSquare[layer] += (double) e[i] * e[i];
            actualSquare[layer] += (double) a[i] * a[i];
        }
    }

    /** {@code |a - e| / |e|} for the embeddings and each layer, with Euclidean norms. */
    double[] relative() {
        double[] r = new double[layers + 1];
        Arrays.setAll(r, l -> Math.sqrt(difference[l] / expectedSquare[l]));
        return r;
    }

    /** {@code 1 - 2 a.e / (a.a + e.e)}, the measure that FP8 GEMMs are usually held to. */
    double[] calcDiff() {
        double[] r = new double[layers + 1];
        Arrays.setAll(r, l -> difference[l] / (expectedSquare[l] + actualSquare[l])); // the same, without cancellation
        return r;
    }
}
