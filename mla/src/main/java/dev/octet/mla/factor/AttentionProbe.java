package dev.octet.mla.factor;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * One attention layer on sample activations in double, {@code softmax(Q K^T / sqrt(qkDim)) V W_O^T}, against which
 * caches are measured: what a latent of some rank, or the rounding of a cache's elements, does to keys, values and the
 * layer's output. Take other activations than those that the factorisation was made from.
 *
 * <p>Only what lies in the cache is rounded; projections, softmax and sums are double, so that the figures show the
 * cache alone. Keys are not rotated: see {@link LatentFactorization} on models with rotary embeddings. Instances are
 * safe for use by several threads.
 */
public final class AttentionProbe {
    private final AttentionWeights weights;
    private final int[] starts;
    private final boolean causal;
    private final Matrix64 x;
    private final Matrix64 wT;
    private final Matrix64 outputT;
    private final Matrix64 queries;
    private final Matrix64 keysAndValues;
    private final Matrix64 output;

    /**
     * Computes the layer as it is.
     *
     * @param weights the layer; must stay open and unchanged
     * @param activations {@code [tokens, hidden]} of F32 or BF16 on the CPU, of any strides: the layer's input,
     *     sequence after sequence. Only read during the call
     * @param lengths the tokens of each sequence, not negative; a token sees its own sequence
     * @param causal whether a token sees only those before it, and itself
     * @throws IllegalArgumentException if a shape, dtype, device or length does not fit, or an element is not finite;
     *     the message names it
     */
    public AttentionProbe(AttentionWeights weights, Tensor activations, int[] lengths, boolean causal) {
        ActivationStatistics.requireActivations(activations, weights.hidden());
        this.weights = weights;
        this.causal = causal;
        starts = starts(lengths, activations.dim(0));
        x = Matrix64.read("activations", activations);
        wT = LatentFactorization.stacked(weights);
        outputT = Matrix64.read("output", weights.output()).transpose();
        queries = x.times(Matrix64.read("query", weights.query()).transpose());
        if (weights.queryBias() != null) {
            queries.addToRows(Matrix64.read("queryBias", weights.queryBias()).data());
        }
        keysAndValues = x.times(wT);
        keysAndValues.addToRows(LatentFactorization.biases(weights));
        output = attend(keysAndValues);
    }

    private static int[] starts(int[] lengths, long tokens) {
        int[] starts = new int[lengths.length + 1];
        long sum = 0;
        for (int i = 0; i < lengths.length; i++) {
            if (lengths[i] < 0) {
                throw new IllegalArgumentException("lengths[" + i + "] is " + lengths[i] + ", it can't be negative");
            }
            sum += lengths[i];
            starts[i + 1] = (int) Math.min(sum, Integer.MAX_VALUE);
        }
        if (sum != tokens) {
            throw new IllegalArgumentException("lengths add up to " + sum + ", activations have " + tokens + " tokens");
        }
        return starts;
    }

