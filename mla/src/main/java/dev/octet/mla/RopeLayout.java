package dev.octet.mla;

import dev.octet.core.Tensor;
import java.util.Arrays;

/**
 * Which two values of a head turn together. Scores are the same in both if queries and keys lie alike; a cache or a
 * weight of the other layout has its values permuted, which {@link #convert} and {@link #convertRows} do, exactly and
 * for any dtype.
 */
public enum RopeLayout {
    /**
     * Neighbours: {@code (x[2j], x[2j + 1])}. DeepSeek's checkpoints and inference code, and everything in Octet.
     */
    INTERLEAVED,
    /**
     * Halves: {@code (x[j], x[j + dim / 2])}. Hugging Face's code after it has de-interleaved, and so its cached keys;
     * and the checkpoints of most other models.
     */
    HALVES;

    /**
     * Permutes the last dimension, for example of rotary keys {@code [tokens, dim]} or queries
     * {@code [tokens, heads, dim]}.
     *
     * @param x {@code [..., dim]} in this layout, of any dtype and strides, on the CPU; {@code dim} is even
     * @param to the layout that is wanted
     * @return a contiguous copy in that layout, which owns its memory
     * @throws IllegalArgumentException if {@code x} has no dimensions or an odd last one
     */
    public Tensor convert(Tensor x, RopeLayout to) {
        int rank = x.shape().rank();
        if (rank == 0 || x.dim(rank - 1) % 2 != 0) {
            throw new IllegalArgumentException("x has shape " + x.shape() + ", its last dimension must be even");
        }
        Tensor out = Tensor.allocate(x.device(), x.dtype(), x.shape());
        try {
            to.pairs(out).copyFrom(pairs(x));
            return out;
        } catch (RuntimeException | Error e) {
            out.close();
            throw e;
        }
    }

    /**
     * Permutes the rows of a projection that make rotary values, so that its results come in another layout:
     * {@code q_b_proj} (or {@code q_proj}) with {@code headRows = qkHeadDim}, and {@code kv_a_proj_with_mqa} with
     * {@code headRows = kvLoraRank + qkRopeHeadDim}; of each {@code headRows} rows the last {@code ropeRows} are
     * permuted. Rows of FP8 codes may be permuted while their scales stay if all rotary rows of a head share a scale,
     * as in DeepSeek's checkpoints, where 64 rows never cross the border of a block of 128.
     *
     * @param weight {@code [heads * headRows, k]}, or a bias {@code [heads * headRows]}, in this layout, of any dtype
     *     and strides, on the CPU; the transposed view of a weight {@code [k, heads * headRows]} has its columns
     *     permuted
     * @param headRows rows of one head
     * @param ropeRows how many of them, the last ones, make rotary values; even
     * @param to the layout that is wanted
     * @return a contiguous copy in that layout, which owns its memory
     * @throws IllegalArgumentException if the rows are no multiple of {@code headRows}, or {@code ropeRows} is odd or
     *     larger than {@code headRows}
     */
    public Tensor convertRows(Tensor weight, int headRows, int ropeRows, RopeLayout to) {
        int rank = weight.shape().rank();
        if (rank < 1 || rank > 2) {
            throw new IllegalArgumentException(
                    "weight has shape " + weight.shape() + ", it must be a matrix or a vector");
        }
        if (headRows < 1 || weight.dim(0) % headRows != 0) {
            throw new IllegalArgumentException(
                    "headRows is " + headRows + ", weight has " + weight.dim(0) + " rows, which are no multiple of it");
        }
        if (ropeRows < 0 || ropeRows > headRows || ropeRows % 2 != 0) {
            throw new IllegalArgumentException(
                    "ropeRows is " + ropeRows + ", it must be even and at most headRows, " + headRows);
        }
        Tensor out = weight.copy();
        try {
            to.pairs(rotary(out, headRows, ropeRows)).copyFrom(pairs(rotary(weight, headRows, ropeRows)));
            return out;
        } catch (RuntimeException | Error e) {
            out.close();
            throw e;
        }
    }

    /** The rotary rows as {@code [heads, k, ropeRows]}, or {@code [heads, ropeRows]} of a bias. */
    private static Tensor rotary(Tensor weight, int headRows, int ropeRows) {
        long heads = weight.dim(0) / headRows;
        int first = headRows - ropeRows;
        return weight.shape().rank() == 1 ? weight.reshape(heads, headRows).slice(1, first, headRows)
                : weight.reshape(heads, headRows, weight.dim(1)).slice(1, first, headRows).transpose(1, 2);
    }

    /** A view with the pairs {@code [..., dim / 2, 2]}. */
    private Tensor pairs(Tensor x) {
        int last = x.shape().rank() - 1;
        long[] dims = Arrays.copyOf(x.shape().toArray(), last + 2);
        dims[last] = this == INTERLEAVED ? x.dim(last) / 2 : 2;
        dims[last + 1] = this == INTERLEAVED ? 2 : x.dim(last) / 2;
        Tensor split = x.reshape(dims);
        return this == INTERLEAVED ? split : split.transpose(last, last + 1);
    }
}
