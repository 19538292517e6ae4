package dev.octet.benchmarks.demo;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A strict JSON reader (RFC 8259): objects become {@code Map<String, Object>} in the order of the text, arrays
 * {@code List<Object>}, numbers {@code Double}, the rest {@code String}, {@code Boolean} and null. Duplicate keys,
 * nesting deeper than 64 and anything after the value are refused.
 */
final class Json {
    private static final int MAX_DEPTH = 64;

    private final String name;
    private final String text;
    private int at;

    private Json(String name, String text) {
        this.name = name;
        this.text = text;
    }

    /**
     * Reads one value.
     *
     * @param name what to call the text in messages
     * @param text the JSON
     * @throws ModelFormatException naming the character where the text is not JSON
     */
    static @Nullable Object parse(String name, String text) throws ModelFormatException {
        Json json = new Json(name, text);
        Object value = json.value(0);
        json.space();
        if (json.at != text.length()) {
            throw json.fault("there is more after the end of the value");
        }
        return value;
    }

    private @Nullable Object value(int depth) throws ModelFormatException {
        if (depth > MAX_DEPTH) {
            throw fault("values are nested deeper than " + MAX_DEPTH);
        }
        space();
        char c = peek();
        return switch (c) {
            case '{' -> object(depth);
            case '[' -> array(depth);
            case '"' -> string();
            case 't' -> word("true", true);
            case 'f' -> word("false", false);
            case 'n' -> word("null", null);
            default -> number();
        };
    }

    private Map<String, @Nullable Object> object(int depth) throws ModelFormatException {
        Map<String, @Nullable Object> map = new LinkedHashMap<>();
        at++;
        space();
        if (peek() == '}') {
            at++;
            return map;
        }
        while (true) {
            space();
            int start = at;
            String key = string();
            space();
            expect(':');
            Object value = value(depth + 1);
            if (map.containsKey(key)) {
                at = start;
                throw fault("key \"" + key + "\" is there twice");
            }
            map.put(key, value);
            space();
            if (peek() == '}') {
                at++;
                return map;
            }
            expect(',');
        }
    }

    private List<@Nullable Object> array(int depth) throws ModelFormatException {
        List<@Nullable Object> list = new ArrayList<>();
        at++;
        space();
        if (peek() == ']') {
            at++;
            return list;
        }
        while (true) {
            list.add(value(depth + 1));
            space();
            if (peek() == ']') {
                at++;
                return list;
            }
            expect(',');
        }
    }

    private String string() throws ModelFormatException {
        expect('"');
        StringBuilder s = new StringBuilder();
        while (true) {
            char c = peek();
            at++;
            if (c == '"') {
                return s.toString();
            } else if (c < 0x20) {
                at--;
                throw fault("a control character stands in a string");
            } else if (c == '\\') {
                s.append(escape());
            } else {
                s.append(c);
            }
        }
    }

    private char escape() throws ModelFormatException {
        char c = peek();
        at++;
        return switch (c) {
            case '"', '\\', '/' -> c;
            case 'b' -> '\b';
            case 'f' -> '\f';
            case 'n' -> '\n';
            case 'r' -> '\r';
            case 't' -> '\t';
            case 'u' -> {
                int code = 0;
                for (int i = 0; i < 4; i++, at++) {
                    int digit = peek() < 128 ? Character.digit(peek(), 16) : -1;
                    if (digit < 0) {
                        throw fault("\\u takes four hexadecimal digits");
                    }
                    code = code << 4 | digit;
                }
                yield (char) code;
            }
            default -> {
                at--;
                throw fault("\\" + c + " is no escape");
            }
        };
    }

    private Double number() throws ModelFormatException {
        int start = at;
        if (peek() == '-') {
            at++;
        }
        if (at < text.length() && text.charAt(at) == '0') {
            at++;
        } else {
            digits();
        }
        if (at < text.length() && text.charAt(at) == '.') {
            at++;
            digits();
        }
        if (at < text.length() && (text.charAt(at) | 0x20) == 'e') {
            at++;
            if (at < text.length() && (text.charAt(at) == '+' || text.charAt(at) == '-')) {
                at++;
            }
            digits();
        }
        return Double.valueOf(text.substring(start, at));
    }

    private void digits() throws ModelFormatException {
        int start = at;
        while (at < text.length() && text.charAt(at) >= '0' && text.charAt(at) <= '9') {
            at++;
        }
        if (at == start) {
            throw fault("a digit or a value is missing");
        }
    }

    private @Nullable Object word(String word, @Nullable Object value) throws ModelFormatException {
        if (!text.startsWith(word, at)) {
            throw fault("this is no JSON value");
        }
        at += word.length();
        return value;
    }

    private void space() {
        while (at < text.length() && " \t\n\r".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    private char peek() throws ModelFormatException {
        if (at >= text.length()) {
            throw fault("the text ends too early");
        }
        return text.charAt(at);
    }

    private void expect(char c) throws ModelFormatException {
        if (peek() != c) {
            throw fault("'" + c + "' is missing");
        }
        at++;
    }

    private ModelFormatException fault(String what) {
        return new ModelFormatException(name + ", character " + at + ": " + what);
    }
}
