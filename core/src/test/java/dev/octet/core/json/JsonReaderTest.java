package dev.octet.core.json;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class JsonReaderTest {
    private static JsonReader reader(String text) {
        byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
        return new JsonReader(MemorySegment.ofArray(utf8), 0, utf8.length);
    }

    @ParameterizedTest
    @ValueSource(strings = {"{}", "[]", " [ ] ", "0", "-0", "-1.5e+300", "1E-2", "true", "false", "null", "\"\"",
        "[1,[2,[3]],{\"a\":{\"b\":[]}},\"x\"]", "{\"a\":1,\"a\":2}", "\"\\ud834\\udd1e\\u0000\"",
        "\t\r\n{ \"k\" : [ ] }"})
    void legalTextIsPassed(String text) {
        JsonReader json = reader(text);
        json.skip();
        json.end();
    }

    @ParameterizedTest
    @ValueSource(strings = {"", " ", "{", "[", "]", "}", ",", "[,]", "[1,]", "[1 2]", "{\"a\"}", "{\"a\":}", "{a:1}",
        "{\"a\":1,}", "{,}", "[1}", "{\"a\":1]", "01", "-", "-a", "+1", ".5", "1.", "1e", "1e+", "0x1", "tru", "nulll",
        "True", "NaN", "Infinity", "\"", "\"\\", "\"\\u12", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\n\"", "[] []",
        "// x\n1", "'a'"})
    void illegalTextIsRefused(String text) {
        JsonReader json = reader(text);
        assertThrows(JsonException.class, () -> {
            json.skip();
            json.end();
        });
    }

    @Test
    void nestingIsLimited() {
        int max = JsonReader.MAX_DEPTH;
        JsonReader json = reader("[".repeat(max) + "]".repeat(max));
        json.skip();
        json.end();
        JsonReader mixed = reader("{\"a\":[".repeat(max / 2) + "]}".repeat(max / 2));
        mixed.skip();
        mixed.end();
        JsonException e = assertThrows(JsonException.class, () -> reader("[".repeat(max + 1)).skip());
        assertEquals(max, e.position());
        assertTrue(String.valueOf(e.getMessage()).contains("deeper than 64"));
    }

    @Test
    void stringsAreDecodedComparedAndOrdered() {
        JsonReader json = reader("[\"a\\u0062c\", \"abc\", \"ab\", \"\uD83D\uDE00\", \"\\uFFFD\", \"\\ud83d\\ude00\"]");
        json.beginArray();
        long[] at = new long[6];
        for (int i = 0; json.hasNext(); i++) {
            at[i] = json.position();
            assertEquals(i < 2, json.stringIs("abc"));
            assertFalse(json.stringIs("abcd"));
            assertEquals(at[i], json.position());
            json.skipString();
        }
        json.end();
        assertEquals(0, json.compareStringsAt(at[0], at[1]));
        assertTrue(json.compareStringsAt(at[0], at[2]) > 0);
        assertTrue(json.compareStringsAt(at[2], at[1]) < 0);
        assertTrue(json.compareStringsAt(at[3], at[4]) > 0, "by code points, not by UTF-16 units");
        assertEquals(0, json.compareStringsAt(at[3], at[5]));
        assertEquals("abc", json.stringAt(at[0], 10));
        assertEquals("ab", json.stringAt(at[0], 2));
        assertEquals("\uD83D\uDE00", json.stringAt(at[5], 10));
    }

    @Test
    void integersReachTheirLimit() {
        assertEquals(Long.MAX_VALUE, reader("9223372036854775807").integer());
        assertEquals(0, reader(" 0 ").integer());
        for (String bad : new String[] {"9223372036854775808", "-1", "1.0", "1e3", "00", "", "a", "9".repeat(20)}) {
            assertThrows(JsonException.class, () -> reader(bad).integer(), bad);
        }
    }

    @Test
    void numbersOfEveryForm() {
        String[] texts = {"0", "-0", "10000", "-1.5e+300", "1E-2", "0.707", "1e-06", "9007199254740993", "0.0e0",
            "1.7976931348623157e308", "4.9e-324", "1e-400", " 40.0 "};
        for (String text : texts) {
            JsonReader json = reader(text);
            assertEquals(Double.parseDouble(text), json.number(), text);
            json.end();
        }
        JsonReader list = reader("[1,-2.5,3e1]");
        list.beginArray();
        double sum = 0;
        while (list.hasNext()) {
            sum += list.number();
        }
        assertEquals(28.5, sum);
        assertEquals(1, reader("1" + "0".repeat(299) + "e-" + "0".repeat(690) + "299").number(), 1e-15);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "-", "+1", ".5", "1.", "1.e5", "1e", "1e+", "01", "-01", "00", "0x10", "NaN", "-NaN",
        "Infinity", "-Infinity", "1f", "1d", "1_000", "true", "null", "\"1\"", "[1]", "1e309", "-1e309",
        "1e99999999999999999999"})
    void whatIsNoFiniteNumberIsRefused(String text) {
        JsonReader json = reader(text);
        assertThrows(JsonException.class, () -> {
            json.number();
            json.end();
        });
    }

    @Test
    void aNumberHasALimitedLength() {
        assertEquals(1, reader("1." + "0".repeat(JsonReader.MAX_NUMBER_LENGTH - 2)).number());
        JsonException e = assertThrows(JsonException.class,
                () -> reader(" 1." + "0".repeat(JsonReader.MAX_NUMBER_LENGTH - 1)).number());
        assertEquals(1, e.position());
    }

    @Test
    void truthValues() {
        assertTrue(reader(" true").bool());
        assertFalse(reader("false").bool());
        for (String bad : new String[] {"", "tru", "True", "1", "null", "\"true\"", "fals"}) {
            assertThrows(JsonException.class, () -> reader(bad).bool(), bad);
        }
    }

    @Test
    void positionsCountFromTheStartOfTheMemory() {
        byte[] utf8 = "xxxx{\"a\":!}yy".getBytes(StandardCharsets.UTF_8);
        JsonReader json = new JsonReader(MemorySegment.ofArray(utf8), 4, 11);
        JsonException e = assertThrows(JsonException.class, json::skip);
        assertEquals(9, e.position());
        assertThrows(IndexOutOfBoundsException.class, () -> new JsonReader(MemorySegment.ofArray(utf8), 4, 14));
    }
}
