package dev.octet.mla;

import dev.octet.core.json.ConfigJson;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;

/**
 * How many bytes a model's cache of keys and values takes, exactly (DeepSeek-V2, table 1; "Insights into DeepSeek-V3",
 * table 1):
 *
 * <table>
 * <caption>values of a token in one layer</caption>
 * <tr><th>mechanism</th><th>values</th></tr>
 * <tr><td>multi-head attention</td><td>{@code 2 * heads * headDim}</td></tr>
 * <tr><td>grouped-query attention</td><td>{@code 2 * keyValueHeads * headDim}</td></tr>
 * <tr><td>multi-query attention</td><td>{@code 2 * headDim}</td></tr>
 * <tr><td>latent attention</td><td>{@code kvLoraRank + qkRopeHeadDim}</td></tr>
 * <tr><td>latent attention, keys and values of each head cached</td>
 *     <td>{@code heads * (qkHeadDim + vHeadDim)}</td></tr>
 * </table>
 *
 * <p>A layer with a window keeps its last tokens only. Weights, activations and unused places of a page do not count.
 *
 * @param mechanism how the model attends, in words
 * @param layers its layers, those that are alike together
 */
public record KvCacheSize(String mechanism, List<Layers> layers) {
    /**
     * Layers that are alike.
     *
     * @param count how many
     * @param bytesPerToken what a token takes in one of them
     * @param window how many tokens each keeps at most; 0 for all
     */
    public record Layers(int count, long bytesPerToken, long window) {
        /**
         * Checks the values.
         *
         * @throws IllegalArgumentException if one is negative; the message names it
         */
        public Layers {
            notNegative("count", count);
            notNegative("bytesPerToken", bytesPerToken);
            notNegative("window", window);
        }
    }

    /** Copies the list. */
    public KvCacheSize {
        layers = List.copyOf(layers);
    }

    // ---------------------------------------------------------------------------------------------- mechanisms

    /**
     * {@return the cache of multi-head, grouped-query or multi-query attention: a key and a value of each head}
     *
     * @param layers layers of the model
     * @param keyValueHeads all heads, fewer, or 1
     * @param headDim values of a key, and of a value
     * @param format how each of the vectors is stored
     * @throws IllegalArgumentException if a number is not positive; the message names it
     */
    public static KvCacheSize attention(int layers, int keyValueHeads, int headDim, KvFormat format) {
        positive("headDim", headDim);
        String mechanism = keyValueHeads + (keyValueHeads == 1 ? " head of " : " heads of ") + headDim;
        return ofHeads(mechanism, layers, keyValueHeads, headDim, headDim, format);
    }

    /**
     * {@return the cache of latent attention in the format of a {@link LatentKvCache}}
     *
     * @param config the model
     * @param format how a token is stored
     * @throws IllegalArgumentException if the format can't have such a latent
     */
    public static KvCacheSize latent(MlaConfig config, CacheFormat format) {
        return ofLatent(config.layers(), config.kvLoraRank(), config.qkRopeHeadDim(),
                format.bytesPerToken(config.kvLoraRank(), config.qkRopeHeadDim()));
    }

    /**
     * {@return the cache of latent attention, latent and rotary key stored in any formats}
     *
     * @param layers layers of the model
     * @param kvLoraRank values of the latent
     * @param ropeDim values of the rotary key
     * @param latent how the latent is stored
     * @param ropeKey how the key is stored
     * @throws IllegalArgumentException if a number is not positive; the message names it
     */
    public static KvCacheSize latent(int layers, int kvLoraRank, int ropeDim, KvFormat latent, KvFormat ropeKey) {
        positive("kvLoraRank", kvLoraRank);
        positive("ropeDim", ropeDim);
        return ofLatent(layers, kvLoraRank, ropeDim, sum(latent.bytes(kvLoraRank), ropeKey.bytes(ropeDim)));
    }

    /**
     * {@return the cache of latent attention by one that keeps what it was made to save: the key and the value of each
     * head}
     *
     * @param config the model
     * @param format how each of the vectors is stored
     */
    public static KvCacheSize naive(MlaConfig config, KvFormat format) {
        return ofHeads("MLA, " + config.heads() + " heads of " + config.qkHeadDim() + " and " + config.vHeadDim(),
                config.layers(), config.heads(), config.qkHeadDim(), config.vHeadDim(), format);
    }

    private static KvCacheSize ofLatent(int layers, int kvLoraRank, int ropeDim, long bytes) {
        return of("MLA, " + kvLoraRank + " + " + ropeDim, layers, bytes);
    }

    private static KvCacheSize ofHeads(String mechanism, int layers, int heads, int keyDim, int valueDim,
            KvFormat format) {
        positive("keyValueHeads", heads);
        return of(mechanism, layers, product(heads, sum(format.bytes(keyDim), format.bytes(valueDim))));
    }

    private static KvCacheSize of(String mechanism, int layers, long bytes) {
        positive("layers", layers);
        return new KvCacheSize(mechanism, List.of(new Layers(layers, bytes, 0)));
    }

    // ---------------------------------------------------------------------------------------------- from a file

