package dev.octet.benchmarks.suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.octet.core.json.JsonException;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class JsonTest {
    @Test
    void whatIsWrittenIsReadBack() {
        Map<String, Object> inner = new LinkedHashMap<>();
        inner.put("quote \" and \\ and \u0007", 1.5);
        inner.put("none", null);
        List<Object> value = Arrays.asList(inner, Map.of(), List.of(), "text\n", 1e-9, true, false, null);
        assertEquals(value, Json.parse(Json.write(value)));
    }

    @Test
    void numbersHaveSevenDigitsAndNoExponent() {
        assertEquals("[0.0000001234568, 123456800000, 0, null, null, 7]\n",
                Json.write(List.of(1.2345678e-7, 123456789012.0, 0.0, Double.NaN, Double.POSITIVE_INFINITY, 7)));
    }

    @Test
    void escapesAreRead() {
        assertEquals("a\u00e9\n/\"", Json.parse("\"a\\u00e9\\n\\/\\\"\""));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "[1", "[1,]", "{\"a\"}", "{\"a\":1,}", "{a:1}", "\"a", "\"\\x\"", "\"\\u12\"", "tru",
            "1 2",
            "--1", "[1}"})
    void malformedTextIsRefused(String text) {
        assertThrows(JsonException.class, () -> Json.parse(text));
    }
}
