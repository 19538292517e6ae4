package dev.octet.mla;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.Checkpoint;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import org.jspecify.annotations.Nullable;

/**
 * The weights of a latent attention layer (DeepSeek-V3 &sect;2.1.1): FP8 matrices {@code [outputs, inputs]} with a
 * scale for every 128x128, and the weights of two norms. The projections of the hidden state are one matrix, as one
 * GEMM is faster than two.
 *
 * <p>Immutable; may be shared between threads like the tensors it holds.
 *
 * @param config the dimensions
 * @param qkvA {@code [queryRows + kvLoraRank + qkRopeHeadDim, hiddenSize]}: {@code q_a_proj}, or {@code q_proj}
 *     without compression, and below it {@code kv_a_proj_with_mqa}; V3 has {@code [2112, 7168]}
 * @param qNorm {@code q_a_layernorm}, {@code [qLoraRank]} of F32 or BF16; null without compression
 * @param qB {@code q_b_proj}, {@code [heads * qkHeadDim, qLoraRank]}; null without compression
 * @param kvNorm {@code kv_a_layernorm}, {@code [kvLoraRank]} of F32 or BF16
 * @param kvB {@code kv_b_proj}, {@code [heads * (qkNopeHeadDim + vHeadDim), kvLoraRank]}, of each head first the
 *     key's rows
 * @param o {@code o_proj}, {@code [hiddenSize, heads * vHeadDim]}
 */
public record MlaWeights(MlaConfig config, ScaledTensor qkvA, @Nullable Tensor qNorm,
        @Nullable ScaledTensor qB, Tensor kvNorm, ScaledTensor kvB, ScaledTensor o)
        implements AutoCloseable {
    /**
     * Checks shapes, dtypes, scalings and devices.
     *
     * @throws IllegalArgumentException if something does not fit the config; the message names it
     */
    public MlaWeights {
        long heads = config.heads();
        Device device = qkvA.device();
        matrix("qkvA", qkvA, (long) config.queryRows() + config.latentDim(), config.hiddenSize(), device);
        if (config.compressesQueries() != (qNorm != null) || config.compressesQueries() != (qB != null)) {
            throw new IllegalArgumentException("qNorm and qB are there if queries are compressed, and only then:"
                    + " qLoraRank is " + config.qLoraRank() + ", qNorm " + qNorm + ", qB "
                    + (qB == null ? null : qB.codes()));
        }
        if (qNorm != null && qB != null) {
            norm("qNorm", qNorm, config.qLoraRank(), device);
            matrix("qB", qB, heads * config.qkHeadDim(), config.qLoraRank(), device);
        }
        norm("kvNorm", kvNorm, config.kvLoraRank(), device);
        matrix("kvB", kvB, heads * (config.qkNopeHeadDim() + config.vHeadDim()), config.kvLoraRank(), device);
        matrix("o", o, config.hiddenSize(), heads * config.vHeadDim(), device);
    }

    private static void matrix(String name, ScaledTensor w, long rows, long columns, Device device) {
        if (!w.codes().shape().equals(Shape.of(rows, columns))) {
            throw new IllegalArgumentException(
                    name + " has shape " + w.codes().shape() + ", the config takes " + Shape.of(rows, columns));
        }
        if (w.scaling().granularity() != Granularity.BLOCK_128X128) {
            throw new IllegalArgumentException(
                    name + " has granularity " + w.scaling().granularity() + ", it must be BLOCK_128X128");
        }
        Mla.requireDevice(device, name, w.codes());
    }

    private static void norm(String name, Tensor w, int size, Device device) {
        if (w.dtype() != DType.F32 && w.dtype() != DType.BF16) {
            throw new IllegalArgumentException(name + " is " + w.dtype() + ", it must be F32 or BF16");
        }
        Mla.requireShape(name, w, Shape.of(size));
        Mla.requireDevice(device, name, w);
    }

    /**
     * Reads a layer under its published names, {@code model.layers.N.self_attn.q_a_proj.weight} and so on. FP8 matrices
     * are taken as they are, in place, except the fused one, whose two parts are copied below each other; with a number
     * of query rows that is no multiple of 128 (which no DeepSeek model has) blocks do not line up, and both parts are
     * dequantised and quantised together. F32, BF16 and F16 matrices are quantised.
     *
     * @param checkpoint where they are; stays open as long as the weights are used
     * @param config the dimensions
     * @param layer which layer
     * @return the weights; close them to free what was copied
     * @throws IllegalArgumentException if a tensor is missing, or its shape or dtype does not fit; the message has its
     *     name
     */
    public static MlaWeights read(Checkpoint checkpoint, MlaConfig config, int layer) {
        if (layer < 0) {
            throw new IllegalArgumentException("layer is " + layer + ", it can't be negative");
        }
        String prefix = "model.layers." + layer + ".self_attn.";
        try (WeightBuilder builder = new WeightBuilder(config, checkpoint.scaleFormat())) {
            return builder.build(name -> WeightBuilder.Matrix.of(checkpoint, prefix + name + ".weight"));
        }
    }

    /**
     * Quantises a layer.
     *
     * @param config the dimensions
     * @param weights matrices of F32, BF16 or F16; norms of F32 or BF16. They are copied
     * @param format how scales are rounded
     * @return weights that own their memory; close them to free it
     * @throws IllegalArgumentException if a shape or dtype does not fit the config; the message names it
     */
    public static MlaWeights quantize(MlaConfig config, MlaFloatWeights weights, ScaleFormat format) {
        try (WeightBuilder builder = new WeightBuilder(config, format)) {
            return builder.build(name -> WeightBuilder.Matrix.of(name, weights));
        }
    }

    /**
     * {@return made-up weights, quantised with FP32 scales, that own their memory; see {@link MlaFloatWeights#random}}
     *
     * @param config the dimensions
     * @param seed the same seed gives the same weights
     */
    public static MlaWeights random(MlaConfig config, long seed) {
        try (MlaFloatWeights weights = MlaFloatWeights.random(config, seed)) {
            return quantize(config, weights, ScaleFormat.F32);
        }
    }

    /** {@return the bytes of all codes, scales and norms} */
    public long byteSize() {
        long bytes = qkvA.byteSize() + kvB.byteSize() + o.byteSize() + bytes(kvNorm);
        return bytes + (qB == null ? 0 : qB.byteSize()) + (qNorm == null ? 0 : bytes(qNorm));
    }

    private static long bytes(Tensor t) {
        return t.shape().elements() * t.dtype().byteSize();
    }

    /** Checks that all of it is there, before a layer writes what it makes with a part of it. */
    void requireOpen() {
        requireOpen("qkvA", qkvA);
        if (qNorm != null && qB != null) {
            Mla.requireOpen("qNorm", qNorm);
            requireOpen("qB", qB);
        }
        Mla.requireOpen("kvNorm", kvNorm);
        requireOpen("kvB", kvB);
        requireOpen("o", o);
    }

    private static void requireOpen(String name, ScaledTensor w) {
        Mla.requireOpen(name, w.codes());
        Mla.requireOpen(name, w.scales());
    }

    /** Closes all tensors, which frees those that own their memory. */
    @Override
    public void close() {
        qkvA.close();
        if (qNorm != null) {
            qNorm.close();
        }
        if (qB != null) {
            qB.close();
        }
        kvNorm.close();
        kvB.close();
        o.close();
    }
}
