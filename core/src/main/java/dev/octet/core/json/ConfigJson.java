package dev.octet.core.json;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
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
 * The fields of a Hugging Face {@code config.json} that a reader knows, each of the type that it must have. All others
 * are passed, but no name may stand twice in one object. Whatever is wrong throws {@link IllegalArgumentException} with
 * the field's name. Immutable.
 */
public final class ConfigJson {
    private static final long MAX_SIZE = 16 << 20;

    private enum Kind { INTEGER, NUMBER, TEXT, TRUTH, TEXTS, OBJECT }

    /** The fields that a reader knows, in objects at any depth. Immutable; each method gives a set with more. */
    public static final class Fields {
        private final Map<String, Kind> kinds;

        private Fields(Map<String, Kind> kinds) {
            this.kinds = kinds;
        }

        private Fields with(Kind kind, String... names) {
            Map<String, Kind> more = new HashMap<>(kinds);
            for (String name : names) {
                more.put(name, kind);
            }
            return new Fields(more);
        }

        /**
         * {@return these and fields that hold an integer from 0}
         *
         * @param names theirs
         */
        public Fields integers(String... names) {
            return with(Kind.INTEGER, names);
        }

        /**
         * {@return these and fields that hold a number}
         *
         * @param names theirs
         */
        public Fields numbers(String... names) {
            return with(Kind.NUMBER, names);
        }

        /**
         * {@return these and fields that hold a string}
         *
         * @param names theirs
         */
        public Fields strings(String... names) {
            return with(Kind.TEXT, names);
        }

        /**
         * {@return these and fields that hold true or false}
         *
         * @param names theirs
         */
        public Fields truths(String... names) {
            return with(Kind.TRUTH, names);
        }

        /**
         * {@return these and fields that hold an array of strings}
         *
         * @param names theirs
         */
        public Fields lists(String... names) {
            return with(Kind.TEXTS, names);
        }

        /**
         * {@return these and fields that hold an object, whose fields are read in the same way}
         *
         * @param names theirs
         */
        public Fields objects(String... names) {
            return with(Kind.OBJECT, names);
        }
    }

    private final String prefix;
    private final Map<String, Object> fields;

    private ConfigJson(String prefix, Map<String, Object> fields) {
        this.prefix = prefix;
        this.fields = fields;
    }

    // ---------------------------------------------------------------------------------------------- reading

    /** {@return no fields, to add to} */
    public static Fields fields() {
        return new Fields(Map.of());
    }

    /**
     * Reads a file and makes something of it.
     *
     * @param <T> what is made
     * @param file the file
     * @param fields those that are read
     * @param make makes it; what it refuses it reports as {@link IllegalArgumentException}
     * @return what was made
     * @throws IOException if the file can't be read, or holds what {@code make} refuses; the message begins with the
     *     file
     */
    public static <T> T read(Path file, Fields fields, Function<ConfigJson, T> make) throws IOException {
        long size = Files.size(file);
        if (size > MAX_SIZE) {
            throw new IOException(file + ": has " + size + " bytes, a configuration has at most " + MAX_SIZE);
        }
        byte[] text;
        try {
            text = Files.readAllBytes(file);
        } catch (FileSystemException e) { // which begins with the file
            throw e;
        } catch (IOException e) { // such as that of a folder
            throw new IOException(file + ": " + e.getMessage(), e);
        }
        try {
            return make.apply(parse(text, fields));
        } catch (IllegalArgumentException e) {
            throw new IOException(file + ": " + e.getMessage(), e);
        }
    }

    /**
     * {@return the configuration that a text holds}
     *
     * @param json the text
     * @param fields those that are read
     * @throws IllegalArgumentException if it is no JSON object, or a field has another type than it must have
     */
    public static ConfigJson parse(String json, Fields fields) {
        return parse(json.getBytes(StandardCharsets.UTF_8), fields);
    }

    private static ConfigJson parse(byte[] utf8, Fields fields) {
        JsonReader json = new JsonReader(MemorySegment.ofArray(utf8), 0, utf8.length);
        try {
            ConfigJson config = object(json, fields, "");
            if (json.peek() >= 0) {
                throw new JsonException(json.position(), "something follows the configuration");
            }
            return config;
        } catch (JsonException e) {
            throw new IllegalArgumentException("byte " + e.position() + ": " + e.getMessage(), e);
        }
    }

