package dev.octet.benchmarks.demo;

import dev.octet.core.json.JsonException;
import dev.octet.core.json.JsonReader;
import java.lang.foreign.MemorySegment;
import java.text.Normalizer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * BERT's tokenizer: text is cleaned, stripped of accents, lower-cased and split at spaces, punctuation and CJK
 * ideographs; each word is cut greedily into the longest pieces of a vocabulary. Devlin et al., "BERT", 2019; Wu et
 * al., "Google's Neural Machine Translation System", 2016, section 4.1. Rules and vocabulary are those of a
 * {@code tokenizer.json} with a BertNormalizer, except that names of special tokens in the text are ordinary text: a
 * sentence can't smuggle in a {@code [SEP]}. Immutable.
 */
final class WordPieceTokenizer {
    private final Map<String, Integer> vocabulary;
    private final int maxWordLength;
    private final int cls;
    private final int sep;
    private final int unknown;

    /** The ids of one sentence, [CLS] and [SEP] included, and whether its end was cut off. */
    record Tokens(int[] ids, boolean truncated) {
        /** How many there are. */
        int count() {
            return ids.length;
        }
    }

    WordPieceTokenizer(Map<String, Integer> vocabulary, int maxWordLength) throws ModelFormatException {
        this.vocabulary = Map.copyOf(vocabulary);
        this.maxWordLength = maxWordLength;
        this.cls = special("[CLS]");
        this.sep = special("[SEP]");
        this.unknown = special("[UNK]");
    }

    /**
     * Reads the vocabulary of a {@code tokenizer.json}.
     *
     * @param file the name used in messages
     * @param json its content, UTF-8
     * @throws ModelFormatException if it is not JSON or not a lower-casing WordPiece tokenizer
     */
    static WordPieceTokenizer parse(String file, MemorySegment json) throws ModelFormatException {
        JsonReader reader = new JsonReader(json, 0, json.byteSize());
        try {
            TokenizerFile found = TokenizerFile.read(reader);
            if (!found.lowercase) {
                throw new ModelFormatException(file + ": normalizer.lowercase is not true: this is no uncased model");
            }
            if (!found.type.equals("WordPiece") || !found.prefix.equals("##")) {
                throw new ModelFormatException(file + ": model is not a WordPiece with the prefix ##");
            }
            return new WordPieceTokenizer(found.vocabulary, found.maxWordLength);
        } catch (JsonException e) {
            throw new ModelFormatException(file + ", byte " + e.position() + ": " + e.getMessage());
        }
    }

    /** The entries of a {@code tokenizer.json} that matter here. */
    private static final class TokenizerFile {
        private final Map<String, Integer> vocabulary = new HashMap<>();
        private boolean lowercase;
        private String type = "";
        private String prefix = "";
        private int maxWordLength = 100;

        static TokenizerFile read(JsonReader json) {
            TokenizerFile file = new TokenizerFile();
            json.beginObject();
            while (json.hasNext()) {
                String key = json.string();
                json.colon();
                switch (key) {
                    case "normalizer" -> file.readNormalizer(json);
                    case "model" -> file.readModel(json);
                    default -> json.skip();
                }
            }
            json.end();
            return file;
        }

        private void readNormalizer(JsonReader json) {
            json.beginObject();
            while (json.hasNext()) {
                boolean wanted = json.string().equals("lowercase");
                json.colon();
                lowercase = wanted ? json.peek() == 't' : lowercase;
                json.skip();
            }
        }

        private void readModel(JsonReader json) {
            json.beginObject();
            while (json.hasNext()) {
                String key = json.string();
                json.colon();
                switch (key) {
                    case "type" -> type = json.string();
                    case "continuing_subword_prefix" -> prefix = json.string();
                    case "max_input_chars_per_word" -> maxWordLength = index(json);
                    case "vocab" -> readVocabulary(json);
                    default -> json.skip();
                }
            }
        }

        private void readVocabulary(JsonReader json) {
            json.beginObject();
            while (json.hasNext()) {
                long at = json.position();
                String piece = json.string();
                json.colon();
                if (vocabulary.put(piece, index(json)) != null) {
                    throw new JsonException(at, "'" + piece + "' is there twice");
                }
            }
        }

        private static int index(JsonReader json) {
            long at = json.position();
            long value = json.integer();
            if (value < 0 || value > Integer.MAX_VALUE) {
                throw new JsonException(at, value + " is not between 0 and 2^31-1");
            }
            return (int) value;
        }
    }

    private int special(String token) throws ModelFormatException {
        Integer id = vocabulary.get(token);
        if (id == null) {
            throw new ModelFormatException("the vocabulary lacks " + token);
        }
        return id;
    }

