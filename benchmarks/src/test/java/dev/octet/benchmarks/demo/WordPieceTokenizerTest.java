package dev.octet.benchmarks.demo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Token ids against those of Hugging Face's tokenizers library 0.23 with the same tokenizer.json. */
class WordPieceTokenizerTest {
    private static final int CLS = 101;
    private static final int SEP = 102;
    private static final int UNKNOWN = 100;

    private static WordPieceTokenizer tokenizer;

    @BeforeAll
    static void load() throws Exception {
        tokenizer = MiniLm.tokenizer();
    }

    /** Text, and its ids without [CLS] and [SEP]. */
    record Case(String text, int... ids) {}

    static Case[] cases() {
        return new Case[] {
            new Case(""),
            new Case("   "),
            new Case("hello", 7592),
            new Case("Hello, World!", 7592, 1010, 2088, 999),
            new Case("unaffable", 14477, 20961, 3468),
            new Case("Café naïve résumé ÀÉÎ", 7668, 15743, 13746, 29347, 2072),
            new Case("東京タワー is in 東京", 1879, 1755, 1709, 30262, 30265, 2003, 1999, 1879, 1755),
            new Case("I ❤️ pizza 🍕🍕", 1045, UNKNOWN, 10733, UNKNOWN),
            new Case("👨‍👩‍👧 family", UNKNOWN, 2155),
            new Case("don't stop-believing... (1,234.56$)", 2123, 1005, 1056, 2644, 1011, 8929, 1012, 1012, 1012, 1006,
                    1015, 1010, 22018, 1012, 5179, 1002, 1007),
            new Case("İstanbul ΑΣ ΌΣΟΣ straße", 9960, 1155, 29733, 1169, 29733, 29730, 29733, 2358, 27807),
            new Case("tab\tnew\nline\r end\u00a0nbsp\u200bzwsp\ufeffbom\u00adshy", 21628, 2047, 2240, 2203, 1050, 5910,
                    2361, 2480, 9333, 2361, 5092, 5244, 10536),
            new Case("한국어 문장", 1469, 30006, 30021, 29991, 30014, 30020, 29999, 30008, 1459, 30014, 30021, 30000, 30006,
                    30025),
            new Case("a".repeat(101), UNKNOWN),
            new Case("x\u0000y\ufffdz", 1060, 2100, 2480),
            new Case("ﬁ ½ ™ “quoted” — dash", 1984, 1092, 1580, 1523, 9339, 1524, 1517, 11454),
            new Case("मानक हिन्दी", 1331, 29876, 29863, 29851, 1339, 29877, 29863, 29861, 29878),
            new Case("\ud835\udc00bold \ud840\udc00", UNKNOWN, UNKNOWN),
            new Case("##ing ##", 1001, 1001, 13749, 1001, 1001),
            new Case("e\u0301 n\u0303", 1041, 1050),
            new Case("pneumonoultramicroscopicsilicovolcanoconiosis", 1052, 2638, 2819, 17175, 11314, 6444, 2594, 7352,
                    26461, 27572, 11261, 6767, 15472, 6761, 8663, 10735, 2483),
            new Case("العربية עִבְרִית", 1270, 23673, 29830, 17149, 29816, 14498, 19433, 1259, 29789, 29811, 29796, 29813),
            new Case("ไทย", UNKNOWN),
            new Case("\ue000private \u0378unassigned", 2797, UNKNOWN),
        };
    }

    @ParameterizedTest
    @MethodSource("cases")
    void givesTheIdsOfTheOriginal(Case c) {
        int[] expected = new int[c.ids().length + 2];
        expected[0] = CLS;
        System.arraycopy(c.ids(), 0, expected, 1, c.ids().length);
        expected[expected.length - 1] = SEP;
        WordPieceTokenizer.Tokens tokens = tokenizer.encode(c.text(), 256);
        assertArrayEquals(expected, tokens.ids(), () -> c.text() + " gave " + Arrays.toString(tokens.ids()));
        assertFalse(tokens.truncated());
    }

    @Test
    void namesOfSpecialTokensAreOrdinaryText() {
        int[] ids = tokenizer.encode("[SEP] [CLS]", 256).ids();
        assertEquals(1, Arrays.stream(ids).filter(i -> i == SEP).count());
        assertEquals(1, Arrays.stream(ids).filter(i -> i == CLS).count());
    }

