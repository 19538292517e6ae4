package dev.octet.benchmarks.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Fp8;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What FP8 does to the encoder. The bounds stand a little beyond what was measured, which each comment gives. */
class Fp8EncoderTest {
    private static MiniLm model;
    private static WordPieceTokenizer tokenizer;
    private static Comparison builtIn;

    @BeforeAll
    static void run() throws Exception {
        model = MiniLm.load();
        tokenizer = MiniLm.tokenizer();
        builtIn = compare(Sentences.BUILT_IN);
    }

    @AfterAll
    static void close() {
        model.close();
    }

    private static Comparison compare(List<String> sentences) {
        return Comparison.run(model, tokenizer, sentences, Fp8.auto(), CpuPool.shared(), 0, stage -> {});
    }

    @Test
    void keepsEmbeddings() {
        for (int i = 0; i < builtIn.cosines().length; i++) { // 0.9972 to 0.9983
            double cosine = builtIn.cosines()[i];
            assertTrue(cosine > 0.9965 && cosine < 0.9999, builtIn.sentences().get(i) + ": " + cosine);
        }
    }

    @Test
    void keepsTheRanking() {
        Similarity s = builtIn.similarity();
        assertEquals(120, s.pairs().size());
        assertTrue(s.rankCorrelation() > 0.99, "rank correlation " + s.rankCorrelation()); // 0.9964
        assertEquals(16, s.sameNearest(16));
        for (Similarity.Pair p : s.pairs().subList(0, 8)) {
            assertTrue(p.first() % 2 == 0 && p.second() == p.first() + 1, "the eight pairs are found: " + p);
            // Neighbours 0.004 apart may change places: the last bit of an activation decides to which side FP8 rounds.
            assertTrue(p.otherRank() <= 8 && Math.abs(p.rank() - p.otherRank()) <= 1, p.toString());
        }
    }

    @Test
    void errorGrowsSlowly() {
        double[] relative = builtIn.relativeErrors();
        assertEquals(7, relative.length);
        assertEquals(0, relative[0], "the embeddings do not go through FP8");
        assertTrue(relative[1] > 0.02 && relative[1] < 0.04, "after layer 1: " + relative[1]); // 0.031
        assertTrue(relative[6] > relative[1] && relative[6] < 0.09, "after layer 6: " + relative[6]); // 0.075
        assertTrue(builtIn.calcDiffs()[6] < 0.004, "calc_diff " + builtIn.calcDiffs()[6]); // 0.0028
    }

    @Test
    void weightsTakeAQuarter() {
        long matrices = 6L * (4 * 384 * 384 + 2 * 384 * 1536);
        assertEquals(matrices * 4, builtIn.fp32Bytes());
        assertEquals(matrices + matrices / (128 * 128) * 4, builtIn.fp8Bytes());
    }

    /** One layer against the FP32 one with dequantised operands' worth of error, bias and side-by-side parts included. */
    @Test
    void linearLayerMatchesFp32() {
        MiniLm.Layer l = model.layers().getFirst();
        List<MiniLm.Dense> parts = List.of(l.query(), l.key(), l.value());
        Random random = new Random(7);
        for (int rows : new int[] {1, 5, 6, 7, 97, 130}) {
            float[] values = new float[rows * MiniLm.HIDDEN];
            for (int i = 0; i < values.length; i++) {
                values[i] = (float) random.nextGaussian();
            }
            try (Linear fp32 = new Fp32Linear(CpuPool.shared(), parts);
                    Linear fp8 = new Fp8Linear(Fp8.auto(), parts, 130);
                    Tensor x = Tensor.of(values, rows, MiniLm.HIDDEN);
                    Tensor expected = Tensor.allocate(DType.F32, Shape.of(rows, 3 * MiniLm.HIDDEN));
                    Tensor actual = Tensor.allocate(DType.F32, Shape.of(rows, 3 * MiniLm.HIDDEN))) {
                fp32.apply(x, expected);
                fp8.apply(x, actual);
                float[] e = expected.toFloatArray();
                float[] a = actual.toFloatArray();
                double difference = 0;
                double square = 0;
                for (int i = 0; i < e.length; i++) {
                    difference += Math.pow(a[i] - e[i], 2);
                    square += Math.pow(e[i], 2);
                    if (i % 401 == 0) {
                        checkFp32(parts, values, e, i / (3 * MiniLm.HIDDEN), i % (3 * MiniLm.HIDDEN));
                    }
                }
                double relative = Math.sqrt(difference / square);
                assertTrue(relative > 0.005 && relative < 0.045, rows + " rows: " + relative);
            }
        }
    }

    private static void checkFp32(List<MiniLm.Dense> parts, float[] x, float[] y, int row, int column) {
        MiniLm.Dense part = parts.get(column / MiniLm.HIDDEN);
        int channel = column % MiniLm.HIDDEN;
        double sum = part.bias().toFloatArray()[channel];
        double magnitude = Math.abs(sum);
        for (int k = 0; k < MiniLm.HIDDEN; k++) {
            double product = (double) x[row * MiniLm.HIDDEN + k] * part.weight().getFloat(k, channel);
            sum += product;
            magnitude += Math.abs(product);
        }
        assertEquals(sum, y[row * 3 * MiniLm.HIDDEN + column], magnitude * MiniLm.HIDDEN * 0x1p-24);
    }

    @Test
    void takesManyBatchesAndLongSentences() {
        List<String> sentences = new ArrayList<>(Sentences.BUILT_IN);
        sentences.add("When the lamps had been lit, nobody could remember why they had met. ".repeat(30));
        sentences.addAll(Sentences.BUILT_IN);
        Comparison c = compare(sentences);
        assertEquals(33, c.cosines().length);
        assertTrue(c.tokens().get(16).truncated());
        for (int i = 0; i < 33; i++) {
            double least = i == 16 ? 0.995 : 0.9965; // the long one, 0.9961
            assertTrue(c.cosines()[i] > least, i + ": " + c.cosines()[i]);
        }
    }
}
