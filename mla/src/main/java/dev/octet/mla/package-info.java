/**
 * Multi-head latent attention (DeepSeek-V2 &sect;2.1, DeepSeek-V3 &sect;2.1.1): {@link dev.octet.mla.MlaLayer} goes
 * from hidden states to hidden states, {@link dev.octet.mla.LatentKvCache} keeps a latent for each token in pages,
 * {@link dev.octet.mla.MlaWeights} reads a layer of a checkpoint, {@link dev.octet.mla.Mla} holds each operation alone,
 * and {@link dev.octet.mla.KvCacheSize} says what the cache of any model takes.
 * {@snippet lang=java :
 * try (MlaWeights weights = MlaWeights.read(checkpoint, config, 0);
 *         MlaLayer attention = new MlaLayer(weights);
 *         LatentKvCache cache = LatentKvCache.allocate(config, CacheFormat.BF16, 1, 16, 64);  // 16 pages of 64 tokens
 *         LatentKvCache.Sequence sequence = cache.open()) {
 *     List<LatentKvCache.Sequence> batch = List.of(sequence);
 *     cache.extend(batch, 100);                                              // places, in all layers
 *     attention.prefill(prompt, cache, 0, batch, new int[] {100}, out);      // [100, hidden], F32 or BF16
 *     cache.extend(batch, 1);
 *     attention.decode(next, cache, 0, batch, new int[] {1}, last);          // [1, hidden]
 * }
 * }
 *
 * <p>Any thread may call any operation; a cache's sequences may be worked on at the same time, each by one thread.
 * Wrong arguments throw {@link IllegalArgumentException} with the argument's name, what came and what fits, and
 * outputs are untouched then; a cache without a free page throws {@link dev.octet.mla.OutOfPagesException}.
 */
package dev.octet.mla;

import org.jspecify.annotations.NullMarked;
