package dev.octet.mla;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Execution;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.TensorAccess;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.spi.Backends;
import dev.octet.mla.spi.MlaBackend;
import dev.octet.mla.spi.PagedLatents;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The operations of multi-head latent attention (DeepSeek-V2 &sect;2.1, DeepSeek-V3 &sect;2.1.1). {@link #auto()} takes
 * the implementation from the tensors' device, which is what callers want; {@link #on(String)} names one, to compare.
 * {@link MlaLayer} puts them together.
 *
 * <p>Arguments are checked before anything is written: an operation that throws {@link IllegalArgumentException},
 * {@link IllegalStateException} or {@link WrongThreadException} has left its outputs as they were. The second comes of
 * closed tensors, pools or sequences, the last of memory from an arena that is confined to another thread. An output
 * that is read-only, or has stride 0 over several elements, is refused; that it overlaps no input, unless it says that
 * it may, is the caller's care.
 *
 * <p>Instances are immutable and safe for use by several threads; so are the operations, on different outputs and
 * different sequences. Results do not depend on the number of threads, to the bit.
 *
 * <p>Inputs may be F32 or BF16, in any mix, of any strides; sums are FP32 or better, and each result is rounded once,
 * to its own type.
 */
public final class Mla {
    private static final Mla AUTO = new Mla(null, null);

    private final @Nullable MlaBackend backend;
    private final @Nullable Execution execution;

    private Mla(@Nullable MlaBackend backend, @Nullable Execution execution) {
        this.backend = backend;
        this.execution = execution;
    }

    /** {@return the operations on the best backend for the device of the tensors they are called with} */
    public static Mla auto() {
        return AUTO;
    }

    /**
     * {@return the operations on one backend}
     *
     * @param backend its name: {@code native}, {@code cpu}, {@code scalar} or {@code reference}, or what another module
     *     provides
     * @throws IllegalArgumentException if there is no such backend or it can't run here; the message has the reason
     */
    public static Mla on(String backend) {
        return new Mla(MlaBackends.FOUND.named(backend), null);
    }

    /** {@return the names of all backends found, whether they can run here or not} */
    public static Set<String> backends() {
        return MlaBackends.FOUND.names();
    }

    /**
     * {@return the same operations on another pool of CPU threads}
     *
     * @param pool the threads; must stay open while operations run
     */
    public Mla with(CpuPool pool) {
        return new Mla(backend, new Execution(pool));
    }

    private MlaBackend on(Device device) {
        return MlaBackends.FOUND.on(device, backend);
    }

    private Execution execution() {
        Execution e = execution;
        return e != null ? e : Execution.shared();
    }

    /** {@return how to get these operations, pool aside} */
    @Override
    public String toString() {
        return backend == null ? "Mla.auto()" : "Mla.on(\"" + backend.name() + "\")";
    }

    // ---------------------------------------------------------------------------------------------- elementwise

    /**
     * RMSNorm over each row: {@code out = x / sqrt(mean(x^2) + eps) * weight}, in FP64, rounded once: squares of FP32
     * values neither overflow nor vanish there, so that rows of any finite values are normalised (Zhang and Sennrich
     * 2019; DeepSeek-V2 &sect;2.1.4 for the latents). A row of zeros stays zero, for {@code eps} is positive; a row
     * that holds NaN becomes NaN; one that holds infinities becomes NaN where they stand, and 0 elsewhere.
     *
     * @param x {@code [rows, d]} of F32 or BF16
     * @param weight {@code [d]} of F32 or BF16
     * @param eps what is added to the mean square; positive
     * @param out {@code [rows, d]} of F32 or BF16; may be x
     * @throws IllegalArgumentException if a shape, dtype, device or value does not fit; the message names it
     */
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
        requireFloat("x", x, 2);
        requireFloat("weight", weight, 1);
        requireFloat("out", out, 2);
        requireShape("weight", weight, Shape.of(x.dim(1)));
        requireShape("out", out, x.shape());
        if (!(eps > 0)) {
            throw new IllegalArgumentException("eps is " + eps + ", it must be positive");
        }
        requireDevice(x.device(), "weight", weight, "out", out);
        requireAccess("x", x);
        requireAccess("weight", weight);
        requireWritable("out", out);
        on(x.device()).rmsNorm(x, weight, eps, out, execution());
    }

    /**
     * The rotary embedding: of each head's values the pairs {@code (x[2j], x[2j + 1])} are turned by the angle
     * {@code position * frequency[j]}, which is rounded to FP32 as in the code that the models were trained with.
     *
     * @param x {@code [tokens, heads, dim]} of F32 or BF16, in interleaved order; see {@link RopeLayout}
     * @param positions one for each token, not negative
     * @param rope the frequencies
     * @param out {@code [tokens, heads, dim]} of F32 or BF16; may be x
     * @throws IllegalArgumentException if a shape, dtype, device or position does not fit; the message names it
     */
    public void rope(Tensor x, int[] positions, Rope rope, Tensor out) {
        requireFloat("x", x, 3);
        requireFloat("out", out, 3);
        requireShape("out", out, x.shape());
        if (x.dim(2) != rope.dim()) {
            throw new IllegalArgumentException(
                    "x has shape " + x.shape() + ", rope takes a last dimension of " + rope.dim());
        }
        if (positions.length != x.dim(0)) {
            throw new IllegalArgumentException(
                    "positions has " + positions.length + " entries, x has " + x.dim(0) + " tokens");
        }
        int[] own = positions.clone(); // what was checked is what is used
        for (int i = 0; i < own.length; i++) {
            if (own[i] < 0) {
                throw new IllegalArgumentException("positions[" + i + "] is " + own[i] + ", it can't be negative");
            }
        }
        requireDevice(x.device(), "out", out);
        requireAccess("x", x);
        requireWritable("out", out);
        on(x.device()).rope(x, own, rope.frequencies(), rope.factor(), out, execution());
    }

    /**
     * Multiplies each head's values by the head's own matrix: {@code out[t, h] = weight[h] * x[t, h]}. With the
     * matrices of {@link AbsorbedWeights} it turns queries into the latent space of the cache, and sums of latents
     * into values.
     *
     * @param x {@code [tokens, heads, k]} of F32 or BF16
     * @param weight {@code [heads, n, k]} of F32 or BF16
     * @param out {@code [tokens, heads, n]} of F32 or BF16
     * @throws IllegalArgumentException if a shape, dtype or device does not fit; the message names it
     */
    public void projectHeads(Tensor x, Tensor weight, Tensor out) {
        requireFloat("x", x, 3);
        requireFloat("weight", weight, 3);
        requireFloat("out", out, 3);
        if (weight.dim(0) != x.dim(1) || weight.dim(2) != x.dim(2)) {
            throw new IllegalArgumentException("weight has shape " + weight.shape() + ", x " + x.shape() + " takes ["
                    + x.dim(1) + ", n, " + x.dim(2) + "]");
        }
        requireShape("out", out, Shape.of(x.dim(0), x.dim(1), weight.dim(1)));
        requireDevice(x.device(), "weight", weight, "out", out);
        requireAccess("x", x);
        requireAccess("weight", weight);
        requireWritable("out", out);
        on(x.device()).projectHeads(x, weight, out, execution());
    }

    // ---------------------------------------------------------------------------------------------- attention

    /**
     * Attention in the naive form, for prefill and for whoever has keys and values of each head:
     * {@snippet lang=text :
     * score[i,j] = scale * (query[i,h,:dk] . keys[j,h] + query[i,h,dk:] . ropeKeys[j])
     * lse[i,h]   = ln SUM over visible j of exp(score[i,j])
     * out[i,h]   = SUM over visible j of exp(score[i,j] - lse[i,h]) * values[j,h]
     * }
     * Sequences lie one after the other and see only themselves; {@link AttentionOptions} says which keys a query
     * sees. With more keys than queries the queries are the last tokens, as when a prompt is worked off in chunks.
     * A query that sees nothing has the output 0 and the lse +Infinity, as in FlashMLA.
     *
     * @param query {@code [query tokens, heads, dk + dr]} of F32 or BF16
     * @param keys {@code [key tokens, heads, dk]} of F32 or BF16
     * @param ropeKeys {@code [key tokens, dr]} of F32 or BF16, shared by all heads; null if {@code dr} is 0
     * @param values {@code [key tokens, heads, dv]} of F32 or BF16
     * @param lengths the sequences
     * @param options what a query sees
     * @param out {@code [query tokens, heads, dv]} of F32 or BF16; all of it is written
     * @param lse {@code [query tokens, heads]} of F32, natural logarithms; null if it is not wanted
     * @throws IllegalArgumentException if a shape, dtype, length or device does not fit; the message names it
     */
    public void prefill(Tensor query, Tensor keys, @Nullable Tensor ropeKeys, Tensor values, Ragged lengths,
            AttentionOptions options, Tensor out, @Nullable Tensor lse) {
        requireFloat("query", query, 3);
        requireFloat("keys", keys, 3);
        requireFloat("values", values, 3);
        requireFloat("out", out, 3);
        Objects.requireNonNull(options, "options");
        long tokens = query.dim(0);
        long heads = query.dim(1);
        if (keys.dim(1) != heads || values.dim(1) != heads) {
            throw new IllegalArgumentException("query has " + heads + " heads, keys " + keys.dim(1) + " and values "
                    + values.dim(1) + "; they must have as many");
        }
        if (values.dim(0) != keys.dim(0)) {
            throw new IllegalArgumentException(
                    "values has " + values.dim(0) + " tokens, keys " + keys.dim(0) + "; they must be as many");
        }
        long shared = 0;
        if (ropeKeys != null) {
            requireFloat("ropeKeys", ropeKeys, 2);
            shared = ropeKeys.dim(1);
            requireShape("ropeKeys", ropeKeys, Shape.of(keys.dim(0), shared));
            requireDevice(query.device(), "ropeKeys", ropeKeys);
        }
        if (query.dim(2) != keys.dim(2) + shared) {
            throw new IllegalArgumentException("query has shape " + query.shape() + ", keys " + keys.shape()
                    + " and ropeKeys take a last dimension of " + (keys.dim(2) + shared));
        }
        if (lengths.totalQueries() != tokens || lengths.totalKeys() != keys.dim(0)) {
            throw new IllegalArgumentException("lengths has " + lengths.totalQueries() + " queries and "
                    + lengths.totalKeys() + " keys, query has " + tokens + " tokens and keys " + keys.dim(0));
        }
        requireShape("out", out, Shape.of(tokens, heads, values.dim(2)));
        requireLse("lse", lse, tokens, heads);
        requireDevice(query.device(), "keys", keys, "values", values, "out", out);
        requireDevice(query.device(), "lse", lse);
        requireAccess("query", query);
        requireAccess("keys", keys);
        requireAccess("ropeKeys", ropeKeys);
        requireAccess("values", values);
        requireWritable("out", out);
        requireWritable("lse", lse);
        on(query.device()).prefill(query, keys, ropeKeys, values, lengths, options, out, lse, execution());
    }

    /**
     * Attention in the absorbed form, over the latents of a cache as they lie there:
     * {@snippet lang=text :
     * score[i,j] = scale * (query[i,h,:c] . latent[j] + query[i,h,c:] . ropeKey[j])          c = kvLoraRank
     * lse[i,h]   = ln SUM over visible j of exp(score[i,j])
     * out[i,h]   = SUM over visible j of exp(score[i,j] - lse[i,h]) * latent[j]
     * }
     * {@link #projectHeads} makes such queries, and values of the result. The query tokens of a sequence are the last
     * of its cached tokens: cache them first. A query that sees nothing has the output 0 and the lse +Infinity.
     * In the FP8 formats a latent is its code times its scale, in FP32.
     *
     * @param query {@code [query tokens, heads, kvLoraRank + ropeDim]} of F32 or BF16, the sequences' tokens one after
     *     the other
     * @param cache holds the keys
     * @param layer which layer of it
     * @param sequences the sequences, each at most once
     * @param queries query tokens of each sequence; not negative
     * @param options what a query sees
     * @param out {@code [query tokens, heads, kvLoraRank]} of F32 or BF16; all of it is written
     * @param lse {@code [query tokens, heads]} of F32, natural logarithms; null if it is not wanted
     * @throws IllegalArgumentException if a shape, dtype, length, sequence or device does not fit; the message names it
     * @throws IllegalStateException if a sequence is closed, or another thread is at work on it
     */
    public void decode(Tensor query, LatentKvCache cache, int layer, List<LatentKvCache.Sequence> sequences,
            int[] queries, AttentionOptions options, Tensor out, @Nullable Tensor lse) {
        requireFloat("query", query, 3);
        requireFloat("out", out, 3);
        Objects.requireNonNull(options, "options");
        if (query.dim(2) != cache.kvLoraRank() + cache.ropeDim()) {
            throw new IllegalArgumentException("query has shape " + query.shape()
                    + ", the cache takes a last dimension of " + (cache.kvLoraRank() + cache.ropeDim()));
        }
        int[] own = queries.clone(); // what was checked is what is used
        if (own.length != sequences.size()) {
            throw new IllegalArgumentException(
                    "queries has " + own.length + " entries, there are " + sequences.size() + " sequences");
        }
        long total = 0;
        for (int i = 0; i < own.length; i++) {
            if (own[i] < 0) {
                throw new IllegalArgumentException("queries[" + i + "] is " + own[i] + ", it can't be negative");
            }
            total += own[i];
        }
        if (total != query.dim(0)) {
            throw new IllegalArgumentException("queries has " + total + " tokens, query " + query.dim(0));
        }
        requireShape("out", out, Shape.of(query.dim(0), query.dim(1), cache.kvLoraRank()));
        requireLse("lse", lse, query.dim(0), query.dim(1));
        requireDevice(cache.device(), "query", query, "out", out);
        requireDevice(cache.device(), "lse", lse);
        requireAccess("query", query);
        requireWritable("out", out);
        requireWritable("lse", lse);
        try (LatentKvCache.Lease lease = cache.lease(layer, sequences)) {
            on(cache.device()).decode(query, lease.latents(), own, options, out, lse, execution());
        }
    }

    /**
     * Joins the results of attention over two disjoint sets of keys into the result over both:
     * {@snippet lang=text :
     * lse = ln(exp(lseA) + exp(lseB))
     * out = exp(lseA - lse) * outA + exp(lseB - lse) * outB
     * }
     * An lse of +Infinity stands for a set of which the query sees nothing.
     *
     * @param outA {@code [tokens, heads, d]} of F32 or BF16
     * @param lseA {@code [tokens, heads]} of F32
     * @param outB as outA
     * @param lseB as lseA
     * @param out as outA; may be outA or outB
     * @param lse as lseA; may be lseA or lseB
     * @throws IllegalArgumentException if a shape, dtype or device does not fit; the message names it
     */
    public void merge(Tensor outA, Tensor lseA, Tensor outB, Tensor lseB, Tensor out, Tensor lse) {
        requireFloat("outA", outA, 3);
        requireFloat("outB", outB, 3);
        requireFloat("out", out, 3);
        requireShape("outB", outB, outA.shape());
        requireShape("out", out, outA.shape());
        requireLse("lseA", lseA, outA.dim(0), outA.dim(1));
        requireLse("lseB", lseB, outA.dim(0), outA.dim(1));
        requireLse("lse", lse, outA.dim(0), outA.dim(1));
        requireDevice(outA.device(), "outB", outB, "out", out);
        requireDevice(outA.device(), "lseA", lseA, "lseB", lseB);
        requireDevice(outA.device(), "lse", lse);
        requireAccess("outA", outA);
        requireAccess("lseA", lseA);
        requireAccess("outB", outB);
        requireAccess("lseB", lseB);
        requireWritable("out", out);
        requireWritable("lse", lse);
        on(outA.device()).merge(outA, lseA, outB, lseB, out, lse, execution());
    }

    // ---------------------------------------------------------------------------------------------- cache

    /** Writes records for {@link LatentKvCache}, which has checked the tensors. */
    static void write(Tensor latent, Tensor ropeKeys, PagedLatents target, int[] from) {
        Backends<MlaBackend> found = MlaBackends.FOUND;
        found.best(target.pages().device().kind()).write(latent, ropeKeys, target, from, Execution.shared());
    }

    /** Reads records for {@link LatentKvCache}, which has checked the tensors. */
    static void read(PagedLatents source, int[] from, Tensor latent, Tensor ropeKeys) {
        Backends<MlaBackend> found = MlaBackends.FOUND;
        found.best(source.pages().device().kind()).read(source, from, latent, ropeKeys, Execution.shared());
    }

    // ---------------------------------------------------------------------------------------------- checks

    static void requireFloat(String name, Tensor t, int rank) {
        if (t.dtype() != DType.F32 && t.dtype() != DType.BF16) {
            throw new IllegalArgumentException(name + " is " + t.dtype() + ", it must be F32 or BF16");
        }
        if (t.shape().rank() != rank) {
            throw new IllegalArgumentException(
                    name + " has shape " + t.shape() + ", it must have " + rank + " dimensions");
        }
        requireOpen(name, t);
    }

    static void requireShape(String name, Tensor t, Shape expected) {
        if (!t.shape().equals(expected)) {
            throw new IllegalArgumentException(name + " has shape " + t.shape() + ", it must be " + expected);
        }
    }

    private static void requireLse(String name, @Nullable Tensor lse, long tokens, long heads) {
        if (lse == null) {
            return;
        }
        if (lse.dtype() != DType.F32) {
            throw new IllegalArgumentException(name + " is " + lse.dtype() + ", it must be F32");
        }
        requireShape(name, lse, Shape.of(tokens, heads));
        requireOpen(name, lse);
    }

    static void requireOpen(String name, Tensor t) {
        if (!t.isOpen()) {
            throw new IllegalStateException(name + " is closed: " + t);
        }
    }

    private static void requireDevice(Device expected, String nameA, Tensor a, String nameB, Tensor b) {
        requireDevice(expected, nameA, a);
        requireDevice(expected, nameB, b);
    }

    private static void requireDevice(Device expected, String nameA, Tensor a, String nameB, Tensor b, String nameC,
            Tensor c) {
        requireDevice(expected, nameA, a);
        requireDevice(expected, nameB, b);
        requireDevice(expected, nameC, c);
    }

    static void requireDevice(Device expected, String name, @Nullable Tensor t) {
        if (t != null && !t.device().equals(expected)) {
            throw new IllegalArgumentException(name + " is on " + t.device() + ", it must be on " + expected);
        }
    }

    static void requireAccess(String name, @Nullable Tensor t) {
        if (t != null) {
            TensorAccess.readable(name, t);
        }
    }

    static void requireWritable(String name, @Nullable Tensor t) {
        if (t != null) {
            TensorAccess.writable(name, t);
        }
    }
}
