/**
 * Multi-head latent attention (DeepSeek-V2 &sect;2.1, DeepSeek-V3 &sect;2.1.1): {@link dev.octet.mla.Mla} holds the
 * operations, {@link dev.octet.mla.LatentKvCache} the compressed cache, {@link dev.octet.mla.MlaLayer} puts a layer together.
 */
@NullMarked
package dev.octet.mla;

import org.jspecify.annotations.NullMarked;
