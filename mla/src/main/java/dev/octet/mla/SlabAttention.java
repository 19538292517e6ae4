package dev.octet.mla;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The naive form over a cache: latents are read and decompressed for a slab of tokens at a time, so that keys and
 * values of a long context never exist all at once.
 *
 * <pre>
 *            keys:   slab 0          slab 1          slab 2
 * queries:           ................................                    cached before
 *   in slab 1        x x x x x x x x \
 *   in slab 1        x x x x x x x x x \
 *   in slab 2        x x x x x x x x x x x x x x x x \                    x   all keys of the slab
 *   in slab 2        x x x x x x x x x x x x x x x x x \                  x \ causal, both end together
 * </pre>
 *
 * <p>The queries behind a slab see all of it, those inside see it causally; each slab's result is merged with that of
 * the slabs before. Sequences that fit into a slab together are attended to in one go. With a window no slab is needed:
 * each block of queries takes the keys that its window reaches.
 */
final class SlabAttention {
    private static final long SLAB_BYTES = 64 << 20;

    private final MlaLayer layer;
    private final Workspace work;
    private final LatentKvCache cache;
    private final int cacheLayer;
    private final AttentionOptions options;
    private final int heads;
    private final int keyDim;
    private final int valueDim;
    private final int slab;

    SlabAttention(MlaLayer layer, Workspace work, LatentKvCache cache, int cacheLayer, AttentionOptions options) {
        this.layer = layer;
        this.work = work;
        this.cache = cache;
        this.cacheLayer = cacheLayer;
        this.options = options;
        MlaConfig config = layer.config();
        heads = config.heads();
        keyDim = config.qkNopeHeadDim();
        valueDim = config.vHeadDim();
        slab = layer.slabTokens();
    }

    /** {@return how many tokens' keys and values, in BF16, are there at a time} */
    static int tokensOfSlab(MlaConfig config) {
        long bytes = 2L * config.heads() * (config.qkNopeHeadDim() + config.vHeadDim());
        return (int) Math.max(64, SLAB_BYTES / bytes);
    }

    /** Keys and values of some tokens. */
    private record Slab(Tensor keys, Tensor ropeKeys, Tensor values) {}

    /**
     * Attends with the last tokens of each sequence.
     *
     * @param queries {@code [tokens, heads, qkHeadDim]}
     * @param counts queries of each sequence
     * @param out {@code [tokens, heads, vHeadDim]}; all of it is written
     */
    void attend(Tensor queries, List<LatentKvCache.Sequence> sequences, int[] counts, Tensor out) {
        int[] lengths = new int[counts.length];
        Arrays.setAll(lengths, s -> counts[s] == 0 ? 0 : sequences.get(s).length());
        int at = 0;
        for (int first = 0; first < counts.length;) {
            int end = first;
            long keys = 0;
            int tokens = 0;
            while (end < counts.length && (end == first || keys + lengths[end] <= slab)) {
                keys += lengths[end];
                tokens += counts[end++];
            }
            Tensor q = queries.slice(0, at, at + tokens);
            Tensor o = out.slice(0, at, at + tokens);
            Workspace.Mark mark = work.mark();
            if (tokens == 0) {
                // nobody asks
            } else if (keys <= slab) {
                together(q, sequences.subList(first, end), Arrays.copyOfRange(counts, first, end),
                        Arrays.copyOfRange(lengths, first, end), (int) keys, o);
            } else if (options.window() == 0 || options.window() >= lengths[first]) {
                bySlab(q, sequences.get(first), lengths[first], o);
            } else {
                byWindow(q, sequences.get(first), lengths[first], o);
            }
            work.release(mark);
            at += tokens;
            first = end;
        }
    }

    private void together(Tensor q, List<LatentKvCache.Sequence> sequences, int[] counts, int[] lengths, int keys,
            Tensor out) {
        Tensor latents = latents(keys);
        Tensor ropeKeys = ropeKeys(keys);
        int at = 0;
        for (int s = 0; s < lengths.length; s++) {
            if (lengths[s] > 0) {
                read(sequences.get(s), 0, lengths[s], latents.slice(0, at, at + lengths[s]),
                        ropeKeys.slice(0, at, at + lengths[s]));
            }
            at += lengths[s];
        }
        attend(q, decompress(latents, ropeKeys), new Ragged(counts, lengths), options, out, null);
    }

