package dev.octet.benchmarks.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class JsonTest {
    @Test
    void readsEveryKindOfValue() throws Exception {
        Object value = Json.parse("t", " { \"a\" : [ 1 , -2.5e+3, true, false, null, \"x\\n\\u00e9\\\"\" ], \"b\":{}, \"\":[] } ");
        assertEquals(Map.of("a", Arrays.asList(1.0, -2500.0, true, false, null, "x\né\""), "b", Map.of(), "", List.of()),
                value);
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "", " ", "{", "[", "[1", "[1,", "[1,]", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}", "{a:1}", "{\"a\" 1}", "[1 2]",
        "\"", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\u\u0661\u0661\u0661\u0661\"", "\"a\nb\"", "01", "1.", ".5", "+1", "-",
        "1e", "1e+", "0x1", "NaN", "tru", "nul", "truefalse", "1 1", "{} {}", "{\"a\":1,\"a\":2}", "]", "'a'", "[1]//"})
    void refusesWhatIsNotJson(String text) {
        String message = assertThrows(ModelFormatException.class, () -> Json.parse("t", text)).getMessage();
        assertTrue(message.startsWith("t, character "), message);
    }

    @Test
    void refusesDeepNesting() {
        String deep = "[".repeat(100_000);
        assertThrows(ModelFormatException.class, () -> Json.parse("t", deep));
    }
}
