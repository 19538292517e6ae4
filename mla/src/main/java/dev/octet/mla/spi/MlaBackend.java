package dev.octet.mla.spi;

import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.core.spi.Backend;
import dev.octet.mla.AttentionOptions;
import dev.octet.mla.Ragged;
import org.jspecify.annotations.Nullable;

/**
 * One implementation of latent attention's operations; {@link dev.octet.mla.Mla} defines them and checks all arguments
 * before it calls a backend: shapes, dtypes and devices fit, every tensor is open and in memory that the calling thread
 * may use, outputs can be written and have no stride 0 over several elements. Outputs overlap no input unless it says
 * so, which is its callers' care. Any extent may be 0. Tensors may have any strides unless said otherwise.
 *
 * <p>Implementations are safe for use by several threads, and give the same bits for every pool.
 */
public interface MlaBackend extends Backend {
    /**
     * RMSNorm over the last dimension; see {@link dev.octet.mla.Mla#rmsNorm}.
     *
     * @param x {@code [rows, d]} of F32 or BF16
     * @param weight {@code [d]} of F32 or BF16
     * @param eps what is added to the mean square
     * @param out {@code [rows, d]} of F32 or BF16; may be x
     * @param execution what to run on
     */
    void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out, Execution execution);

    /**
     * Turns interleaved pairs; see {@link dev.octet.mla.Mla#rope}.
     *
     * @param x {@code [tokens, heads, dim]}
     * @param positions one of each token
     * @param frequencies {@code dim / 2} angles for one position, as {@link dev.octet.mla.Rope#frequencies()} gives them
     * @param factor what cosines and sines are multiplied by
     * @param out as x; may be x
     * @param execution what to run on
     */
    void rope(Tensor x, int[] positions, float[] frequencies, float factor, Tensor out, Execution execution);

    /**
     * One matrix for each head; see {@link dev.octet.mla.Mla#projectHeads}.
     *
     * @param x {@code [tokens, heads, k]} of F32 or BF16
     * @param weight {@code [heads, n, k]} of F32 or BF16
     * @param out {@code [tokens, heads, n]} of F32 or BF16
     * @param execution what to run on
     */
    void projectHeads(Tensor x, Tensor weight, Tensor out, Execution execution);

    /**
     * Writes the records of tokens {@code from[s]} to {@code lengths[s]} of each sequence.
     *
     * @param latent {@code [tokens, kvLoraRank]} of F32 or BF16, all sequences' tokens one after the other
     * @param ropeKeys {@code [tokens, ropeDim]} of F32 or BF16, turned already
     * @param target the pages to write
     * @param from the first token of each sequence to write
     * @param execution what to run on
     */
    void write(Tensor latent, Tensor ropeKeys, PagedLatents target, int[] from, Execution execution);

    /**
     * Reads the records of tokens {@code from[s]} to {@code lengths[s]} of each sequence; the reverse of writing.
     *
     * @param source the pages to read
     * @param from the first token of each sequence to read
     * @param latent {@code [tokens, kvLoraRank]} of F32 or BF16, all sequences' tokens one after the other
     * @param ropeKeys {@code [tokens, ropeDim]} of F32 or BF16
     * @param execution what to run on
     */
    void read(PagedLatents source, int[] from, Tensor latent, Tensor ropeKeys, Execution execution);

    /**
     * Attention in the absorbed form over a cache; see {@link dev.octet.mla.Mla#decode}.
     *
     * @param query {@code [tokens, heads, kvLoraRank + ropeDim]} of F32 or BF16
     * @param keys the cache's pages of each sequence
     * @param queries query tokens of each sequence
     * @param options scale, mask and window
     * @param out {@code [tokens, heads, kvLoraRank]} of F32 or BF16
     * @param lse {@code [tokens, heads]} of F32, or null
     * @param execution what to run on
     */
    void decode(Tensor query, PagedLatents keys, int[] queries, AttentionOptions options, Tensor out,
            @Nullable Tensor lse, Execution execution);

    /**
     * Attention in the naive form; see {@link dev.octet.mla.Mla#prefill}.
     *
     * @param query {@code [query tokens, heads, dim of keys + dim of ropeKeys]} of F32 or BF16
     * @param keys {@code [key tokens, heads, dim]} of F32 or BF16
     * @param ropeKeys {@code [key tokens, dim]} of F32 or BF16, shared by all heads, or null
     * @param values {@code [key tokens, heads, dim]} of F32 or BF16
     * @param lengths tokens of queries and of keys of each sequence
     * @param options scale, mask and window
     * @param out {@code [query tokens, heads, dim of values]} of F32 or BF16
     * @param lse {@code [query tokens, heads]} of F32, or null
     * @param execution what to run on
     */
    void prefill(Tensor query, Tensor keys, @Nullable Tensor ropeKeys, Tensor values, Ragged lengths,
            AttentionOptions options, Tensor out, @Nullable Tensor lse, Execution execution);

    /**
     * Joins two partial results; see {@link dev.octet.mla.Mla#merge}.
     *
     * @param outA {@code [tokens, heads, dim]} of F32 or BF16
     * @param lseA {@code [tokens, heads]} of F32
     * @param outB as outA
     * @param lseB as lseA
     * @param out as outA; may be outA or outB
     * @param lse as lseA; may be lseA or lseB
     * @param execution what to run on
     */
    void merge(Tensor outA, Tensor lseA, Tensor outB, Tensor lseB, Tensor out, Tensor lse, Execution execution);
}
