package dev.octet.mla;

import dev.octet.core.json.ConfigJson;
import java.util.ArrayList;
import java.util.List;

/** Makes {@link KvCacheSize} of a {@code config.json}. */
final class KvCacheSizeJson {
    private KvCacheSizeJson() {}

    static KvCacheSize size(ConfigJson json, CacheFormat format) {
        ConfigJson text = json.object("text_config"); // models that take pictures, too
        if (text != null && !json.has("num_hidden_layers")) {
            return size(text, format);
        }
        return json.has("kv_lora_rank") ? KvCacheSize.latent(MlaConfigJson.config(json), format)
                : heads(json, KvFormat.of(format));
    }

    private static KvCacheSize heads(ConfigJson json, KvFormat format) {
        int layers = json.positive("num_hidden_layers");
        int heads = json.positive("num_attention_heads");
        int keyValueHeads = json.positive("num_key_value_heads", heads);
        if (keyValueHeads > heads || heads % keyValueHeads != 0) {
            throw new IllegalArgumentException(json.name("num_key_value_heads") + " is " + keyValueHeads
                    + ", which does not divide num_attention_heads, " + heads);
        }
        KvCacheSize layer = KvCacheSize.attention(1, keyValueHeads, headDim(json, heads), format);
        long bytes = layer.bytesPerToken();
        String name = (keyValueHeads == heads ? "MHA, " : keyValueHeads == 1 ? "MQA, " : "GQA, ") + layer.mechanism();
        return new KvCacheSize(name, alike(windows(json, layers), bytes));
    }

    private static int headDim(ConfigJson json, int heads) {
        if (json.has("head_dim")) {
            return json.positive("head_dim");
        }
        int hidden = json.positive("hidden_size");
        if (hidden % heads != 0) {
            throw new IllegalArgumentException(json.name("head_dim") + " is missing, and hidden_size, " + hidden
                    + ", is no multiple of num_attention_heads, " + heads);
        }
        return hidden / heads;
    }

    private static List<KvCacheSize.Layers> alike(List<Integer> windows, long bytes) {
        List<KvCacheSize.Layers> groups = new ArrayList<>();
        for (int window : windows.stream().distinct().toList()) {
            int count = (int) windows.stream().filter(w -> w == window).count();
            groups.add(new KvCacheSize.Layers(count, bytes, window));
        }
        return groups;
    }

    /** The window of each layer, 0 for none. */
    private static List<Integer> windows(ConfigJson json, int layers) {
        // Qwen2's files have max_window_layers and a window that counts only if it is switched on.
        boolean on = json.truth("use_sliding_window", !json.has("max_window_layers"));
        int window = on && json.has("sliding_window") ? json.integer("sliding_window") : 0;
        List<String> types = json.texts("layer_types");
        List<Integer> windows = new ArrayList<>();
        if (types != null) {
            if (types.size() != layers) {
                throw new IllegalArgumentException(json.name("layer_types") + " has " + types.size()
                        + " entries, but num_hidden_layers is " + layers);
            }
            for (int i = 0; i < layers; i++) {
                windows.add(window(json, i, types.get(i), window));
            }
            return windows;
        }
        // In Gemma 2 every other layer has a window, which its first files don't say.
        int pattern = json.positive("sliding_window_pattern", "gemma2".equals(json.text("model_type")) ? 2 : 0);
        int first = json.has("max_window_layers") ? json.integer("max_window_layers") : 0;
        for (int i = 0; i < layers; i++) {
            boolean full = i < first || pattern > 0 && (i + 1) % pattern == 0;
            windows.add(full ? 0 : window);
        }
        return windows;
    }

    private static int window(ConfigJson json, int layer, String type, int window) {
        return switch (type) {
            case "full_attention" -> 0;
            case "sliding_attention" -> {
                if (window == 0) {
                    throw new IllegalArgumentException(json.name("layer_types") + "[" + layer
                            + "] is 'sliding_attention', but there is no sliding_window");
                }
                yield window;
            }
            default -> throw new IllegalArgumentException(json.name("layer_types") + "[" + layer + "] is '" + type
                    + "'; Octet knows 'full_attention' and 'sliding_attention'");
        };
    }
}
