package dev.octet.mla.factor;

import dev.octet.core.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * A layer's key and value projections through a latent of {@code rank} elements:
 * {@code c = down x + downBias}, {@code k = keyUp c + keyBias}, {@code v = valueUp c + valueBias}. Only {@code c} needs
 * to be cached. Matrices are {@code [out, in]}, contiguous; the record owns all of its memory.
 *
 * <p>For decoding, {@code keyUp} can be absorbed into the query projection and {@code valueUp} into the output
 * projection, as in DeepSeek-V2 &sect;2.1.2: {@code q . k = (keyUp^T q) . c + q . keyBias}, whose last term is the same
 * for all keys of a query and so drops out of the softmax; and as the weights of a softmax add up to 1,
 * {@code valueBias} is a constant that goes through the output projection into its bias.
 *
 * @param rank elements of the latent
 * @param down {@code [rank, hidden]}
 * @param downBias {@code [rank]} F32; null if the mean does not go around the latent
 * @param keyUp {@code [kvHeads * qkDim, rank]}
 * @param keyBias {@code [kvHeads * qkDim]} F32; null if the model has none and {@code downBias} is null
 * @param valueUp {@code [kvHeads * vDim, rank]}
 * @param valueBias {@code [kvHeads * vDim]} F32; null if the model has none and {@code downBias} is null
 */
public record LatentFactors(int rank, Tensor down, @Nullable Tensor downBias, Tensor keyUp, @Nullable Tensor keyBias,
        Tensor valueUp, @Nullable Tensor valueBias) implements AutoCloseable {
    /** Frees the memory of all tensors. */
    @Override
    public void close() {
        down.close();
        keyUp.close();
        valueUp.close();
        for (Tensor bias : new @Nullable Tensor[] {downBias, keyBias, valueBias}) {
            if (bias != null) {
                bias.close();
            }
        }
    }
}