    private void bySlab(Tensor q, LatentKvCache.Sequence sequence, int length, Tensor out) {
        int queries = (int) q.dim(0);
        int before = length - queries;
        AttentionOptions all = AttentionOptions.bidirectional(options.scale());
        Tensor lse = work.tensor(DType.F32, queries, heads);
        Tensor part = work.tensor(DType.F32, queries, heads, valueDim);
        Tensor partLse = work.tensor(DType.F32, queries, heads);
        for (int from = 0, to; from < length; from = to) {
            to = from + Math.min(slab, length - from);
            Workspace.Mark mark = work.mark();
            Slab keys = read(sequence, from, to);
            int inside = Math.max(from - before, 0); // the first query in the slab or behind it
            int behind = Math.max(to - before, 0);
            Tensor target = from == 0 ? out : part;
            Tensor targetLse = from == 0 ? lse : partLse;
            if (inside < behind) {
                attend(q.slice(0, inside, behind), keys, one(behind - inside, to - from), options,
                        target.slice(0, inside, behind), targetLse.slice(0, inside, behind));
            }
            if (behind < queries) {
                attend(q.slice(0, behind, queries), keys, one(queries - behind, to - from), all,
                        target.slice(0, behind, queries), targetLse.slice(0, behind, queries));
            }
            if (from > 0) {
                Tensor o = out.slice(0, inside, queries);
                Tensor l = lse.slice(0, inside, queries);
                layer.operations().merge(o, l, part.slice(0, inside, queries), partLse.slice(0, inside, queries), o, l);
            }
            work.release(mark);
        }
    }

    /** As many queries at a time as leave room for their window in the slab, or at least a quarter of it. */
    private void byWindow(Tensor q, LatentKvCache.Sequence sequence, int length, Tensor out) {
        int queries = (int) q.dim(0);
        int before = length - queries;
        int block = Math.max(slab - options.window() + 1, Math.max(1, slab / 4));
        for (int first = 0, end; first < queries; first = end) {
            end = first + Math.min(block, queries - first);
            int from = (int) options.firstKey(before + first);
            Workspace.Mark mark = work.mark();
            Slab keys = read(sequence, from, before + end);
            attend(q.slice(0, first, end), keys, one(end - first, before + end - from), options,
                    out.slice(0, first, end), null);
            work.release(mark);
        }
    }

    // ---------------------------------------------------------------------------------------------- slabs

    private Slab read(LatentKvCache.Sequence sequence, int from, int to) {
        Tensor latents = latents(to - from);
        Tensor ropeKeys = ropeKeys(to - from);
        read(sequence, from, to, latents, ropeKeys);
        return decompress(latents, ropeKeys);
    }

    private void read(LatentKvCache.Sequence sequence, int from, int to, Tensor latents, Tensor ropeKeys) {
        cache.read(cacheLayer, sequence, from, to, latents, ropeKeys);
    }

    /** BF16 holds what a BF16 cache holds; codes times scales need FP32. */
    private Tensor latents(int tokens) {
        return work.tensor(cache.format() == CacheFormat.BF16 ? DType.BF16 : DType.F32, tokens, cache.kvLoraRank());
    }

    private Tensor ropeKeys(int tokens) {
        return work.tensor(DType.BF16, tokens, cache.ropeDim());
    }

    private Slab decompress(Tensor latents, Tensor ropeKeys) {
        Tensor keyValues = work.tensor(DType.BF16, latents.dim(0), heads, keyDim + valueDim);
        layer.decompress(work, latents, keyValues);
        return new Slab(keyValues.slice(2, 0, keyDim), ropeKeys, keyValues.slice(2, keyDim, keyDim + valueDim));
    }

    private static Ragged one(int queries, int keys) {
        return new Ragged(new int[] {queries}, new int[] {keys});
    }

    private void attend(Tensor q, Slab slab, Ragged lengths, AttentionOptions what, Tensor out,
            @Nullable Tensor lse) {
        layer.operations().prefill(q, slab.keys(), slab.ropeKeys(), slab.values(), lengths, what, out, lse);
    }
}
