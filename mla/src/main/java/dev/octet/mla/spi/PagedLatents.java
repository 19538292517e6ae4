package dev.octet.mla.spi;

import dev.octet.core.Tensor;
import dev.octet.mla.CacheFormat;

/**
 * What a backend sees of one layer of a cache: token {@code t} of sequence {@code s} is record
 * {@code t % pageSize} of page {@code tables[s][t / pageSize]}. Whoever calls a backend has made sure that nobody else
 * changes these sequences meanwhile. The arrays are not to be changed.
 *
 * @param format how a record lies in its bytes
 * @param kvLoraRank values of the latent
 * @param ropeDim values of the rotary key
 * @param pages U8 {@code [pages, pageSize, bytesPerToken]}, contiguous
 * @param tables pages of each sequence, in the order of its tokens; entries beyond its length have no meaning
 * @param lengths tokens of each sequence. Records beyond them hold anything, NaN included
 */
public record PagedLatents(CacheFormat format, int kvLoraRank, int ropeDim, Tensor pages, int[][] tables,
        int[] lengths) {
    /** {@return how many sequences} */
    public int sequences() {
        return lengths.length;
    }

    /** {@return tokens of a page} */
    public int pageSize() {
        return Math.toIntExact(pages.dim(1));
    }

    /** {@return bytes of a token's record} */
    public int bytesPerToken() {
        return Math.toIntExact(pages.dim(2));
    }

    /**
     * {@return where a token's record begins, in bytes from the begin of the pages}
     *
     * @param sequence which sequence
     * @param token which token of it, less than its length
     */
    public long offset(int sequence, int token) {
        int size = pageSize();
        return ((long) tables[sequence][token / size] * size + token % size) * bytesPerToken();
    }
}