    @Test
    void cutsWhatIsTooLongBeforeTheFinalSeparator() {
        WordPieceTokenizer.Tokens tokens = tokenizer.encode("hello ".repeat(300), 256);
        assertEquals(256, tokens.count());
        assertTrue(tokens.truncated());
        assertEquals(7592, tokens.ids()[254]);
        assertEquals(SEP, tokens.ids()[255]);
        assertFalse(tokenizer.encode("hello ".repeat(254), 256).truncated());
        assertTrue(tokenizer.encode("hello ".repeat(255), 256).truncated());
    }

    @Test
    void anyCharactersGiveValidIds() {
        long seed = 20260101;
        Random random = new Random(seed);
        for (int n = 0; n < 2000; n++) {
            char[] text = new char[random.nextInt(40)]; // unpaired surrogates among them
            for (int i = 0; i < text.length; i++) {
                text[i] = (char) random.nextInt(random.nextBoolean() ? 256 : 65536);
            }
            int[] ids = tokenizer.encode(new String(text), 64).ids();
            assertTrue(ids.length >= 2 && ids[0] == CLS && ids[ids.length - 1] == SEP, "seed " + seed + ", text " + n);
            assertTrue(Arrays.stream(ids).allMatch(i -> i >= 0 && i < 30522), "seed " + seed + ", text " + n);
        }
    }

    @Test
    void vocabularyFitsTheModel() {
        assertEquals(30522, tokenizer.size());
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "", "[]", "{}", "{\"normalizer\":{\"lowercase\":false}}", "{\"normalizer\":{\"lowercase\":true},\"model\":3}",
        "{\"normalizer\":{\"lowercase\":true},\"model\":{\"type\":\"BPE\"}}",
        "{\"normalizer\":{\"lowercase\":true},\"model\":{\"type\":\"WordPiece\",\"continuing_subword_prefix\":\"##\"}}",
        "{\"normalizer\":{\"lowercase\":true},\"model\":{\"type\":\"WordPiece\",\"continuing_subword_prefix\":\"##\","
                + "\"vocab\":{\"[CLS]\":1.5}}}",
        "{\"normalizer\":{\"lowercase\":true},\"model\":{\"type\":\"WordPiece\",\"continuing_subword_prefix\":\"##\","
                + "\"vocab\":{\"[CLS]\":1}}}",
        "{\"normalizer\":{\"lowercase\":true},\"model\":{\"type\":\"WordPiece\",\"continuing_subword_prefix\":\"##\","
                + "\"vocab\":{\"[CLS]\":1,\"[SEP]\":2,\"[UNK]\":3,\"[SEP]\":4}}}",
        "{\"normalizer\":{\"lowercase\":true},\"model\":{\"type\":\"WordPiece\",\"continuing_subword_prefix\":\"##\","
                + "\"vocab\":{\"[CLS]\":1,\"[SEP]\":2,\"[UNK]\":4294967296}}}"})
    void refusesOtherFiles(String json) {
        MemorySegment bytes = MemorySegment.ofArray(json.getBytes(StandardCharsets.UTF_8));
        String message = assertThrows(ModelFormatException.class, () -> WordPieceTokenizer.parse("t.json", bytes))
                .getMessage();
        assertTrue(message.startsWith("t.json") || message.startsWith("the vocabulary lacks ["), message);
    }

    @Test
    void worksOnASmallVocabulary() throws Exception {
        WordPieceTokenizer small = new WordPieceTokenizer(
                Map.of("[CLS]", 0, "[SEP]", 1, "[UNK]", 2, "ab", 3, "##c", 4, "a", 5, "##bd", 6), 5);
        assertArrayEquals(new int[] {0, 3, 4, 1}, small.encode("ABC", 9).ids());
        assertArrayEquals(new int[] {0, 2, 1}, small.encode("abd", 9).ids(), "greedy: ab is taken, ##d is not there");
        assertArrayEquals(new int[] {0, 2, 3, 1}, small.encode("abcccc ab", 9).ids(), "longer than five characters");
    }
}