    /**
     * Reads a Hugging Face {@code config.json} of any model whose layers attend in one of these ways, by its layers,
     * heads and dimensions; a model is taken for one with latent attention if it has a {@code kv_lora_rank}. Windows
     * are those of {@code sliding_window}, in the layers that {@code layer_types}, {@code sliding_window_pattern},
     * {@code max_window_layers} and {@code use_sliding_window} say. Layers of multi-token prediction do not count.
     *
     * @param file the file
     * @param format how tokens are stored; heads as {@link KvFormat#of} says
     * @return the size of its cache
     * @throws IOException if the file can't be read, is no JSON, or a field is missing, stands twice, has another type
     *     than it must, is out of range or contradicts another; the message names the file and the field
     */
    public static KvCacheSize read(Path file, CacheFormat format) throws IOException {
        return ConfigJson.read(file, MlaConfigJson.FIELDS, json -> KvCacheSizeJson.size(json, format));
    }

    /**
     * Reads the text of a {@code config.json}, as {@link #read} does.
     *
     * @param json the text
     * @param format how tokens are stored
     * @return the size of the cache
     * @throws IllegalArgumentException if the text is not as it must be; the message names the field
     */
    public static KvCacheSize parse(String json, CacheFormat format) {
        return KvCacheSizeJson.size(ConfigJson.parse(json, MlaConfigJson.FIELDS), format);
    }

    // ---------------------------------------------------------------------------------------------- changes

    /**
     * {@return the same cache with a window in every layer}
     *
     * @param window how many tokens a layer keeps at most; 0 for all
     */
    public KvCacheSize withWindow(long window) {
        return new KvCacheSize(mechanism,
                layers.stream().map(l -> new Layers(l.count(), l.bytesPerToken(), window)).toList());
    }

    /**
     * {@return the cache of the layers of both, for models that mix them}
     *
     * @param other the other layers
     */
    public KvCacheSize plus(KvCacheSize other) {
        List<Layers> all = new ArrayList<>(layers);
        all.addAll(other.layers);
        return new KvCacheSize(mechanism.equals(other.mechanism) ? mechanism : mechanism + "; " + other.mechanism, all);
    }

    // ---------------------------------------------------------------------------------------------- sizes

    /** {@return how many layers have a cache} */
    public int layerCount() {
        int count = 0;
        for (Layers l : layers) {
            count = Math.addExact(count, l.count());
        }
        return count;
    }

    /**
     * {@return what a token takes in all layers together, as long as no window has let go of it}
     *
     * @throws IllegalArgumentException if that is more than 2<sup>63</sup>-1 bytes
     */
    public long bytesPerToken() {
        return bytes(1, 1);
    }

    /**
     * {@return what sequences take}
     *
     * @param context tokens of each sequence; not negative
     * @param batch how many sequences; not negative
     * @throws IllegalArgumentException if a number is negative, or the bytes are more than 2<sup>63</sup>-1
     */
    public long bytes(long context, long batch) {
        notNegative("context", context);
        notNegative("batch", batch);
        long sum = 0;
        for (Layers l : layers) {
            long tokens = l.window() == 0 ? context : Math.min(context, l.window());
            sum = sum(sum, product(product(l.count(), l.bytesPerToken()), tokens));
        }
        return product(sum, batch);
    }

    /**
     * {@return how many tokens each of some sequences may have so that all of them fit into a memory; empty if there is
     * no end to it, since all layers have windows that fit}
     *
     * @param memory bytes; not negative
     * @param batch how many sequences; positive
     * @throws IllegalArgumentException if a number is out of range
     */
    public OptionalLong tokens(long memory, long batch) {
        notNegative("memory", memory);
        positive("batch", batch);
        if (fits(Long.MAX_VALUE, memory, batch)) {
            return OptionalLong.empty();
        }
        long fits = 0;
        long tooMany = Long.MAX_VALUE;
        while (tooMany - fits > 1) {
            long middle = fits + (tooMany - fits) / 2;
            if (fits(middle, memory, batch)) {
                fits = middle;
            } else {
                tooMany = middle;
            }
        }
        return OptionalLong.of(fits);
    }

    /** A context whose bytes overflow takes more than any memory. */
    private boolean fits(long context, long memory, long batch) {
        long left = memory / batch;
        for (Layers l : layers) {
            long tokens = l.window() == 0 ? context : Math.min(context, l.window());
            long perToken = product(l.count(), l.bytesPerToken());
            if (perToken != 0 && tokens > left / perToken) {
                return false;
            }
            left -= perToken * tokens;
        }
        return true;
    }

    // ---------------------------------------------------------------------------------------------- arithmetic

    private static long product(long a, long b) {
        try {
            return Math.multiplyExact(a, b);
        } catch (ArithmeticException e) {
            throw new IllegalArgumentException("the cache has more than 2^63-1 bytes: " + a + " times " + b, e);
        }
    }

    private static long sum(long a, long b) {
        try {
            return Math.addExact(a, b);
        } catch (ArithmeticException e) {
            throw new IllegalArgumentException("the cache has more than 2^63-1 bytes: " + a + " and " + b, e);
        }
    }

    private static void positive(String name, long value) {
        if (value < 1) {
            throw new IllegalArgumentException(name + " is " + value + ", it must be positive");
        }
    }

    private static void notNegative(String name, long value) {
        if (value < 0) {
            throw new IllegalArgumentException(name + " is " + value + ", it can't be negative");
        }
    }
}
