package dev.octet.benchmarks.demo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.cpu.CpuPool;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The FP32 encoder against ONNX Runtime on the same file. */
class SentenceEncoderTest {
    private static final double TOLERANCE = 1e-5;

    private static final List<String> AWKWARD = List.of(
            "",
            "   \t  ",
            "a",
            "cat",
            "The quick brown fox jumps over the lazy dog.",
            "Café naïve résumé, ÀÉÎÕÜ; Ελληνικά ΣΑΣ; İstanbul!",
            "東京タワー is in 東京, 한국어, العربية",
            "🍕🍕 👨‍👩‍👧 I ❤️ pizza\u200b!!!",
            "x".repeat(101) + " ??? ((())) $1,234.56",
            "ho ".repeat(60),
            "When the committee finally met, long after the lamps had been lit, nobody could remember why. ".repeat(40));

    private static MiniLm model;
    private static WordPieceTokenizer tokenizer;
    private static SentenceEncoder encoder;

    @BeforeAll
    static void load() throws Exception {
        model = MiniLm.load();
        tokenizer = MiniLm.tokenizer();
        encoder = new SentenceEncoder(model, parts -> new Fp32Linear(CpuPool.shared(), parts), CpuPool.shared());
    }

    @AfterAll
    static void close() {
        encoder.close();
        model.close();
    }

    private static List<int[]> tokens(List<String> sentences) {
        return sentences.stream().map(s -> tokenizer.encode(s, MiniLm.MAX_TOKENS).ids()).toList();
    }

    /** The output of the last layer for each sentence, {@code [sentence][token * channel]}. */
    private static List<float[]> lastHidden(SentenceEncoder encoder, List<int[]> sentences) {
        List<float[]> batches = new ArrayList<>();
        encoder.encode(sentences, (layer, hidden) -> {
            if (layer == model.layers().size()) {
                batches.add(hidden.toFloatArray());
            }
        });
        List<float[]> result = new ArrayList<>();
        int batch = 0;
        int at = 0;
        for (int[] s : sentences) {
            if (at == batches.get(batch).length) {
                batch++;
                at = 0;
            }
            result.add(java.util.Arrays.copyOfRange(batches.get(batch), at, at + s.length * MiniLm.HIDDEN));
            at += s.length * MiniLm.HIDDEN;
        }
        return result;
    }

    private static double largestDifference(float[] a, float[] b) {
        assertEquals(a.length, b.length);
        double largest = 0;
        for (int i = 0; i < a.length; i++) {
            largest = Math.max(largest, Math.abs((double) a[i] - b[i]));
            assertTrue(Float.isFinite(a[i]), "element " + i + " is " + a[i]);
        }
        return largest;
    }

    private static float[] flat(float[][] rows) {
        float[] all = new float[rows.length * rows[0].length];
        for (int r = 0; r < rows.length; r++) {
            System.arraycopy(rows[r], 0, all, r * rows[r].length, rows[r].length);
        }
        return all;
    }

    @Test
    void agreesWithOnnxRuntime() throws Exception {
        List<int[]> ids = tokens(AWKWARD);
        assertEquals(MiniLm.MAX_TOKENS, ids.getLast().length, "the last sentence should be cut");
        try (OnnxOracle oracle = OnnxOracle.open()) {
            float[][][] batched = oracle.tokenEmbeddings(ids);
            float[][] embeddings = encoder.encode(ids);
            List<float[]> hidden = lastHidden(encoder, ids);
            double tokenError = 0;
            double sentenceError = 0;
            for (int s = 0; s < ids.size(); s++) {
                double alone = largestDifference(hidden.get(s), flat(oracle.tokenEmbeddings(List.of(ids.get(s)))[0]));
                double inBatch = largestDifference(hidden.get(s), flat(batched[s]));
                double pooled = largestDifference(embeddings[s], OnnxOracle.pool(batched[s]));
                tokenError = Math.max(tokenError, Math.max(alone, inBatch));
                sentenceError = Math.max(sentenceError, pooled);
            }
            System.out.printf("FP32 encoder against ONNX Runtime: tokens differ by at most %.2e, sentences by %.2e%n",
                    tokenError, sentenceError);
            assertTrue(tokenError <= TOLERANCE, "token embeddings differ by " + tokenError);
            assertTrue(sentenceError <= TOLERANCE, "sentence embeddings differ by " + sentenceError);
        }
    }

    @Test
    void doesNotDependOnTheBatch() {
        List<int[]> ids = tokens(AWKWARD);
        float[][] together = encoder.encode(ids);
        for (int s = 0; s < ids.size(); s++) {
            assertArrayEquals(together[s], encoder.encode(List.of(ids.get(s)))[0], AWKWARD.get(s));
        }
    }

    @Test
    void doesNotDependOnTheThreads() {
        List<int[]> ids = tokens(AWKWARD);
        try (CpuPool one = new CpuPool(1);
                SentenceEncoder alone = new SentenceEncoder(model, parts -> new Fp32Linear(one, parts), one)) {
            float[][] expected = encoder.encode(ids);
            float[][] actual = alone.encode(ids);
            for (int s = 0; s < ids.size(); s++) {
                assertArrayEquals(expected[s], actual[s], AWKWARD.get(s));
            }
        }
    }

    @Test
    void noSentencesGiveNoEmbeddings() {
        assertEquals(0, encoder.encode(List.of()).length);
    }
}