    /** One more than the largest id: what the embedding table must have rows for. */
    int size() {
        return vocabulary.values().stream().mapToInt(Integer::intValue).max().orElse(-1) + 1;
    }

    /**
     * Tokenizes one sentence.
     *
     * @param text any text; unpaired surrogates are dropped
     * @param maxTokens the most ids to return, at least 2; what is beyond is cut off before the final [SEP]
     * @return the ids
     */
    Tokens encode(String text, int maxTokens) {
        List<Integer> ids = new ArrayList<>();
        ids.add(cls);
        for (String word : words(normalize(text))) {
            pieces(word, ids);
        }
        boolean truncated = ids.size() > maxTokens - 1;
        List<Integer> kept = truncated ? ids.subList(0, maxTokens - 1) : ids;
        int[] result = new int[kept.size() + 1];
        for (int i = 0; i < kept.size(); i++) {
            result[i] = kept.get(i);
        }
        result[kept.size()] = sep;
        return new Tokens(result, truncated);
    }

    static String normalize(String text) {
        StringBuilder clean = new StringBuilder(text.length() + 16);
        text.codePoints().forEach(c -> {
            if (isSpace(c)) {
                clean.append(' ');
            } else if (isIdeograph(c)) {
                clean.append(' ').appendCodePoint(c).append(' ');
            } else if (c != 0 && c != 0xFFFD && !isControl(c)) {
                clean.appendCodePoint(c);
            }
        });
        StringBuilder plain = new StringBuilder(clean.length());
        Normalizer.normalize(clean, Normalizer.Form.NFD).codePoints()
                .filter(c -> Character.getType(c) != Character.NON_SPACING_MARK)
                .map(Character::toLowerCase) // one by one: a final sigma stays an ordinary sigma
                .forEach(plain::appendCodePoint);
        return plain.toString();
    }

    private static List<String> words(String text) {
        List<String> words = new ArrayList<>();
        StringBuilder word = new StringBuilder();
        text.codePoints().forEach(c -> {
            boolean space = isSpace(c);
            boolean punctuation = isPunctuation(c);
            if ((space || punctuation) && !word.isEmpty()) {
                words.add(word.toString());
                word.setLength(0);
            }
            if (punctuation) {
                words.add(Character.toString(c));
            } else if (!space) {
                word.appendCodePoint(c);
            }
        });
        if (!word.isEmpty()) {
            words.add(word.toString());
        }
        return words;
    }

    private void pieces(String word, List<Integer> ids) {
        int mark = ids.size();
        boolean known = word.codePointCount(0, word.length()) <= maxWordLength;
        int start = 0;
        while (known && start < word.length()) {
            int end = word.length();
            Integer id = null;
            while (end > start) {
                String piece = word.substring(start, end);
                id = vocabulary.get(start == 0 ? piece : "##" + piece);
                if (id != null) {
                    break;
                }
                end = word.offsetByCodePoints(end, -1);
            }
            known = id != null;
            if (id != null) {
                ids.add(id);
                start = end;
            }
        }
        if (!known) { // one piece that is not there makes the whole word unknown
            ids.subList(mark, ids.size()).clear();
            ids.add(unknown);
        }
    }

    private static boolean isSpace(int c) {
        return c == '\t' || c == '\n' || c == '\r' || switch (Character.getType(c)) {
            case Character.SPACE_SEPARATOR, Character.LINE_SEPARATOR, Character.PARAGRAPH_SEPARATOR -> true;
            default -> false;
        };
    }

    private static boolean isControl(int c) {
        return switch (Character.getType(c)) {
            case Character.CONTROL, Character.FORMAT, Character.PRIVATE_USE, Character.SURROGATE -> true;
            default -> false;
        };
    }

    private static boolean isPunctuation(int c) {
        if (c < 128) { // all of ASCII's marks, also those that Unicode calls symbols, such as $ and +
            return c > ' ' && c < 127 && !Character.isLetterOrDigit(c);
        }
        return switch (Character.getType(c)) {
            case Character.CONNECTOR_PUNCTUATION, Character.DASH_PUNCTUATION, Character.START_PUNCTUATION,
                    Character.END_PUNCTUATION, Character.INITIAL_QUOTE_PUNCTUATION,
                    Character.FINAL_QUOTE_PUNCTUATION, Character.OTHER_PUNCTUATION -> true;
            default -> false;
        };
    }

    /** The CJK blocks that BERT splits into single characters; kana and hangul are not among them. */
    private static boolean isIdeograph(int c) {
        return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF)
                || (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F)
                || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
    }
}
