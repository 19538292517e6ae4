/**
 * What a backend of multi-head latent attention implements.
 */
@NullMarked
package dev.octet.mla.spi;

import org.jspecify.annotations.NullMarked;
