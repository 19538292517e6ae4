package dev.octet.mla.factor;

import java.util.List;

/**
 * What one rank costs and what it loses, for one layer or for several together.
 *
 * @param rank elements of a token's latent in one layer
 * @param bytesPerToken of the latents
 * @param uncompressedBytesPerToken of keys and values in the same format
 * @param weights of both projections, {@code W_r} against {@code W}:
 *     {@linkplain SquaredError#relative() relative} in the Frobenius norm
 * @param keys of the keys of all sample tokens, biases included
 * @param values of the values of all sample tokens, biases included
 * @param output of what leaves the attention layer: softmax, values and output projection, without the output's bias
 */
public record LatentError(int rank, long bytesPerToken, long uncompressedBytesPerToken, SquaredError weights,
        SquaredError keys, SquaredError values, SquaredError output) {
    /** {@return how many times smaller the cache is} */
    public double compression() {
        return (double) uncompressedBytesPerToken / bytesPerToken;
    }

    /**
     * Adds up layers: bytes, and errors and norms squared.
     *
     * @param layers the same rank in each
     * @return all of them as one
     * @throws IllegalArgumentException if there is none, or ranks differ
     */
    public static LatentError total(List<LatentError> layers) {
        if (layers.isEmpty()) {
            throw new IllegalArgumentException("layers is empty, at least one layer is needed");
        }
        LatentError sum = layers.getFirst();
        for (LatentError e : layers.subList(1, layers.size())) {
            if (e.rank != sum.rank) {
                throw new IllegalArgumentException(
                        "layers have ranks " + sum.rank + " and " + e.rank + ", they must have the same");
            }
            sum = new LatentError(sum.rank, sum.bytesPerToken + e.bytesPerToken,
                    sum.uncompressedBytesPerToken + e.uncompressedBytesPerToken, sum.weights.plus(e.weights),
                    sum.keys.plus(e.keys), sum.values.plus(e.values), sum.output.plus(e.output));
        }
        return sum;
    }
}
