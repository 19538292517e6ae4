package dev.octet.benchmarks.demo;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.mla.factor.LatentFactors;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Queries, keys and values side by side, the latter two out of a latent in the format of a cache: what an attention
 * layer computes when latents are all that it keeps of earlier tokens.
 */
final class LatentLinear implements Linear {
    /** Ranks are filled up with zeros to what {@link Fp32Linear} takes at any vector width. */
    private static final int MULTIPLE = 32;

    private final Linear query;
    private final Linear down;
    private final Linear up;
    private final DType cache;
    private final int queries;
    private final int keysAndValues;
    private final int padded;

    /**
     * Lays out the weights.
     *
     * @param pool the threads
     * @param query the query projection
     * @param factors of the key and value projections; only read during the call
     * @param cache F32 or BF16, to which latents are rounded
     */
    LatentLinear(CpuPool pool, MiniLm.Dense query, LatentFactors factors, DType cache) {
        this.cache = cache;
        int hidden = (int) factors.down().dim(1);
        int rank = factors.rank();
        long keys = factors.keyUp().dim(0);
        queries = (int) query.weight().dim(1);
        keysAndValues = (int) (keys + factors.valueUp().dim(0));
        padded = Math.ceilDiv(rank, MULTIPLE) * MULTIPLE;
        this.query = new Fp32Linear(pool, List.of(query));
        try (Tensor toLatent = zeros(hidden, padded);
                Tensor toLatentBias = zeros(padded);
                Tensor fromLatent = zeros(padded, keysAndValues);
                Tensor fromLatentBias = zeros(keysAndValues)) {
            toLatent.slice(1, 0, rank).copyFrom(factors.down().transpose());
            put(factors.downBias(), toLatentBias, 0);
            Tensor up = fromLatent.slice(0, 0, rank);
            up.slice(1, 0, keys).copyFrom(factors.keyUp().transpose());
            up.slice(1, keys, keysAndValues).copyFrom(factors.valueUp().transpose());
            put(factors.keyBias(), fromLatentBias, 0);
            put(factors.valueBias(), fromLatentBias, keys);
            down = new Fp32Linear(pool, List.of(new MiniLm.Dense(toLatent, toLatentBias)));
            this.up = new Fp32Linear(pool, List.of(new MiniLm.Dense(fromLatent, fromLatentBias)));
        }
    }

    private static Tensor zeros(long... dims) {
        return Tensor.allocate(DType.F32, Shape.of(dims));
    }

    private static void put(@Nullable Tensor bias, Tensor target, long from) {
        if (bias != null) {
            target.slice(0, from, from + bias.dim(0)).copyFrom(bias);
        }
    }

    @Override
    public void apply(Tensor x, Tensor y) {
        long rows = x.dim(0);
        try (Tensor q = zeros(rows, queries);
                Tensor latents = zeros(rows, padded);
                Tensor cached = Tensor.allocate(cache, latents.shape());
                Tensor kv = zeros(rows, keysAndValues)) {
            query.apply(x, q);
            down.apply(x, latents);
            cached.copyFrom(latents.toFloatArray());
            latents.copyFrom(cached.toFloatArray());
            up.apply(latents, kv);
            y.slice(1, 0, queries).copyFrom(q);
            y.slice(1, queries, queries + keysAndValues).copyFrom(kv);
        }
    }

    @Override
    public long weightBytes() {
        return query.weightBytes() + down.weightBytes() + up.weightBytes();
    }

    @Override
    public void close() {
        query.close();
        down.close();
        up.close();
    }
}
