package dev.octet.mla;

import dev.octet.core.json.JsonException;
import dev.octet.core.json.JsonReader;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The fields of a Hugging Face {@code config.json} that Octet knows, each of the type that it must have. All others are
 * passed, but no name may stand twice in one object. Whatever is wrong throws {@link IllegalArgumentException} with the
 * field's name.
 */
final class ConfigJson {
    private static final long MAX_SIZE = 16 << 20;

    private enum Kind { INTEGER, NUMBER, TEXT, TRUTH, TEXTS, OBJECT }

    private static final Map<String, Kind> KNOWN = new HashMap<>();

    static {
        know(Kind.INTEGER, "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
                "q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "qk_head_dim", "v_head_dim",
                "max_position_embeddings", "num_nextn_predict_layers", "sliding_window", "sliding_window_pattern",
                "max_window_layers", "original_max_position_embeddings");
        know(Kind.NUMBER, "rms_norm_eps", "rope_theta", "factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim",
                "attention_factor");
        know(Kind.TEXT, "type", "rope_type", "model_type");
        know(Kind.TRUTH, "use_sliding_window", "rope_interleave", "truncate");
        know(Kind.TEXTS, "layer_types");
        know(Kind.OBJECT, "rope_scaling", "rope_parameters", "text_config");
    }

    private static void know(Kind kind, String... names) {
        for (String name : names) {
            KNOWN.put(name, kind);
        }
    }

    private final String prefix;
    private final Map<String, Object> fields;

    private ConfigJson(String prefix, Map<String, Object> fields) {
        this.prefix = prefix;
        this.fields = fields;
    }

    // ---------------------------------------------------------------------------------------------- reading

    /**
     * Reads a file and makes something of it.
     *
     * @throws IOException if the file can't be read, or holds what {@code make} refuses; the message begins with the
     *     file
     */
    static <T> T read(Path file, Function<ConfigJson, T> make) throws IOException {
        long size = Files.size(file);
        if (size > MAX_SIZE) {
            throw new IOException(file + ": has " + size + " bytes, a configuration has at most " + MAX_SIZE);
        }
        byte[] text = Files.readAllBytes(file);
        try {
            return make.apply(parse(text));
        } catch (IllegalArgumentException e) {
            throw new IOException(file + ": " + e.getMessage(), e);
        }
    }

    static ConfigJson parse(String json) {
        return parse(json.getBytes(StandardCharsets.UTF_8));
    }

    private static ConfigJson parse(byte[] utf8) {
        JsonReader json = new JsonReader(MemorySegment.ofArray(utf8), 0, utf8.length);
        try {
            ConfigJson config = object(json, "");
            if (json.peek() >= 0) {
                throw new JsonException(json.position(), "something follows the configuration");
            }
            return config;
        } catch (JsonException e) {
            throw new IllegalArgumentException("byte " + e.position() + ": " + e.getMessage(), e);
        }
    }

    private static ConfigJson object(JsonReader json, String prefix) {
        Map<String, Object> fields = new HashMap<>();
        Set<String> seen = new HashSet<>();
        json.beginObject();
        while (json.hasNext()) {
            String name = json.string();
            json.colon();
            if (!seen.add(name)) {
                throw new IllegalArgumentException(prefix + name + " occurs twice");
            }
            Kind kind = KNOWN.get(name);
            if (kind == null || json.peek() == 'n') { // null is as good as absent
                json.skip();
            } else {
                fields.put(name, value(json, kind, prefix + name));
            }
        }
        return new ConfigJson(prefix, fields);
    }

    private static Object value(JsonReader json, Kind kind, String name) {
        if (kind == Kind.OBJECT) {
            return object(json, name + ".");
        }
        try {
            return switch (kind) {
                case INTEGER -> json.integer();
                case NUMBER -> json.number();
                case TEXT -> json.string();
                case TRUTH -> json.bool();
                default -> texts(json);
            };
        } catch (JsonException e) {
            throw new JsonException(e.position(), name + ": " + e.getMessage());
        }
    }

    private static List<String> texts(JsonReader json) {
        List<String> texts = new ArrayList<>();
        json.beginArray();
        while (json.hasNext()) {
            texts.add(json.string());
        }
        return texts;
    }

    // ---------------------------------------------------------------------------------------------- fields

    /** {@return the name as it is reported, the objects around it included} */
    String name(String field) {
        return prefix + field;
    }

    boolean has(String field) {
        return fields.containsKey(field);
    }

    /** {@return an integer from 1, or a value if there is none} */
    int positive(String field, int otherwise) {
        return has(field) ? positive(field) : otherwise;
    }

    /** {@return an integer from 1} */
    int positive(String field) {
        int value = integer(field);
        if (value == 0) {
            throw new IllegalArgumentException(prefix + field + " is 0, it must be positive");
        }
        return value;
    }

    /** {@return an integer from 0} */
    int integer(String field) {
        long value = (Long) required(field);
        if (value > Integer.MAX_VALUE) {
            throw new IllegalArgumentException(
                    prefix + field + " is " + value + ", it can be at most " + Integer.MAX_VALUE);
        }
        return (int) value;
    }

    double number(String field) {
        return (Double) required(field);
    }

    double number(String field, double otherwise) {
        return has(field) ? number(field) : otherwise;
    }

    boolean truth(String field, boolean otherwise) {
        return has(field) ? (Boolean) required(field) : otherwise;
    }

    @Nullable String text(String field) {
        return (String) fields.get(field);
    }

    @SuppressWarnings("unchecked")
    @Nullable List<String> texts(String field) {
        return (List<String>) fields.get(field);
    }

    @Nullable ConfigJson object(String field) {
        return (ConfigJson) fields.get(field);
    }

    private Object required(String field) {
        Object value = fields.get(field);
        if (value == null) {
            throw new IllegalArgumentException(prefix + field + " is missing");
        }
        return value;
    }

    /** Checks a field that follows from others. */
    void expect(String field, long expected, String why) {
        if (has(field) && (Long) required(field) != expected) {
            throw new IllegalArgumentException(
                    prefix + field + " is " + required(field) + ", but " + why + " " + expected);
        }
    }
}
