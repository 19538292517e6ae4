/**
 * Multi-head latent attention as plain loops in FP64, which define the results.
 */
@NullMarked
package dev.octet.mla.reference;

import org.jspecify.annotations.NullMarked;
