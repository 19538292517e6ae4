package dev.octet.mla.factor;

/** How the errors of keys and values count against each other, since both come out of one latent. */
public enum Weighting {
    /** Every element alike: the larger of the two matrices takes most of the latent. */
    PLAIN,
    /**
     * Each relative to its own size: the rows of both are divided by the norm of their matrix, as the factorisation
     * measures it (Frobenius, or Frobenius over the activations), and multiplied back afterwards.
     */
    BALANCED
}
