package dev.octet.mla;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.fp8.Fp8;

/**
 * What the absorbed form multiplies with instead of making keys and values (DeepSeek-V2 &sect;2.1.2): the matrices of
 * each head that {@code kv_b_proj} consists of,
 * {@snippet lang=text :
 * key[j,h]   = UK[h] * latent[j]        so  q . key[j,h] = (UK[h]^T * q) . latent[j]
 * value[j,h] = UV[h] * latent[j]        so  SUM p[j] value[j,h] = UV[h] * SUM p[j] latent[j]
 * }
 * in BF16, to which they are dequantised once, as in the published inference code. Both are views of the same memory,
 * and what {@link Mla#projectHeads} takes as its weight. V3 has 33.6 MB a layer.
 *
 * <p>Immutable; may be shared between threads.
 */
public final class AbsorbedWeights implements AutoCloseable {
    /** {@code [heads * (qkNopeHeadDim + vHeadDim), kvLoraRank]}. */
    private final Tensor all;
    private final Tensor keys;
    private final Tensor values;

    private AbsorbedWeights(Tensor all, MlaConfig config) {
        this.all = all;
        long nope = config.qkNopeHeadDim();
        Tensor byHead = all.reshape(config.heads(), nope + config.vHeadDim(), config.kvLoraRank());
        keys = byHead.slice(1, 0, nope).transpose(1, 2);
        values = byHead.slice(1, nope, byHead.dim(1));
    }

    /**
     * Prepares a layer's matrices.
     *
     * @param weights they are not needed afterwards
     * @return matrices that own their memory; close them to free it
     */
    public static AbsorbedWeights of(MlaWeights weights) {
        return of(weights, Fp8.auto());
    }

    static AbsorbedWeights of(MlaWeights weights, Fp8 fp8) {
        return new AbsorbedWeights(fp8.dequantize(weights.kvB(), DType.BF16), weights.config());
    }

    /** {@return {@code UK^T}, {@code [heads, kvLoraRank, qkNopeHeadDim]}: turns a query into the latents' space} */
    public Tensor keys() {
        return keys;
    }

    /** {@return {@code UV}, {@code [heads, vHeadDim, kvLoraRank]}: turns a sum of latents into a sum of values} */
    public Tensor values() {
        return values;
    }

    /** Frees the memory. */
    @Override
    public void close() {
        keys.close();
        values.close();
        all.close();
    }
}