    private static ConfigJson object(JsonReader json, Fields known, String prefix) {
        Map<String, Object> fields = new HashMap<>();
        Set<String> seen = new HashSet<>();
        json.beginObject();
        while (json.hasNext()) {
            String name = json.string();
            json.colon();
            if (!seen.add(name)) {
                throw new IllegalArgumentException(prefix + name + " occurs twice");
            }
            Kind kind = known.kinds.get(name);
            if (kind == null || json.peek() == 'n') { // null is as good as absent
                json.skip();
            } else {
                fields.put(name, value(json, known, kind, prefix + name));
            }
        }
        return new ConfigJson(prefix, fields);
    }

    private static Object value(JsonReader json, Fields known, Kind kind, String name) {
        if (kind == Kind.OBJECT) {
            return object(json, known, name + ".");
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

    /**
     * {@return the name as it is reported, the objects around it included}
     *
     * @param field its name
     */
    public String name(String field) {
        return prefix + field;
    }

    /**
     * {@return whether there is such a field, and it is not null}
     *
     * @param field its name
     */
    public boolean has(String field) {
        return fields.containsKey(field);
    }

    /**
     * {@return an integer from 1, or a value if there is none}
     *
     * @param field its name
     * @param otherwise the value
     */
    public int positive(String field, int otherwise) {
        return has(field) ? positive(field) : otherwise;
    }

    /**
     * {@return an integer from 1}
     *
     * @param field its name
     * @throws IllegalArgumentException if it is missing or out of range
     */
    public int positive(String field) {
        int value = integer(field);
        if (value == 0) {
            throw new IllegalArgumentException(prefix + field + " is 0, it must be positive");
        }
        return value;
    }

    /**
     * {@return an integer from 0}
     *
     * @param field its name
     * @throws IllegalArgumentException if it is missing or out of range
     */
    public int integer(String field) {
        long value = (Long) required(field);
        if (value > Integer.MAX_VALUE) {
            throw new IllegalArgumentException(
                    prefix + field + " is " + value + ", it can be at most " + Integer.MAX_VALUE);
        }
        return (int) value;
    }

    /**
     * {@return a number}
     *
     * @param field its name
     * @throws IllegalArgumentException if it is missing
     */
    public double number(String field) {
        return (Double) required(field);
    }

    /**
     * {@return a number, or a value if there is none}
     *
     * @param field its name
     * @param otherwise the value
     */
    public double number(String field, double otherwise) {
        return has(field) ? number(field) : otherwise;
    }

    /**
     * {@return true or false, or a value if there is none}
     *
     * @param field its name
     * @param otherwise the value
     */
    public boolean truth(String field, boolean otherwise) {
        return has(field) ? (Boolean) required(field) : otherwise;
    }

    /**
     * {@return a string, or null if there is none}
     *
     * @param field its name
     */
    public @Nullable String text(String field) {
        return (String) fields.get(field);
    }

    /**
     * {@return an array of strings, or null if there is none}
     *
     * @param field its name
     */
    @SuppressWarnings("unchecked")
    public @Nullable List<String> texts(String field) {
        return (List<String>) fields.get(field);
    }

    /**
     * {@return an object, or null if there is none}
     *
     * @param field its name
     */
    public @Nullable ConfigJson object(String field) {
        return (ConfigJson) fields.get(field);
    }

    private Object required(String field) {
        Object value = fields.get(field);
        if (value == null) {
            throw new IllegalArgumentException(prefix + field + " is missing");
        }
        return value;
    }

    /**
     * Checks a field that follows from others, if it is there.
     *
     * @param field its name
     * @param expected what it must be
     * @param why says from what, before the number
     * @throws IllegalArgumentException if it is another number
     */
    public void expect(String field, long expected, String why) {
        if (has(field) && (Long) required(field) != expected) {
            throw new IllegalArgumentException(
                    prefix + field + " is " + required(field) + ", but " + why + " " + expected);
        }
    }
}
