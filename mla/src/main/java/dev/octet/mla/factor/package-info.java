/**
 * Latent factorisation: turns the key and value projections of a layer with ordinary multi-head or grouped-query
 * attention into one shared projection to a latent and two projections back, so that a cache of latents, as
 * multi-head latent attention keeps it (DeepSeek-V2 &sect;2.1.2), can take the place of keys and values; and measures
 * what that does to the layer's output. {@link dev.octet.mla.factor.LatentFactorization} is where to begin.
 *
 * <p>Everything is computed in double on the CPU; weights and activations may be F32 or BF16.
 */
@NullMarked
package dev.octet.mla.factor;

import org.jspecify.annotations.NullMarked;
