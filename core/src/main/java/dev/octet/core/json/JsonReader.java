package dev.octet.core.json;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Pulls values out of JSON text (RFC 8259) in UTF-8, in the order in which they stand there.
 *
 * <p>Strict: malformed UTF-8, lone surrogates, control characters in strings, nesting deeper than {@value #MAX_DEPTH},
 * and anything the grammar does not allow throw a {@link JsonException} with the byte's position. Nothing is allocated
 * but the strings that {@link #string()} and {@link #stringAt} return and what {@link #number()} needs for a moment,
 * whatever lengths the text claims. Duplicate keys
 * are the caller's to refuse, who knows which keys there are.
 *
 * {@snippet :
 * json.beginObject();
 * while (json.hasNext()) {
 *     String key = json.string();
 *     json.colon();
 *     json.skip();
 * }
 * json.end();
 * }
 *
 * <p>Not safe for use by several threads.
 */
public final class JsonReader {
    /** How deep objects and arrays may be nested. */
    public static final int MAX_DEPTH = 64;
    /** How many characters a number may have that {@link #number()} reads. */
    public static final int MAX_NUMBER_LENGTH = 1000;

    private final MemorySegment text;
    private final long limit;
    private long pos;
    private int depth;
    private long isObject; // one bit for each level that is open, the innermost in bit 0
    private long isFirst; // whether nothing was read yet on that level

    /**
     * Starts in front of a value.
     *
     * @param text memory that holds the text, native or on the heap
     * @param from the text's first byte
     * @param to one past its last
     * @throws IndexOutOfBoundsException if that is no range of the memory
     */
    public JsonReader(MemorySegment text, long from, long to) {
        java.util.Objects.checkFromToIndex(from, to, text.byteSize());
        this.text = text;
        this.pos = from;
        this.limit = to;
    }

    /** {@return the byte that comes next, counted from the start of the memory, white space skipped} */
    public long position() {
        skipSpace();
        return pos;
    }

    /** {@return the first character of the next value, or -1 at the end of the text} */
    public int peek() {
        skipSpace();
        return pos < limit ? byteAt(pos) : -1;
    }

    // ---------------------------------------------------------------------------------------------- structure

    /** Enters an object. */
    public void beginObject() {
        open('{', "an object", 1);
    }

    /** Enters an array. */
    public void beginArray() {
        open('[', "an array", 0);
    }

    private void open(char bracket, String what, int object) {
        expect(bracket, what);
        if (depth == MAX_DEPTH) {
            throw new JsonException(pos - 1, "nested deeper than " + MAX_DEPTH);
        }
        depth++;
        isObject = isObject << 1 | object;
        isFirst = isFirst << 1 | 1;
    }

    /**
     * Moves to the next member or element of the innermost open object or array, or leaves it.
     *
     * @return whether there is one; in an object its key comes next
     */
    public boolean hasNext() {
        boolean object = (isObject & 1) != 0;
        int c = peek();
        if (c == (object ? '}' : ']')) {
            pos++;
            depth--;
            isObject >>>= 1;
            isFirst >>>= 1;
            return false;
        }
        if ((isFirst & 1) != 0) {
            isFirst &= ~1L;
        } else {
            expect(',', object ? "',' or '}'" : "',' or ']'");
        }
        if (object && peek() != '"') {
            throw unexpected("a key in quotes");
        }
        return true;
    }

    /** Passes the colon after a key. */
    public void colon() {
        expect(':', "':'");
    }

    /**
     * Checks that nothing but spaces follows, of the kind that pads a header: 0x20.
     */
    public void end() {
        for (; pos < limit; pos++) {
            if (byteAt(pos) != ' ') {
                throw unexpected("nothing but spaces after the value");
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- values

    /** {@return the string that comes next, which may be a key} */
    public String string() {
        long at = position();
        skipString();
        return stringAt(at, Integer.MAX_VALUE);
    }

    /** Passes a string, checking every byte of it. */
    public void skipString() {
        expect('"', "a string");
        while (next() >= 0) {
            // each character was checked
        }
    }

    /**
     * Compares the string that comes next, without passing it.
     *
     * @param expected what it may be
     * @return whether it is that, escapes decoded
     */
    public boolean stringIs(String expected) {
        long at = position();
        expect('"', "a string");
        int i = 0;
        int c;
        do {
            c = next();
            int want = i < expected.length() ? expected.codePointAt(i) : -1;
            if (c != want) {
                pos = at;
                return false;
            }
            i += Character.charCount(Math.max(want, 0));
        } while (c >= 0);
        pos = at;
        return true;
    }

    /**
     * Decodes a string that was passed before, without moving.
     *
     * @param at where its opening quote is, from {@link #position()}
     * @param maxLength how many characters to decode at most
     * @return the string, or its beginning
     */
    public String stringAt(long at, int maxLength) {
        long here = pos;
        pos = at;
        expect('"', "a string");
        int length = 0;
        for (int c = next(); c >= 0 && length < maxLength; c = next()) {
            length += Character.charCount(c);
        }
        StringBuilder out = new StringBuilder(length);
        pos = at + 1;
        for (int c = next(); c >= 0 && out.length() < maxLength; c = next()) {
            out.appendCodePoint(c);
        }
        pos = here;
        return out.toString();
    }

    /**
     * Orders two strings that were passed before by their code points, escapes decoded, without moving.
     *
     * @param a where the opening quote of one is
     * @param b where the other's is
     * @return negative, 0 or positive
     */
    public int compareStringsAt(long a, long b) {
        long here = pos;
        long i = a + 1;
        long j = b + 1;
        int c;
        int d;
        do {
            pos = i;
            c = next();
            i = pos;
            pos = j;
            d = next();
            j = pos;
        } while (c == d && c >= 0);
        pos = here;
        return Integer.compare(c, d);
    }

    /**
     * {@return the integer that comes next: digits only, no sign, no leading zero, no fraction, no exponent, at most
     * 2<sup>63</sup>-1}
     */
    public long integer() {
        long at = position();
        long n = 0;
        while (pos < limit && isDigit(byteAt(pos))) {
            int digit = byteAt(pos) - '0';
            if (n > (Long.MAX_VALUE - digit) / 10) {
                throw new JsonException(at, "a number above 2^63-1");
            }
            n = 10 * n + digit;
            pos++;
        }
        int after = pos < limit ? byteAt(pos) : -1;
        if (pos == at) {
            throw unexpected("a number of digits only");
        }
        if (after == '.' || after == 'e' || after == 'E') {
            throw unexpected("an integer without fraction and exponent");
        }
        if (pos - at > 1 && byteAt(at) == '0') {
            throw new JsonException(at, "a number with a leading zero");
        }
        return n;
    }

    /**
     * {@return the number that comes next, rounded to FP64; one too small for FP64 becomes 0 or subnormal}
     *
     * @throws JsonException if there is none by JSON's grammar, it has a leading zero or more than {@value
     *     #MAX_NUMBER_LENGTH} characters, or it is too large for FP64
     */
    public double number() {
        long at = position();
        skipNumber();
        if (pos < limit && isDigit(byteAt(pos))) {
            throw new JsonException(at, "a number with a leading zero");
        }
        if (pos - at > MAX_NUMBER_LENGTH) {
            throw new JsonException(at, "a number of more than " + MAX_NUMBER_LENGTH + " characters");
        }
        StringBuilder digits = new StringBuilder((int) (pos - at));
        for (long i = at; i < pos; i++) {
            digits.append((char) byteAt(i));
        }
        double value = Double.parseDouble(digits.toString());
        if (Double.isInfinite(value)) {
            throw new JsonException(at, "a number beyond FP64's range");
        }
        return value;
    }

    /** {@return the truth value that comes next} */
    public boolean bool() {
        int c = peek();
        if (c != 't' && c != 'f') {
            throw unexpected("'true' or 'false'");
        }
        literal(c == 't' ? "true" : "false");
        return c == 't';
    }

    /** Passes any value, checking all of it. */
    public void skip() {
        int base = depth;
        do {
            switch (peek()) {
                case '{' -> beginObject();
                case '[' -> beginArray();
                case '"' -> skipString();
                case 't' -> literal("true");
                case 'f' -> literal("false");
                case 'n' -> literal("null");
                default -> skipNumber();
            }
            while (depth > base) {
                if (!hasNext()) {
                    continue;
                }
                if ((isObject & 1) != 0) {
                    skipString();
                    colon();
                }
                break;
            }
        } while (depth > base);
    }

    private void literal(String word) {
        for (int i = 0; i < word.length(); i++) {
            if (pos >= limit || byteAt(pos) != word.charAt(i)) {
                throw unexpected("'" + word + "'");
            }
            pos++;
        }
    }

    private void skipNumber() {
        if (pos < limit && byteAt(pos) == '-') {
            pos++;
        }
        if (pos < limit && byteAt(pos) == '0') {
            pos++;
        } else {
            digits("a value");
        }
        if (pos < limit && byteAt(pos) == '.') {
            pos++;
            digits("a digit");
        }
        if (pos < limit && (byteAt(pos) | 0x20) == 'e') {
            pos++;
            if (pos < limit && (byteAt(pos) == '+' || byteAt(pos) == '-')) {
                pos++;
            }
            digits("a digit");
        }
    }

    private void digits(String what) {
        if (pos >= limit || !isDigit(byteAt(pos))) {
            throw unexpected(what);
        }
        while (pos < limit && isDigit(byteAt(pos))) {
            pos++;
        }
    }

    // ---------------------------------------------------------------------------------------------- characters

    /** The next code point inside a string, or -1 past its closing quote. */
    private int next() {
        int c = take();
        if (c == '"') {
            return -1;
        }
        if (c == '\\') {
            return escape();
        }
        if (c < 0x20) {
            throw new JsonException(pos - 1, "the control character " + hex(c) + " in a string");
        }
        return c < 0x80 ? c : utf8(c);
    }

    /** Well-formed byte sequences of the Unicode standard, table 3-7: no overlong forms, no surrogates. */
    private int utf8(int lead) {
        long at = pos - 1;
        int extra = lead >= 0xC2 && lead <= 0xDF ? 1 : lead >= 0xE0 && lead <= 0xEF ? 2
                : lead >= 0xF0 && lead <= 0xF4 ? 3 : 0;
        int c = lead & 0x3F >> extra;
        for (int i = 0; i < extra; i++) {
            int b = pos < limit ? byteAt(pos) : 0;
            if ((b & 0xC0) != 0x80) {
                extra = 0;
                break;
            }
            c = c << 6 | b & 0x3F;
            pos++;
        }
        boolean overlong = extra == 2 && c < 0x800 || extra == 3 && c < 0x1_0000;
        if (extra == 0 || overlong || c >= 0xD800 && c <= 0xDFFF || c > Character.MAX_CODE_POINT) {
            throw new JsonException(at, "bytes that are not UTF-8, from " + hex(lead));
        }
        return c;
    }

    private int escape() {
        long at = pos - 1;
        int c = take();
        return switch (c) {
            case '"', '\\', '/' -> c;
            case 'b' -> '\b';
            case 'f' -> '\f';
            case 'n' -> '\n';
            case 'r' -> '\r';
            case 't' -> '\t';
            case 'u' -> {
                int unit = unit(at);
                if (unit < 0xD800 || unit > 0xDFFF) {
                    yield unit;
                }
                if (unit < 0xDC00 && take() == '\\' && take() == 'u') {
                    int low = unit(at);
                    if (low >= 0xDC00 && low <= 0xDFFF) {
                        yield Character.toCodePoint((char) unit, (char) low);
                    }
                }
                throw new JsonException(at, "half of a surrogate pair");
            }
            default -> throw new JsonException(at, "an escape that JSON has not");
        };
    }

    private int unit(long at) {
        int unit = 0;
        for (int i = 0; i < 4; i++) {
            int b = take();
            int digit = b < 0x80 ? Character.digit(b, 16) : -1;
            if (digit < 0) {
                throw new JsonException(at, "an escape without four hexadecimal digits");
            }
            unit = unit << 4 | digit;
        }
        return unit;
    }

    private int take() {
        if (pos >= limit) {
            throw new JsonException(limit, "the text ends inside a string");
        }
        return byteAt(pos++);
    }

    private void expect(char c, String what) {
        if (peek() != c) {
            throw unexpected(what);
        }
        pos++;
    }

    private JsonException unexpected(String wanted) {
        if (pos >= limit) {
            return new JsonException(limit, "the text ends where there should be " + wanted);
        }
        int c = byteAt(pos);
        String found = c > 0x20 && c < 0x7F ? "'" + (char) c + "'" : "byte " + hex(c);
        return new JsonException(pos, found + " where there should be " + wanted);
    }

    private static String hex(int b) {
        return "0x" + Integer.toHexString(0x100 | b).substring(1).toUpperCase(java.util.Locale.ROOT);
    }

    private void skipSpace() {
        while (pos < limit) {
            int c = byteAt(pos);
            if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
                return;
            }
            pos++;
        }
    }

    private static boolean isDigit(int c) {
        return c >= '0' && c <= '9';
    }

    private int byteAt(long at) {
        return text.get(ValueLayout.JAVA_BYTE, at) & 0xFF;
    }
}