    /**
     * Measures latents of several ranks, each rounded to the cache's format after the projection down.
     *
     * @param factorization of the same layer
     * @param ranks each 1 to {@link LatentFactorization#maxRank()}, in any order
     * @param cache F32 or BF16
     * @return one error for each rank, in the order of {@code ranks}
     * @throws IllegalArgumentException if there is no such rank, the dtype is another, or the factorisation is of
     *     another shape
     */
    public List<LatentError> latent(LatentFactorization factorization, int[] ranks, DType cache) {
        requireCache(cache);
        for (int rank : ranks) {
            factorization.requireRank(rank);
        }
        Matrix64 downT = factorization.downT();
        Matrix64 upT = factorization.upT();
        if (downT.rows() != wT.rows() || upT.columns() != wT.columns()) {
            throw new IllegalArgumentException("factorization is of " + upT.columns() + "x" + downT.rows()
                    + " weights, this layer has " + wT.columns() + "x" + wT.rows());
        }
        Matrix64 latents = x.times(downT);
        latents.addToRows(factorization.downBias());
        round(latents, cache);
        // Each rank's sums go on where those of the next smaller one ended.
        Matrix64 approximateW = new Matrix64(wT.rows(), wT.columns());
        Matrix64 approximate = new Matrix64(x.rows(), wT.columns());
        approximate.addToRows(factorization.upBias());
        int[] ascending = Arrays.stream(ranks).sorted().distinct().toArray();
        LatentError[] byRank = new LatentError[factorization.maxRank() + 1];
        int keys = (int) weights.key().dim(0);
        int n = wT.columns();
        int before = 0;
        for (int rank : ascending) {
            approximateW.addProduct(downT, upT, before, rank);
            approximate.addProduct(latents, upT, before, rank);
            before = rank;
            Matrix64 attended = attend(approximate);
            byRank[rank] = new LatentError(rank, (long) rank * cache.byteSize(), (long) n * cache.byteSize(),
                    SquaredError.between(wT, approximateW, 0, n),
                    SquaredError.between(keysAndValues, approximate, 0, keys),
                    SquaredError.between(keysAndValues, approximate, keys, n),
                    SquaredError.between(output, attended, 0, output.columns()));
        }
        List<LatentError> errors = new ArrayList<>();
        for (int rank : ranks) {
            errors.add(byRank[rank]);
        }
        return errors;
    }

    /**
     * Measures an ordinary cache of keys and values, whose only error is the rounding to its format: a yardstick for
     * what error is none.
     *
     * @param cache F32 or BF16
     * @return the error of the layer's output
     * @throws IllegalArgumentException if the dtype is another
     */
    public SquaredError uncompressed(DType cache) {
        requireCache(cache);
        Matrix64 rounded = keysAndValues.copy();
        round(rounded, cache);
        return SquaredError.between(output, attend(rounded), 0, output.columns());
    }

    /** {@return the tokens of all sequences} */
    public int tokens() {
        return x.rows();
    }

    private static void requireCache(DType cache) {
        if (cache != DType.F32 && cache != DType.BF16) {
            throw new IllegalArgumentException("cache is " + cache + ", it must be F32 or BF16");
        }
    }

    private static void round(Matrix64 m, DType cache) {
        double[] d = m.data();
        for (int i = 0; i < d.length; i++) {
            d[i] = cache == DType.F32 ? (float) d[i] : BFloat16.toFloat(BFloat16.fromFloat((float) d[i]));
        }
    }

    /** {@code [tokens, keys + values]} to the layer's output. */
    private Matrix64 attend(Matrix64 kv) {
        int heads = weights.heads();
        Matrix64 context = new Matrix64(x.rows(), heads * weights.vDim());
        CpuPool.shared().run((starts.length - 1) * heads, task ->
                head(kv, starts[task / heads], starts[task / heads + 1], task % heads, context));
        return context.times(outputT);
    }

    private void head(Matrix64 kv, int first, int end, int head, Matrix64 context) {
        int qk = weights.qkDim();
        int v = weights.vDim();
        int kvHead = head / (weights.heads() / weights.kvHeads());
        int width = kv.columns();
        int key = kvHead * qk;
        int value = (int) weights.key().dim(0) + kvHead * v;
        double scale = 1 / Math.sqrt(qk);
        double[] q = queries.data();
        double[] p = new double[end - first];
        for (int i = first; i < end; i++) {
            int last = causal ? i + 1 : end;
            double max = Double.NEGATIVE_INFINITY;
            for (int j = first; j < last; j++) {
                double s = 0;
                for (int d = 0; d < qk; d++) {
                    s += q[i * queries.columns() + head * qk + d] * kv.data()[j * width + key + d];
                }
                p[j - first] = s * scale;
                max = Math.max(max, s * scale);
            }
            double sum = 0;
            for (int j = 0; j < last - first; j++) {
                p[j] = Math.exp(p[j] - max);
                sum += p[j];
            }
            int out = i * context.columns() + head * v;
            for (int j = first; j < last; j++) {
                double weight = p[j - first] / sum;
                for (int d = 0; d < v; d++) {
                    context.data()[out + d] += weight * kv.data()[j * width + value + d];
                }
            }
        }
    }
}
