package dev.octet.mla.factor;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The projections of one layer of multi-head attention, or of grouped-query attention where {@code kvHeads < heads}:
 * query head {@code h} reads key and value head {@code h / (heads / kvHeads)}. Matrices are {@code [out, in]}, as
 * checkpoints hold them; pass {@code transpose()} of one that lies the other way. All of it F32 or BF16 on the CPU, of
 * any strides. The tensors are not copied; they must stay open and unchanged while the record is in use.
 *
 * @param heads query heads
 * @param kvHeads key and value heads; divides {@code heads}
 * @param query {@code [heads * qkDim, hidden]}
 * @param key {@code [kvHeads * qkDim, hidden]}
 * @param value {@code [kvHeads * vDim, hidden]}
 * @param output {@code [any, heads * vDim]}
 * @param queryBias {@code [heads * qkDim]}, or null
 * @param keyBias {@code [kvHeads * qkDim]}, or null
 * @param valueBias {@code [kvHeads * vDim]}, or null
 */
public record AttentionWeights(int heads, int kvHeads, Tensor query, Tensor key, Tensor value, Tensor output,
        @Nullable Tensor queryBias, @Nullable Tensor keyBias, @Nullable Tensor valueBias) {
    /**
     * Checks that all shapes belong together.
     *
     * @throws IllegalArgumentException if a shape, dtype or device does not fit; the message names the argument
     */
    public AttentionWeights {
        if (heads < 1) {
            throw new IllegalArgumentException("heads is " + heads + ", it must be positive");
        }
        if (kvHeads < 1 || heads % kvHeads != 0) {
            throw new IllegalArgumentException("kvHeads is " + kvHeads + ", it must divide heads, " + heads);
        }
        requireMatrix("query", query);
        requireMatrix("key", key);
        requireMatrix("value", value);
        requireMatrix("output", output);
        long hidden = query.dim(1);
        requireMultiple("query", query, "heads", heads);
        requireMultiple("value", value, "kvHeads", kvHeads);
        long qkDim = query.dim(0) / heads;
        long vDim = value.dim(0) / kvHeads;
        requireShape("key", key, Shape.of(kvHeads * qkDim, hidden));
        requireShape("value", value, Shape.of(kvHeads * vDim, hidden));
        requireShape("output", output, Shape.of(output.dim(0), heads * vDim));
        requireBias("queryBias", queryBias, query.dim(0));
        requireBias("keyBias", keyBias, key.dim(0));
        requireBias("valueBias", valueBias, value.dim(0));
    }

    /**
     * Weights without biases.
     *
     * @param heads query heads
     * @param kvHeads key and value heads; divides {@code heads}
     * @param query {@code [heads * qkDim, hidden]}
     * @param key {@code [kvHeads * qkDim, hidden]}
     * @param value {@code [kvHeads * vDim, hidden]}
     * @param output {@code [any, heads * vDim]}
     * @throws IllegalArgumentException if a shape, dtype or device does not fit; the message names the argument
     */
    public AttentionWeights(int heads, int kvHeads, Tensor query, Tensor key, Tensor value, Tensor output) {
        this(heads, kvHeads, query, key, value, output, null, null, null);
    }

    /** {@return the width of what the projections read} */
    public int hidden() {
        return (int) query.dim(1);
    }

    /** {@return channels of a query or key head} */
    public int qkDim() {
        return (int) (query.dim(0) / heads);
    }

    /** {@return channels of a value head} */
    public int vDim() {
        return (int) (value.dim(0) / kvHeads);
    }

    /** {@return what a cache of keys and values holds of one token: {@code kvHeads * (qkDim + vDim)} elements} */
    public int cachedElements() {
        return (int) (key.dim(0) + value.dim(0));
    }

    private static void requireMatrix(String name, Tensor t) {
        requireFloat(name, t);
        if (t.shape().rank() != 2 || t.dim(0) < 1 || t.dim(1) < 1 || t.dim(0) > MAX_EXTENT || t.dim(1) > MAX_EXTENT) {
            throw new IllegalArgumentException(
                    name + " has shape " + t.shape() + ", it takes a matrix with extents from 1 to " + MAX_EXTENT);
        }
    }

    /** Decompositions of more would take days, and their matrices more than an array holds. */
    private static final int MAX_EXTENT = 1 << 15;

    static void requireFloat(String name, Tensor t) {
        if (t.dtype() != DType.F32 && t.dtype() != DType.BF16) {
            throw new IllegalArgumentException(name + " is " + t.dtype() + ", it must be F32 or BF16");
        }
        if (!t.device().equals(Device.CPU)) {
            throw new IllegalArgumentException(name + " is on " + t.device() + ", it must be on " + Device.CPU);
        }
    }

    private static void requireMultiple(String name, Tensor t, String divisorName, int divisor) {
        if (t.dim(0) % divisor != 0) {
            throw new IllegalArgumentException(
                    name + " has " + t.dim(0) + " rows, it takes a multiple of " + divisorName + ", " + divisor);
        }
    }

    private static void requireShape(String name, Tensor t, Shape shape) {
        if (!t.shape().equals(shape)) {
            throw new IllegalArgumentException(name + " has shape " + t.shape() + ", it must be " + shape);
        }
    }

    private static void requireBias(String name, @Nullable Tensor t, long extent) {
        if (t != null) {
            requireFloat(name, t);
            requireShape(name, t, Shape.of(extent));
        }
    }
}
