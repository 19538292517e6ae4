package dev.octet.mla.cpu;

import dev.octet.core.Tensor;
import dev.octet.mla.Ragged;
import org.jspecify.annotations.Nullable;

/** The naive form: each head has keys and values of its own; a part of the keys may be shared. */
final class TensorKeys implements AttentionInput {
    private final AttentionKernels kernels;
    private final Ragged lengths;
    private final long[] firstQuery;
    private final long[] firstKey;
    private final AttentionRows keys;
    private final @Nullable AttentionRows ropeKeys;
    private final AttentionRows values;
    private final int heads;
    private final int dims;
    private final int ropeDims;
    private final int valueDims;

    TensorKeys(AttentionKernels kernels, Tensor keys, @Nullable Tensor ropeKeys, Tensor values, Ragged lengths) {
        this.kernels = kernels;
        this.lengths = lengths;
        firstQuery = CachedKeys.firsts(lengths.queries());
        firstKey = CachedKeys.firsts(lengths.keys());
        this.keys = new AttentionRows(keys);
        this.ropeKeys = ropeKeys == null ? null : new AttentionRows(ropeKeys);
        this.values = new AttentionRows(values);
        heads = Math.toIntExact(keys.dim(1));
        dims = Math.toIntExact(keys.dim(2));
        ropeDims = ropeKeys == null ? 0 : Math.toIntExact(ropeKeys.dim(1));
        valueDims = Math.toIntExact(values.dim(2));
    }

    @Override
    public int sequences() {
        return firstKey.length;
    }

    @Override
    public int groups() {
        return heads;
    }

    @Override
    public int rowsPerQuery() {
        return 1;
    }

    @Override
    public int queries(int sequence) {
        return lengths.queries()[sequence];
    }

    @Override
    public int keys(int sequence) {
        return lengths.keys()[sequence];
    }

    @Override
    public long firstQuery(int sequence) {
        return firstQuery[sequence];
    }

    @Override
    public int keyDims() {
        return dims + ropeDims;
    }

    @Override
    public int valueDims() {
        return valueDims;
    }

    @Override
    public boolean valuesAreKeys() {
        return false;
    }

    @Override
    public int leastKeys() {
        return 1024;
    }

    @Override
    public int place(int dim) {
        return dim;
    }

    @Override
    public int touch(int sequence, int group, int token, int tokens) {
        return 0; // rows of one head are short and far apart: there is no stream
    }

    @Override
    public void loadKey(int sequence, int group, int token, float[] k, float[] v, int slot) {
        long at = firstKey[sequence] + token;
        keys.loadKey(kernels, at, group, dims, k, slot, 0);
        if (ropeKeys != null) {
            ropeKeys.loadKey(kernels, at, group, ropeDims, k, slot, dims);
        }
        values.loadKey(kernels, at, group, valueDims, v, slot, 0);
    }
}
