package dev.octet.mla;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;

/** Hidden states of whole sequences, and ways to send them through a layer. */
final class LayerRun implements AutoCloseable {
    private final MlaLayer layer;
    private final LatentKvCache cache;
    private final int hiddenSize;

    LayerRun(MlaLayer layer, CacheFormat format) {
        this(layer, format, 7);
    }

    /** A cache of two layers, of which the second is used. */
    LayerRun(MlaLayer layer, CacheFormat format, int pageSize) {
        this.layer = layer;
        hiddenSize = layer.weights().config().hiddenSize();
        cache = LatentKvCache.allocate(layer.weights().config(), format, 2, 4096 / pageSize, pageSize);
    }

    LatentKvCache cache() {
        return cache;
    }

    static double[][] hidden(long seed, int tokens, int size) {
        Random random = new Random(seed);
        double[][] hidden = new double[tokens][size];
        for (double[] row : hidden) {
            for (int i = 0; i < size; i++) {
                row[i] = (float) random.nextGaussian();
            }
        }
        return hidden;
    }

    static float[] flat(double[][] rows) {
        int size = rows.length == 0 ? 0 : rows[0].length;
        float[] flat = new float[rows.length * size];
        for (int i = 0; i < flat.length; i++) {
            flat[i] = (float) rows[i / size][i % size];
        }
        return flat;
    }

    /** One step of a layer: the next tokens of each sequence; outputs one after the other. */
    float[] step(boolean prefill, List<LatentKvCache.Sequence> sequences, double[][]... tokens) {
        int[] counts = Arrays.stream(tokens).mapToInt(t -> t.length).toArray();
        int all = IntStream.of(counts).sum();
        double[][] rows = Arrays.stream(tokens).flatMap(Arrays::stream).toArray(double[][]::new);
        try (Tensor hidden = Tensor.of(flat(rows), all, hiddenSize);
                Tensor out = Tensor.allocate(DType.F32, Shape.of(all, hiddenSize))) {
            out.copyFrom(nan(all * hiddenSize));
            cache.extend(sequences, counts);
            if (prefill) {
                layer.prefill(hidden, cache, 1, sequences, counts, out);
            } else {
                layer.decode(hidden, cache, 1, sequences, counts, out);
            }
            return out.toFloatArray();
        }
    }

    private static float[] nan(int count) {
        float[] values = new float[count];
        Arrays.fill(values, Float.NaN);
        return values;
    }

    /** One sequence in chunks, the last one ending with the tokens. */
    float[] inChunks(boolean prefill, double[][] tokens, int... chunks) {
        float[] out = new float[tokens.length * hiddenSize];
        int at = 0;
        try (LatentKvCache.Sequence s = cache.open()) {
            for (int i = 0; at < tokens.length; i++) {
                int end = Math.min(tokens.length, at + chunks[Math.min(i, chunks.length - 1)]);
                float[] part = step(prefill, List.of(s), Arrays.copyOfRange(tokens, at, end));
                System.arraycopy(part, 0, out, at * hiddenSize, part.length);
                at = end;
            }
        }
        return out;
    }

    /** {@code 1 - 2 SUM xy / SUM (x^2 + y^2)}, the measure of DeepGEMM's tests; NaN if there is one. */
    static double difference(float[] x, float[] y) {
        if (x.length != y.length) {
            throw new IllegalArgumentException(x.length + " and " + y.length + " values");
        }
        double product = 0;
        double squares = 0;
        for (int i = 0; i < x.length; i++) {
            product += (double) x[i] * y[i];
            squares += (double) x[i] * x[i] + (double) y[i] * y[i];
        }
        return 1 - 2 * product / squares;
    }

    @Override
    public void close() {
        cache.close();
    }
}
