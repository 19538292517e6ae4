package dev.octet.core.safetensors;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * A file that breaks one rule of the format.
 *
 * @param name what it tries
 * @param bytes all of it
 * @param fault what the message must say
 */
record Attack(String name, byte[] bytes, String fault) {
    private static final String A = "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}";

    static final List<Attack> ALL = List.of(
            // the length
            new Attack("empty-file", new byte[0], "has 0 bytes"),
            new Attack("seven-bytes", new byte[7], "has 7 bytes"),
            new Attack("length-without-header", length(10), "only 0 follow"),
            new Attack("length-zero", bytes(0, "", 4), "does not begin with '{'"),
            new Attack("length-one-past-the-file", bytes(3, "{}", 0), "only 2 follow"),
            new Attack("length-at-the-limit", bytes(100_000_000, "{}", 4), "only 6 follow"),
            new Attack("length-beyond-the-limit", bytes(100_000_001, "{}", 4), "at most 100000000"),
            new Attack("length-2-to-the-63", bytes(Long.MIN_VALUE, "{}", 4), "9223372036854775808 bytes"),
            new Attack("length-all-ones", bytes(-1, "{}", 4), "18446744073709551615 bytes"),
            new Attack("length-cuts-the-header", bytes(20, "{" + A + "}", 4), "the text ends"),
            // the text
            new Attack("no-brace", file("[]", 0), "does not begin with '{'"),
            new Attack("space-before-the-brace", file(" {}", 0), "does not begin with '{'"),
            new Attack("byte-order-mark", file("\uFEFF{}", 0), "does not begin with '{'"),
            new Attack("unclosed", file("{", 0), "the text ends"),
            new Attack("second-value", file("{}{}", 0), "nothing but spaces"),
            new Attack("newline-as-padding", file("{}\n", 0), "nothing but spaces"),
            new Attack("zero-as-padding", file("{}\0", 0), "nothing but spaces"),
            new Attack("trailing-comma", file("{" + A + ",}", 4), "a key in quotes"),
            new Attack("missing-comma", file("{" + A + " " + A.replace("\"a\"", "\"b\"") + "}", 4), "','"),
            new Attack("comment", file("{/**/}", 0), "a key in quotes"),
            new Attack("single-quotes", file("{'a':1}", 0), "a key in quotes"),
            new Attack("overlong-utf8", latin1("{\"\u00C0\u00AF\":1}", 0), "not UTF-8"),
            new Attack("overlong-utf8-3", latin1("{\"\u00E0\u0080\u00AF\":1}", 0), "not UTF-8"),
            new Attack("surrogate-in-utf8", latin1("{\"\u00ED\u00A0\u0080\":1}", 0), "not UTF-8"),
            new Attack("beyond-unicode", latin1("{\"\u00F4\u0090\u0080\u0080\":1}", 0), "not UTF-8"),
            new Attack("lone-continuation", latin1("{\"\u0080\":1}", 0), "not UTF-8"),
            new Attack("cut-utf8", latin1("{\"\u00C3\":1}", 0), "not UTF-8"),
            new Attack("lone-surrogate-escape", file("{\"\\ud800\":1}", 0), "half of a surrogate pair"),
            new Attack("low-surrogate-first", file("{\"\\udc00\\ud800\":1}", 0), "half of a surrogate pair"),
            new Attack("bad-escape", file("{\"\\x41\":1}", 0), "an escape that JSON has not"),
            new Attack("short-escape", file("{\"\\u00g0\":1}", 0), "four hexadecimal digits"),
            new Attack("control-character", file("{\"a\tb\":1}", 0), "control character 0x09"),
            new Attack("deep-nesting", file("{\"a\":" + "[".repeat(100_000), 0), "an object"),
            new Attack("deep-objects", file("{\"a\":".repeat(100_000), 0), "there is no field"),
            // entries
            new Attack("duplicate-name", file("{" + A + "," + A + "}", 4), "overlap"),
            new Attack("duplicate-name-empty", file("{" + entry("a", "U8", "[0]", "[0,0]") + ","
                    + entry("a", "F32", "[0]", "[0,0]") + "}", 0), "'a' occurs twice, first at byte 9"),
            new Attack("duplicate-name-escaped", file("{" + entry("abc", "U8", "[2]", "[0,2]") + ","
                    + entry("\\u0061bc", "U8", "[2]", "[2,4]") + "}", 4), "'abc' occurs twice"),
            new Attack("duplicate-field", file("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"F32\",\"shape\":[4],"
                    + "\"data_offsets\":[0,4]}}", 4), "dtype occurs twice"),
            new Attack("duplicate-field-escaped", file("{\"a\":{\"shape\":[4],\"sh\\u0061pe\":[1],\"dtype\":\"U8\","
                    + "\"data_offsets\":[0,4]}}", 4), "shape occurs twice"),
            new Attack("missing-dtype", file("{\"a\":{\"shape\":[4],\"data_offsets\":[0,4]}}", 4), "dtype is missing"),
            new Attack("missing-shape", file("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", 4),
                    "shape is missing"),
            new Attack("missing-offsets", file("{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4),
                    "data_offsets is missing"),
            new Attack("empty-entry", file("{\"a\":{}}", 0), "dtype is missing"),
            new Attack("unknown-field", file("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],"
                    + "\"device\":\"cuda\"}}", 4), "no field 'device'"),
            new Attack("entry-is-an-array", file("{\"a\":[]}", 0), "an object"),
            new Attack("entry-is-null", file("{\"a\":null}", 0), "an object"),
            new Attack("dtype-is-a-number", entryFile("1", "[4]", "[0,4]", 4), "a string"),
            new Attack("shape-is-an-object", entryFile("\"U8\"", "{}", "[0,4]", 4), "an array"),
            new Attack("shape-is-nested", entryFile("\"U8\"", "[[4]]", "[0,4]", 4), "digits only"),
            // numbers
            new Attack("negative-extent", entryFile("\"U8\"", "[-4]", "[0,4]", 4), "digits only"),
            new Attack("plus-sign", entryFile("\"U8\"", "[+4]", "[0,4]", 4), "digits only"),
            new Attack("fraction", entryFile("\"U8\"", "[4.0]", "[0,4]", 4), "without fraction"),
            new Attack("exponent", entryFile("\"U8\"", "[4e0]", "[0,4]", 4), "without fraction"),
            new Attack("leading-zero", entryFile("\"U8\"", "[04]", "[0,4]", 4), "leading zero"),
            new Attack("hexadecimal", entryFile("\"U8\"", "[0x4]", "[0,4]", 4), "','"),
            new Attack("not-a-number", entryFile("\"U8\"", "[NaN]", "[0,4]", 4), "digits only"),
            new Attack("number-2-to-the-63", entryFile("\"U8\"", "[9223372036854775808]", "[0,4]", 4), "above 2^63-1"),
            new Attack("number-2-to-the-64-and-4", entryFile("\"U8\"", "[18446744073709551620]", "[0,4]", 4),
                    "above 2^63-1"),
            new Attack("number-of-a-million-digits", entryFile("\"U8\"", "[" + "1".repeat(1_000_000) + "]", "[0,4]", 4),
                    "above 2^63-1"),
            // sizes
            new Attack("product-overflows", entryFile("\"U8\"", "[4294967296,4294967296,4]", "[0,4]", 4), "overflows"),
            new Attack("product-overflows-before-zero", entryFile("\"U8\"", "[4294967296,4294967296,0]", "[0,0]", 0),
                    "overflows"),
            new Attack("bytes-overflow", entryFile("\"F32\"", "[4611686018427387905]", "[0,4]", 4), "overflows"),
            new Attack("size-too-small", entryFile("\"F32\"", "[2]", "[0,4]", 4), "takes 8"),
            new Attack("size-too-large", entryFile("\"U8\"", "[2]", "[0,4]", 4), "takes 2"),
            new Attack("scalar-of-no-bytes", entryFile("\"F32\"", "[]", "[0,0]", 0), "takes 4"),
            new Attack("half-a-byte", entryFile("\"F4\"", "[3]", "[0,2]", 2), "do not fill whole bytes"),
            new Attack("six-bits", entryFile("\"F6_E2M3\"", "[5]", "[0,4]", 4), "do not fill whole bytes"),
            new Attack("rank-65", entryFile("\"U8\"", "[" + "1,".repeat(64) + "1]", "[0,1]", 1), "64 dimensions"),
            // ranges
            new Attack("ends-before-it-begins", entryFile("\"U8\"", "[4]", "[4,0]", 4), "end before they begin"),
            new Attack("one-offset", entryFile("\"U8\"", "[4]", "[4]", 4), "has 1 numbers"),
            new Attack("three-offsets", entryFile("\"U8\"", "[4]", "[0,4,4]", 4), "has 3 numbers"),
            new Attack("beyond-the-end", entryFile("\"U8\"", "[5]", "[0,5]", 4), "beyond the end of the file"),
            new Attack("far-beyond-the-end", entryFile("\"U8\"", "[9223372036854775807]", "[0,9223372036854775807]", 4),
                    "beyond the end of the file"),
            new Attack("trailing-bytes", entryFile("\"U8\"", "[4]", "[0,4]", 5), "1 trailing bytes"),
            new Attack("payload-without-tensors", file("{}", 1), "1 trailing bytes"),
            new Attack("hole-at-the-start", entryFile("\"U8\"", "[3]", "[1,4]", 4), "a hole"),
            new Attack("hole-in-the-middle", file("{" + entry("a", "U8", "[1]", "[0,1]") + ","
                    + entry("b", "U8", "[1]", "[2,3]") + "}", 3), "a hole"),
            new Attack("overlap", file("{" + entry("a", "U8", "[3]", "[0,3]") + ","
                    + entry("b", "U8", "[3]", "[1,4]") + "}", 4), "overlap"),
            new Attack("same-range", file("{" + entry("a", "U8", "[4]", "[0,4]") + ","
                    + entry("b", "U8", "[4]", "[0,4]") + "}", 4), "overlap"),
            new Attack("nothing-inside-something", file("{" + entry("a", "U8", "[4]", "[0,4]") + ","
                    + entry("b", "U8", "[0]", "[2,2]") + "}", 4), "overlap"),
            new Attack("unknown-dtype-with-a-hole", entryFile("\"F128\"", "[1]", "[0,2]", 4), "2 trailing bytes"),
            // metadata
            new Attack("metadata-is-a-number", file("{\"__metadata__\":1}", 0), "an object"),
            new Attack("metadata-is-a-tensor", file("{" + entry("__metadata__", "U8", "[4]", "[0,4]") + "}", 4),
                    "a string"),
            new Attack("metadata-value-is-a-number", file("{\"__metadata__\":{\"a\":1}}", 0), "a string"),
            new Attack("metadata-value-is-nested", file("{\"__metadata__\":{\"a\":{}}}", 0), "a string"),
            new Attack("metadata-twice", file("{\"__metadata__\":{},\"__metadata__\":{}}", 0),
                    "__metadata__ occurs twice"),
            new Attack("metadata-twice-escaped", file("{\"__metadata__\":{},\"__met\\u0061data__\":{}}", 0),
                    "__metadata__ occurs twice"),
            new Attack("metadata-key-twice", file("{\"__metadata__\":{\"a\":\"1\",\"b\":\"\",\"\\u0061\":\"2\"}}", 0),
                    "'a' occurs twice"));

    /** The header's length as the file has it. */
    static byte[] length(long length) {
        return ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(0, length).array();
    }

    /** A file whose length says the truth. */
    static byte[] file(String header, int payload) {
        return bytes(header.getBytes(StandardCharsets.UTF_8).length, header, payload);
    }

    static String entry(String name, String dtype, String shape, String offsets) {
        return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets
                + "}";
    }

    private static byte[] entryFile(String dtype, String shape, String offsets, int payload) {
        return file("{\"w\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}",
                payload);
    }

    private static byte[] latin1(String header, int payload) {
        byte[] text = header.getBytes(StandardCharsets.ISO_8859_1);
        return join(length(text.length), text, new byte[payload]);
    }

    private static byte[] bytes(long length, String header, int payload) {
        return join(length(length), header.getBytes(StandardCharsets.UTF_8), new byte[payload]);
    }

    private static byte[] join(byte[]... parts) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            out.writeBytes(part);
        }
        return out.toByteArray();
    }

    @Override
    public String toString() {
        return name;
    }
}
