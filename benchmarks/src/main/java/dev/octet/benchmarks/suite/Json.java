package dev.octet.benchmarks.suite;

import dev.octet.core.json.JsonException;
import java.math.BigDecimal;
import java.math.MathContext;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * JSON as plain Java values: {@code Map<String, Object>}, {@code List<Object>}, {@code String}, {@code Double},
 * {@code Boolean} and null. For the small files that benchmarks write and read back; core's reader, which a file format
 * needs, has neither fractions nor a tree.
 */
public final class Json {
    private static final int DIGITS = 7;

    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    /**
     * Parses a document.
     *
     * @param text the whole of it
     * @return its value
     * @throws JsonException if it is not JSON
     */
    public static @Nullable Object parse(String text) {
        Json json = new Json(text);
        Object value = json.value();
        json.space();
        if (json.at < text.length()) {
            throw json.unexpected("the end");
        }
        return value;
    }

    private @Nullable Object value() {
        space();
        if (at >= text.length()) {
            throw unexpected("a value");
        }
        return switch (text.charAt(at)) {
            case '{' -> object();
            case '[' -> array();
            case '"' -> string();
            case 't' -> word("true", true);
            case 'f' -> word("false", false);
            case 'n' -> word("null", null);
            default -> number();
        };
    }

    private Map<String, Object> object() {
        Map<String, Object> map = new LinkedHashMap<>();
        at++;
        if (!skipIf('}')) {
            do {
                space();
                String key = string();
                require(':');
                map.put(key, value());
            } while (skipIf(','));
            require('}');
        }
        return map;
    }

    private List<Object> array() {
        List<Object> list = new ArrayList<>();
        at++;
        if (!skipIf(']')) {
            do {
                list.add(value());
            } while (skipIf(','));
            require(']');
        }
        return list;
    }

    private String string() {
        if (at >= text.length() || text.charAt(at) != '"') {
            throw unexpected("a string");
        }
        StringBuilder out = new StringBuilder();
        for (at++; at < text.length(); at++) {
            char c = text.charAt(at);
            if (c == '"') {
                at++;
                return out.toString();
            }
            out.append(c == '\\' ? escape() : c);
        }
        throw unexpected("the end of a string");
    }

    private char escape() {
        at++;
        char c = at < text.length() ? text.charAt(at) : 0;
        switch (c) {
            case 'b': return '\b';
            case 'f': return '\f';
            case 'n': return '\n';
            case 'r': return '\r';
            case 't': return '\t';
            case '"', '\\', '/': return c;
            case 'u':
                if (at + 4 < text.length() && text.substring(at + 1, at + 5).matches("[0-9a-fA-F]{4}")) {
                    at += 4;
                    return (char) Integer.parseInt(text, at - 3, at + 1, 16);
                }
                break;
            default:
                break;
        }
        throw unexpected("an escape");
    }

    private Double number() {
        int from = at;
        while (at < text.length() && "+-0123456789.eE".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
        try {
            return Double.valueOf(text.substring(from, at));
        } catch (NumberFormatException e) {
            at = from;
            throw unexpected("a value");
        }
    }

    private @Nullable Object word(String word, @Nullable Object value) {
        if (!text.startsWith(word, at)) {
            throw unexpected(word);
        }
        at += word.length();
        return value;
    }

    private void space() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    private boolean skipIf(char c) {
        space();
        if (at < text.length() && text.charAt(at) == c) {
            at++;
            return true;
        }
        return false;
    }

    private void require(char c) {
        if (!skipIf(c)) {
            throw unexpected("'" + c + "'");
        }
    }

    private JsonException unexpected(String expected) {
        return new JsonException(at, "expected " + expected);
    }

    /**
     * Writes a value, an object or array of simple values on one line, numbers with seven significant digits.
     *
     * @param value maps, lists, strings, numbers, booleans and nulls
     * @return the text, with a line feed at its end
     */
    public static String write(@Nullable Object value) {
        StringBuilder out = new StringBuilder();
        write(value, "", out);
        return out.append('\n').toString();
    }

    private static void write(@Nullable Object value, String indent, StringBuilder out) {
        switch (value) {
            case null -> out.append("null");
            case Map<?, ?> map -> {
                boolean nested = map.values().stream().anyMatch(v -> v instanceof List<?>);
                String separator = nested ? "\n" + indent + "  " : " ";
                String comma = "";
                out.append('{');
                for (Map.Entry<?, ?> e : map.entrySet()) {
                    out.append(comma).append(nested || !comma.isEmpty() ? separator : "");
                    quote(String.valueOf(e.getKey()), out);
                    write(e.getValue(), indent + "  ", out.append(": "));
                    comma = ",";
                }
                out.append(nested ? "\n" + indent + "}" : "}");
            }
            case List<?> list -> {
                boolean nested = list.stream().anyMatch(v -> v instanceof Map<?, ?> || v instanceof List<?>);
                String comma = "";
                out.append('[');
                for (Object v : list) {
                    out.append(comma).append(nested ? "\n" + indent + "  " : comma.isEmpty() ? "" : " ");
                    write(v, indent + "  ", out);
                    comma = ",";
                }
                out.append(nested ? "\n" + indent + "]" : "]");
            }
            case Long n -> out.append(n);
            case Integer n -> out.append(n);
            case Number n -> out.append(number(n.doubleValue()));
            case Boolean b -> out.append(b);
            default -> quote(value.toString(), out);
        }
    }

    private static String number(double d) {
        if (!Double.isFinite(d)) {
            return "null";
        }
        if (d == 0) {
            return "0";
        }
        return new BigDecimal(d).round(new MathContext(DIGITS)).stripTrailingZeros().toPlainString();
    }

    private static void quote(String s, StringBuilder out) {
        out.append('"');
        for (int i = 0; i < s.length(); i++) {
            char c = s.charAt(i);
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }
}
