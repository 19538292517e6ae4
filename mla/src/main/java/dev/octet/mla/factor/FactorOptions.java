package dev.octet.mla.factor;

import java.util.Objects;

/**
 * How {@link LatentFactorization} goes about it.
 *
 * @param weighting how the errors of keys and values count against each other
 * @param ridge what is added to the diagonal of the activations' covariance, as a multiple of the mean of that
 *     diagonal; not negative. It stands for directions that the sample did not show: towards 0 the sample is trusted
 *     entirely, towards infinity only the weights count. Without activations it has no meaning
 * @param centered whether the mean activation goes around the latent into the biases, where it costs no cache; a model
 *     without biases gets some. Without activations it has no meaning
 */
public record FactorOptions(Weighting weighting, double ridge, boolean centered) {
    /** Balanced, a ridge of 0.03, centered. */
    public static final FactorOptions DEFAULT = new FactorOptions(Weighting.BALANCED, 0.03, true);

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if the ridge is negative or not finite
     */
    public FactorOptions {
        Objects.requireNonNull(weighting, "weighting");
        if (!(ridge >= 0 && ridge <= Double.MAX_VALUE)) {
            throw new IllegalArgumentException("ridge is " + ridge + ", it must be finite and not negative");
        }
    }

    /**
     * {@return the same with another weighting}
     *
     * @param other the weighting
     */
    public FactorOptions with(Weighting other) {
        return new FactorOptions(other, ridge, centered);
    }

    /**
     * {@return the same with another ridge}
     *
     * @param other the ridge, in multiples of the mean of the covariance's diagonal
     * @throws IllegalArgumentException if it is negative or not finite
     */
    public FactorOptions withRidge(double other) {
        return new FactorOptions(weighting, other, centered);
    }

    /**
     * {@return the same, with or without the mean in the biases}
     *
     * @param other whether the mean goes into the biases
     */
    public FactorOptions withCentered(boolean other) {
        return new FactorOptions(weighting, ridge, other);
    }
}
