package dev.octet.mla;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.ScaledTensor;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * An attention layer of DeepSeek-V2 or V3, from hidden state to hidden state, without the norm in front of it and the
 * residual sum behind it (DeepSeek-V2 &sect;2.1, DeepSeek-V3 &sect;2.1.1):
 * {@snippet lang=text :
 * qLatent, latent, ropeKey = qkvA * hidden                       one FP8 GEMM; V2-Lite has query in place of qLatent
 * latent, ropeKey          = rmsNorm(latent), rope(ropeKey)      to the cache
 * query                    = qB * rmsNorm(qLatent), its rotary part turned
 * prefill:                   keys, values = kvB * latents of the cache; attention over them
 * decode:                    query by absorbed UK; attention over the cache; its result by absorbed UV
 * out                      = o * attention
 * }
 * Both forms compute the same; {@link #prefill} takes fewer operations where many tokens come at once, {@link #decode}
 * reads less memory where few do. What is attended to is what the cache holds, new tokens included: a result does not
 * depend, beyond rounding, on the form or on how a prompt was cut into chunks.
 *
 * <p><b>Tokens.</b> The caller reserves places in the cache first, {@link LatentKvCache#extend}, once for all layers;
 * the new tokens are the last {@code counts[i]} of each sequence. All tensors hold the sequences' tokens one after the
 * other.
 *
 * <p><b>Precision.</b> Inputs of the FP8 GEMMs are quantised 1x128, with powers of two as scales if the weights have
 * such; what lies between two GEMMs is FP32, except keys and values, which are BF16. Absorbed matrices are BF16.
 *
 * <p><b>Threads.</b> Immutable; any number of threads may use a layer, each on sequences of its own. A call takes hold of
 * its sequences for each of its steps, not between them: another thread that uses one of them meanwhile is refused, or
 * refuses the call, only if the steps meet, and keeping it away is the caller's care. Results do not
 * depend on the number of threads, to the bit. Working memory is native and reused from call to call.
 *
 * <p><b>Lifetime.</b> The weights stay open as long as the layer is used. Closing it frees the absorbed matrices, which
 * are made when {@link #absorbed} or the first decoding step wants them; it leaves the weights alone.
 */
public final class MlaLayer implements AutoCloseable {
    private final MlaWeights weights;
    private final MlaConfig config;
    private final Rope rope;
    private final Fp8 fp8;
    private final Mla mla;
    private final int window;
    private final int slabTokens;
    private final Absorption absorption;

    /**
     * Makes a layer on the best backend, attending to everything.
     *
     * @param weights stay the caller's
     */
    public MlaLayer(MlaWeights weights) {
        this(weights, Fp8.auto(), Mla.auto(), 0, SlabAttention.tokensOfSlab(weights.config()), new Absorption());
    }

    private MlaLayer(MlaWeights weights, Fp8 fp8, Mla mla, int window, int slabTokens, Absorption absorption) {
        this.weights = weights;
        this.fp8 = Objects.requireNonNull(fp8, "fp8");
        this.mla = Objects.requireNonNull(mla, "mla");
        this.window = window;
        this.slabTokens = slabTokens;
        this.absorption = absorption;
        config = weights.config();
        rope = Rope.of(config);
    }

    /** Made once for a layer and all that {@code with} and {@code on} make of it. */
    private static final class Absorption {
        private @Nullable AbsorbedWeights made;
        private boolean closed;

        synchronized AbsorbedWeights get(MlaWeights weights, Fp8 fp8) {
            if (closed) {
                throw new IllegalStateException("the layer is closed");
            }
            if (made == null) {
                made = AbsorbedWeights.of(weights, fp8);
            }
            return made;
        }

        synchronized void close() {
            closed = true;
            if (made != null) {
                made.close();
            }
        }
    }

    /**
     * {@return the same layer on another pool of CPU threads; it shares the absorbed matrices and ends with this one}
     *
     * @param pool the threads; must stay open while the layer is used
     */
    public MlaLayer with(CpuPool pool) {
        return new MlaLayer(weights, fp8.with(pool), mla.with(pool), window, slabTokens, absorption);
    }

    /**
     * {@return the same layer on named backends, to compare; it shares the absorbed matrices and ends with this one}
     *
     * @param fp8Operations see {@link Fp8#on}
     * @param mlaOperations see {@link Mla#on}
     */
    public MlaLayer on(Fp8 fp8Operations, Mla mlaOperations) {
        return new MlaLayer(weights, fp8Operations, mlaOperations, window, slabTokens, absorption);
    }

    /**
     * {@return the same layer with a sliding window; it shares the absorbed matrices and ends with this one}
     *
     * @param tokens how many tokens a token sees, itself included; 0 for all
     * @throws IllegalArgumentException if the number is negative
     */
    public MlaLayer withWindow(int tokens) {
        if (tokens < 0) {
            throw new IllegalArgumentException("tokens is " + tokens + ", it must be positive, or 0 for no window");
        }
        return new MlaLayer(weights, fp8, mla, tokens, slabTokens, absorption);
    }

    /** {@return the weights} */
    public MlaWeights weights() {
        return weights;
    }

    /** {@return what a query of this layer sees} */
    public AttentionOptions options() {
        return AttentionOptions.causal(config.softmaxScale()).withWindow(window);
    }

    /**
     * {@return the matrices of the absorbed form, made now if they were not; they end with the layer}
     *
     * @throws IllegalStateException if the layer is closed
     */
    public AbsorbedWeights absorbed() {
        return absorption.get(weights, fp8);
    }

    /** Frees the absorbed matrices. Closing again does nothing. */
    @Override
    public void close() {
        absorption.close();
    }

    // ---------------------------------------------------------------------------------------------- the layer

    /**
     * Attention in the naive form, for many new tokens, over them and what the cache has of their sequences. Keys and
     * values are made of the cache's latents, for so many tokens at a time that they take 64 MiB (1,024 tokens of V3);
     * with a window, for at least the window.
     *
     * @param hidden {@code [tokens, hiddenSize]} of F32 or BF16: the normalised hidden state of the new tokens
     * @param cache has places for them; they are written
     * @param layer which layer of the cache this is
     * @param sequences the sequences, each at most once
     * @param counts new tokens of each sequence; not negative
     * @param out {@code [tokens, hiddenSize]} of F32 or BF16; all of it is written; may be hidden
     * @throws IllegalArgumentException if a shape, dtype, number, sequence or device does not fit; the message names
     *     it, and nothing was written
     * @throws OutOfPagesException as {@link LatentKvCache#write}
     * @throws IllegalStateException if a sequence or tensor is closed, or another thread is at work on a sequence
     */
    public void prefill(Tensor hidden, LatentKvCache cache, int layer, List<LatentKvCache.Sequence> sequences,
            int[] counts, Tensor out) {
        run(hidden, cache, layer, sequences, counts, out, (work, queries, attention) ->
                new SlabAttention(this, work, cache, layer, options()).attend(queries, sequences, counts, attention));
    }

    /**
     * Attention in the absorbed form, for few new tokens, over them and what the cache has of their sequences.
     *
     * @param hidden {@code [tokens, hiddenSize]} of F32 or BF16: the normalised hidden state of the new tokens
     * @param cache has places for them; they are written
     * @param layer which layer of the cache this is
     * @param sequences the sequences, each at most once
     * @param counts new tokens of each sequence; not negative
     * @param out {@code [tokens, hiddenSize]} of F32 or BF16; all of it is written; may be hidden
     * @throws IllegalArgumentException if a shape, dtype, number, sequence or device does not fit; the message names
     *     it, and nothing was written
     * @throws OutOfPagesException as {@link LatentKvCache#write}
     * @throws IllegalStateException if the layer, a sequence or tensor is closed, or another thread is at work on a
     *     sequence
     */
    public void decode(Tensor hidden, LatentKvCache cache, int layer, List<LatentKvCache.Sequence> sequences,
            int[] counts, Tensor out) {
        absorbed(); // or nothing is written
        run(hidden, cache, layer, sequences, counts, out, (work, queries, attention) -> {
            long tokens = queries.dim(0);
            Tensor absorbedQueries = work.tensor(DType.F32, tokens, config.heads(), config.latentDim());
            absorb(queries, absorbedQueries);
            Tensor latents = work.tensor(DType.F32, tokens, config.heads(), config.kvLoraRank());
            mla.decode(absorbedQueries, cache, layer, sequences, counts, options(), latents, null);
            values(latents, attention);
        });
    }

    /** What differs between the two forms: {@code [tokens, heads, vHeadDim]} of the queries. */
    private interface Form {
        void attend(Workspace work, Tensor queries, Tensor attention);
    }

    private void run(Tensor hidden, LatentKvCache cache, int layer, List<LatentKvCache.Sequence> sequences,
            int[] counts, Tensor out, Form form) {
        int[] own = counts.clone();
        int tokens = checkTokens(hidden, cache, sequences, own);
        requireFloat("out", out, tokens, config.hiddenSize());
        Mla.requireWritable("out", out);
        int[] positions = positions(sequences, own, tokens);
        try (Workspace work = Workspace.take()) {
            Tensor queries = compress(work, hidden, positions, cache, layer, sequences, own, null);
            Tensor attention = work.tensor(DType.F32, tokens, config.heads(), config.vHeadDim());
            form.attend(work, queries, attention);
            output(work, attention, out);
        }
    }

    /** The last tokens of each sequence. */
    private static int[] positions(List<LatentKvCache.Sequence> sequences, int[] counts, int tokens) {
        int[] positions = new int[tokens];
        int at = 0;
        for (int s = 0; s < counts.length; s++) {
            int first = sequences.get(s).length() - counts[s];
            if (first < 0) {
                throw new IllegalArgumentException("counts[" + s + "] is " + counts[s] + ", " + sequences.get(s)
                        + " has " + (first + counts[s]) + " tokens; LatentKvCache.extend reserves places for more");
            }
            for (int i = 0; i < counts[s]; i++) {
                positions[at++] = first + i;
            }
        }
        return positions;
    }

    // ---------------------------------------------------------------------------------------------- compression

    /**
     * Compresses the hidden state of new tokens: writes their latents and rotary keys to the cache and computes their
     * queries, the rotary part turned.
     *
     * @param hidden {@code [tokens, hiddenSize]} of F32 or BF16
     * @param positions of each token, not negative
     * @param cache has places for the tokens; they are written
     * @param layer which layer of the cache this is
     * @param sequences the sequences, each at most once
     * @param counts new tokens of each sequence; not negative
     * @param queries {@code [tokens, heads, qkHeadDim]} of F32, contiguous; all of it is written
     * @throws IllegalArgumentException if a shape, dtype, number, sequence or device does not fit; the message names it
     * @throws OutOfPagesException as {@link LatentKvCache#write}
     * @throws IllegalStateException if a sequence or tensor is closed, or another thread is at work on a sequence
     */
    public void compress(Tensor hidden, int[] positions, LatentKvCache cache, int layer,
            List<LatentKvCache.Sequence> sequences, int[] counts, Tensor queries) {
        int[] own = counts.clone();
        int tokens = checkTokens(hidden, cache, sequences, own);
        if (positions.length != tokens) {
            throw new IllegalArgumentException(
                    "positions has " + positions.length + " entries, there are " + tokens + " tokens");
        }
        for (int i = 0; i < positions.length; i++) {
            if (positions[i] < 0) {
                throw new IllegalArgumentException(
                        "positions[" + i + "] is " + positions[i] + ", it can't be negative");
            }
        }
        positions(sequences, own, tokens);
        requireF32("queries", queries, tokens, config.heads(), config.qkHeadDim());
        requireContiguous("queries", queries);
        Mla.requireWritable("queries", queries);
        try (Workspace work = Workspace.take()) {
            compress(work, hidden, positions, cache, layer, sequences, own, queries);
        }
    }

    private Tensor compress(Workspace work, Tensor hidden, int[] positions, LatentKvCache cache, int layer,
            List<LatentKvCache.Sequence> sequences, int[] counts, @Nullable Tensor target) {
        long tokens = hidden.dim(0);
        int heads = config.heads();
        int rows = config.queryRows();
        int rank = config.kvLoraRank();
        Tensor fused = project(work, hidden, weights.qkvA(), DType.F32);
        Tensor latent = fused.slice(1, rows, rows + rank);
        mla.rmsNorm(latent, weights.kvNorm(), config.rmsNormEps(), latent);
        Tensor ropeKey = fused.slice(1, rows + rank, fused.dim(1)).reshape(tokens, 1, rope.dim());
        mla.rope(ropeKey, positions, rope, ropeKey);
        cache.write(layer, sequences, counts, latent, ropeKey.reshape(tokens, rope.dim()));

        Tensor query = fused.slice(1, 0, rows);
        Tensor norm = weights.qNorm();
        ScaledTensor up = weights.qB();
        Tensor queries = target;
        if (norm != null && up != null) {
            mla.rmsNorm(query, norm, config.rmsNormEps(), query);
            if (queries == null) {
                queries = work.tensor(DType.F32, tokens, heads, config.qkHeadDim());
            }
            project(work, query, up, queries.reshape(tokens, up.rows()));
        } else if (queries == null) {
            queries = query.reshape(tokens, heads, config.qkHeadDim());
        } else {
            queries.copyFrom(query.reshape(tokens, heads, config.qkHeadDim()));
        }
        Tensor turned = queries.slice(2, config.qkNopeHeadDim(), config.qkHeadDim());
        mla.rope(turned, positions, rope, turned);
        return queries;
    }

    private Tensor project(Workspace work, Tensor x, ScaledTensor weight, DType dtype) {
        Tensor out = work.tensor(dtype, x.dim(0), weight.rows());
        project(work, x, weight, out);
        return out;
    }

    private void project(Workspace work, Tensor x, ScaledTensor weight, Tensor out) {
        ScaledTensor quantized = work.activations(x.dim(0), x.dim(1), weight.scaling().format());
        fp8.quantize(x, quantized);
        fp8.gemm(quantized, weight, out, Epilogue.NONE);
    }

    // ---------------------------------------------------------------------------------------------- other steps

    /**
     * Decompresses latents to the keys and values of all heads, as the naive form attends to them.
     *
     * @param latents {@code [tokens, kvLoraRank]} of F32 or BF16, normalised, as {@link LatentKvCache#read} gives them
     * @param keyValues {@code [tokens, heads, qkNopeHeadDim + vHeadDim]} of F32 or BF16, contiguous: of each head first
     *     the key without its rotary part, which all heads share; all of it is written
     * @throws IllegalArgumentException if a shape, dtype or device does not fit; the message names it
     */
    public void decompress(Tensor latents, Tensor keyValues) {
        Mla.requireFloat("latents", latents, 2);
        requireFloat("latents", latents, latents.dim(0), config.kvLoraRank());
        requireFloat("keyValues", keyValues, latents.dim(0), config.heads(),
                (long) config.qkNopeHeadDim() + config.vHeadDim());
        requireContiguous("keyValues", keyValues);
        Mla.requireAccess("latents", latents);
        Mla.requireWritable("keyValues", keyValues);
        try (Workspace work = Workspace.take()) {
            decompress(work, latents, keyValues);
        }
    }

    void decompress(Workspace work, Tensor latents, Tensor keyValues) {
        project(work, latents, weights.kvB(), keyValues.reshape(latents.dim(0), weights.kvB().rows()));
    }

    /**
     * Turns queries into those of the absorbed form, which compare to latents: {@link AbsorbedWeights#keys()} times the
     * part without position, and the rotary part as it is.
     *
     * @param queries {@code [tokens, heads, qkHeadDim]} of F32, as {@link #compress} gives them
     * @param absorbed {@code [tokens, heads, kvLoraRank + qkRopeHeadDim]} of F32; all of it is written
     * @throws IllegalArgumentException if a shape, dtype or device does not fit; the message names it
     * @throws IllegalStateException if the layer or a tensor is closed
     */
    public void absorb(Tensor queries, Tensor absorbed) {
        Mla.requireFloat("queries", queries, 3);
        requireF32("queries", queries, queries.dim(0), config.heads(), config.qkHeadDim());
        requireF32("absorbed", absorbed, queries.dim(0), config.heads(), config.latentDim());
        Mla.requireAccess("queries", queries);
        Mla.requireWritable("absorbed", absorbed);
        int nope = config.qkNopeHeadDim();
        int rank = config.kvLoraRank();
        mla.projectHeads(queries.slice(2, 0, nope), absorbed().keys(), absorbed.slice(2, 0, rank));
        absorbed.slice(2, rank, config.latentDim()).copyFrom(queries.slice(2, nope, config.qkHeadDim()));
    }

    /**
     * Turns what {@link Mla#decode} gives, sums of latents, into sums of values: {@link AbsorbedWeights#values()} times
     * each head's.
     *
     * @param latents {@code [tokens, heads, kvLoraRank]} of F32 or BF16
     * @param attention {@code [tokens, heads, vHeadDim]} of F32 or BF16; all of it is written
     * @throws IllegalArgumentException if a shape, dtype or device does not fit; the message names it
     * @throws IllegalStateException if the layer or a tensor is closed
     */
    public void values(Tensor latents, Tensor attention) {
        Mla.requireFloat("latents", latents, 3);
        requireFloat("latents", latents, latents.dim(0), config.heads(), config.kvLoraRank());
        requireFloat("attention", attention, latents.dim(0), config.heads(), config.vHeadDim());
        Mla.requireAccess("latents", latents);
        Mla.requireWritable("attention", attention);
        mla.projectHeads(latents, absorbed().values(), attention);
    }

    /**
     * Projects the attention of all heads back to the hidden size.
     *
     * @param attention {@code [tokens, heads, vHeadDim]} of F32 or BF16, contiguous
     * @param out {@code [tokens, hiddenSize]} of F32 or BF16; all of it is written
     * @throws IllegalArgumentException if a shape, dtype or device does not fit; the message names it
     */
    public void output(Tensor attention, Tensor out) {
        Mla.requireFloat("attention", attention, 3);
        requireFloat("attention", attention, attention.dim(0), config.heads(), config.vHeadDim());
        requireFloat("out", out, attention.dim(0), config.hiddenSize());
        requireContiguous("attention", attention);
        Mla.requireAccess("attention", attention);
        Mla.requireWritable("out", out);
        try (Workspace work = Workspace.take()) {
            output(work, attention, out);
        }
    }

    private void output(Workspace work, Tensor attention, Tensor out) {
        project(work, attention.reshape(attention.dim(0), weights.o().columns()), weights.o(), out);
    }

    Mla operations() {
        return mla;
    }

    /** How many tokens' keys and values {@link #prefill} has at a time. */
    int slabTokens() {
        return slabTokens;
    }

    MlaLayer withSlabs(int tokens) {
        return new MlaLayer(weights, fp8, mla, window, tokens, absorption);
    }

    MlaConfig config() {
        return config;
    }

    // ---------------------------------------------------------------------------------------------- checks

    private int checkTokens(Tensor hidden, LatentKvCache cache, List<LatentKvCache.Sequence> sequences, int[] counts) {
        Mla.requireFloat("hidden", hidden, 2);
        if (cache.kvLoraRank() != config.kvLoraRank() || cache.ropeDim() != config.qkRopeHeadDim()) {
            throw new IllegalArgumentException("cache has latents of " + cache.kvLoraRank() + " and rotary keys of "
                    + cache.ropeDim() + " values, the weights " + config.kvLoraRank() + " and "
                    + config.qkRopeHeadDim());
        }
        if (counts.length != sequences.size()) {
            throw new IllegalArgumentException(
                    "counts has " + counts.length + " entries, there are " + sequences.size() + " sequences");
        }
        long tokens = 0;
        for (int i = 0; i < counts.length; i++) {
            if (counts[i] < 0) {
                throw new IllegalArgumentException("counts[" + i + "] is " + counts[i] + ", it can't be negative");
            }
            tokens += counts[i];
        }
        if (tokens > Integer.MAX_VALUE) {
            throw new IllegalArgumentException("counts are " + tokens + " tokens together, a call takes 2^31-1");
        }
        Mla.requireShape("hidden", hidden, Shape.of(tokens, config.hiddenSize()));
        Mla.requireDevice(weights.qkvA().device(), "hidden", hidden);
        Mla.requireAccess("hidden", hidden);
        weights.requireOpen();
        return (int) tokens;
    }

    private void requireFloat(String name, Tensor t, long... dims) {
        Mla.requireFloat(name, t, dims.length);
        Mla.requireShape(name, t, Shape.of(dims));
        Mla.requireDevice(weights.qkvA().device(), name, t);
    }

    private static void requireContiguous(String name, Tensor t) {
        if (!t.isContiguous()) {
            throw new IllegalArgumentException(name + " is " + t + ", it must be contiguous");
        }
    }

    private void requireF32(String name, Tensor t, long... dims) {
        requireFloat(name, t, dims);
        if (t.dtype() != DType.F32) {
            throw new IllegalArgumentException(name + " is " + t.dtype() + ", it must be F32");
        }
    }
}
