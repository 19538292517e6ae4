package dev.octet.mla.reference;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.BFloat16;
import dev.octet.mla.AttentionOptions;
import dev.octet.mla.MlaConfig;
import dev.octet.mla.reference.ReferenceAttention.Result;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The definition itself: by hand, and the naive form against the absorbed one. */
class ReferenceAttentionTest {
    private static final long SEED = Long.getLong("octet.test.seed", 20240507L);
    private static final double INF = Double.POSITIVE_INFINITY;

    private static double[][] gaussian(RandomGenerator random, int rows, int columns, double deviation) {
        double[][] m = new double[rows][columns];
        for (double[] row : m) {
            for (int c = 0; c < columns; c++) {
                row[c] = deviation * random.nextGaussian();
            }
        }
        return m;
    }

    private static double[][][] gaussian(RandomGenerator random, int heads, int rows, int columns, double deviation) {
        double[][][] m = new double[heads][][];
        for (int h = 0; h < heads; h++) {
            m[h] = gaussian(random, rows, columns, deviation);
        }
        return m;
    }

    /** Two keys whose scores are 0 and ln 3 get the weights 1/4 and 3/4; with half the scale 1 and sqrt 3. */
    @Test
    void byHand() {
        double[][] query = {{1, 2}};
        double[][] keys = {{2, -1}, {Math.log(3), 0}};
        double[][] values = {{4, 0, -8}, {0, 4, 8}};
        Result r = ReferenceAttention.attend(query, keys, values, 3, AttentionOptions.causal(1));
        assertArrayEquals(new double[] {1, 3, 4}, r.out()[0], 1e-15);
        assertEquals(Math.log(4), r.lse()[0], 1e-15);
        r = ReferenceAttention.attend(query, keys, values, 2, AttentionOptions.bidirectional(0.5f));
        double total = 1 + Math.sqrt(3);
        assertArrayEquals(new double[] {4 / total, 4 * Math.sqrt(3) / total}, r.out()[0], 1e-15);
        assertEquals(Math.log(total), r.lse()[0], 1e-15);
    }

    /** Query i of m stands at key n - m + i. Equal scores make each output the mean of the values that it sees. */
    @Test
    void whatAQuerySees() {
        double[][] values = {{1}, {10}, {100}, {1000}};
        double[][] zeros = new double[4][1];
        double[][] queries = new double[6][1];
        Result r = ReferenceAttention.attend(queries, zeros, values, 1, AttentionOptions.causal(1));
        assertMeans(r, new double[] {0, 0, 1, 11, 111, 1111}, new int[] {0, 0, 1, 2, 3, 4});
        r = ReferenceAttention.attend(queries, zeros, values, 1, AttentionOptions.causal(1).withWindow(2));
        assertMeans(r, new double[] {0, 0, 1, 11, 110, 1100}, new int[] {0, 0, 1, 2, 2, 2});
        r = ReferenceAttention.attend(queries, zeros, values, 1, AttentionOptions.bidirectional(1));
        assertMeans(r, new double[] {1111, 1111, 1111, 1111, 1111, 1111}, new int[] {4, 4, 4, 4, 4, 4});
        r = ReferenceAttention.attend(new double[2][1], zeros, values, 1, AttentionOptions.causal(1).withWindow(9));
        assertMeans(r, new double[] {111, 1111}, new int[] {3, 4});
        r = ReferenceAttention.attend(new double[2][1], new double[0][1], new double[0][1], 1,
                AttentionOptions.bidirectional(1));
        assertMeans(r, new double[] {0, 0}, new int[] {0, 0});
    }

    private static void assertMeans(Result r, double[] sums, int[] counts) {
        for (int i = 0; i < sums.length; i++) {
            assertEquals(counts[i] == 0 ? 0 : sums[i] / counts[i], r.out()[i][0], 1e-12, "query " + i);
            assertEquals(counts[i] == 0 ? INF : Math.log(counts[i]), r.lse()[i], 1e-15, "query " + i);
        }
    }

    /** Scores far beyond what an exponential can take, and a NaN that one of two queries sees. */
    @Test
    void largeScoresAndNaN() {
        double[][] keys = {{1e6}, {1e6 - 1}};
        double[][] values = {{1}, {0}};
        Result r = ReferenceAttention.attend(new double[][] {{1}}, keys, values, 1, AttentionOptions.causal(1));
        assertEquals(1 / (1 + Math.exp(-1)), r.out()[0][0], 1e-12);
        assertEquals(1e6 + Math.log1p(Math.exp(-1)), r.lse()[0], 1e-9);
        keys[1][0] = Double.NaN;
        r = ReferenceAttention.attend(new double[][] {{1}, {1}}, keys, values, 1, AttentionOptions.causal(1));
        assertEquals(1, r.out()[0][0]);
        assertEquals(1e6, r.lse()[0]);
        assertTrue(Double.isNaN(r.out()[1][0]) && Double.isNaN(r.lse()[1]));
        keys[1][0] = INF;
        r = ReferenceAttention.attend(new double[][] {{1}}, keys, values, 1, AttentionOptions.causal(1));
        assertTrue(Double.isNaN(r.out()[0][0]) && Double.isNaN(r.lse()[0]));
        keys[0][0] = -INF;
        keys[1][0] = -INF;
        r = ReferenceAttention.attend(new double[][] {{1}}, keys, values, 1, AttentionOptions.causal(1));
        assertTrue(Double.isNaN(r.out()[0][0]));
        assertEquals(-INF, r.lse()[0]);
    }

    /** Small dimensions in every kind of visibility, and those of the models. */
    record Form(int heads, int queries, int keys, int nope, int rope, int latent, int value,
            AttentionOptions options) {}

    static List<Form> forms() {
        List<Form> forms = new ArrayList<>();
        for (AttentionOptions options : List.of(AttentionOptions.causal(0.3f), AttentionOptions.bidirectional(0.7f),
                AttentionOptions.causal(0.2f).withWindow(5))) {
            forms.add(new Form(3, 7, 40, 12, 6, 20, 9, options));
            forms.add(new Form(1, 9, 4, 5, 2, 64, 3, options));
            forms.add(new Form(2, 5, 0, 5, 2, 64, 3, options));
        }
        MlaConfig v3 = MlaConfig.V3;
        forms.add(new Form(4, 3, 300, v3.qkNopeHeadDim(), v3.qkRopeHeadDim(), v3.kvLoraRank(), v3.vHeadDim(),
                AttentionOptions.causal(v3.softmaxScale())));
        return forms;
    }

    /** Both forms are the same in real numbers; in FP64 they are, relative to the largest value, to 1e-12. */
    @ParameterizedTest
    @MethodSource("forms")
    void naiveIsAbsorbed(Form f) {
        RandomGenerator random = new SplittableRandom(SEED);
        double[][][] nope = gaussian(random, f.heads, f.queries, f.nope, 1);
        double[][][] rope = gaussian(random, f.heads, f.queries, f.rope, 1);
        double[][] latents = gaussian(random, f.keys, f.latent, 1);
        double[][] ropeKeys = gaussian(random, f.keys, f.rope, 1);
        double[][][] upKeys = gaussian(random, f.heads, f.nope, f.latent, 1 / Math.sqrt(f.latent));
        double[][][] upValues = gaussian(random, f.heads, f.value, f.latent, 1 / Math.sqrt(f.latent));
        Result[] naive = ReferenceAttention.naive(nope, rope, latents, ropeKeys, upKeys, upValues, f.options);
        Result[] absorbed = ReferenceAttention.absorbed(nope, rope, latents, ropeKeys, upKeys, upValues, f.options);
        for (int h = 0; h < f.heads; h++) {
            assertArrayEquals(naive[h].lse(), absorbed[h].lse(), 1e-12, f + ", seed " + SEED);
            for (int i = 0; i < f.queries; i++) {
                double largest = 0;
                for (double x : naive[h].out()[i]) {
                    largest = Math.max(largest, Math.abs(x));
                }
                assertEquals(naive[h].lse()[i] == INF, largest == 0);
                assertArrayEquals(naive[h].out()[i], absorbed[h].out()[i], 1e-12 * largest, f + ", seed " + SEED);
            }
        }
    }

    /** Any cut of the keys, joined again, is the whole; an empty part is none, whatever its output holds. */
    @Test
    void mergeOfParts() {
        RandomGenerator random = new SplittableRandom(SEED);
        AttentionOptions options = AttentionOptions.bidirectional(0.4f);
        double[][] queries = gaussian(random, 1, 8, 1);
        double[][] keys = gaussian(random, 20, 8, 3);
        double[][] values = gaussian(random, 20, 5, 1);
        Result whole = ReferenceAttention.attend(queries, keys, values, 5, options);
        for (int cut = 0; cut <= 20; cut++) {
            Result a = part(queries, keys, values, 0, cut, options);
            Result b = part(queries, keys, values, cut, 20, options);
            double[] out = new double[5];
            double lse = ReferenceAttention.merge(a.out()[0], a.lse()[0], b.out()[0], b.lse()[0], out);
            assertEquals(whole.lse()[0], lse, 1e-13, "cut at " + cut);
            assertArrayEquals(whole.out()[0], out, 1e-14, "cut at " + cut);
        }
        double[] nothing = {Double.NaN, INF};
        double[] something = {1, -2};
        double[] out = new double[2];
        assertEquals(-7, ReferenceAttention.merge(nothing, INF, something, -7, out));
        assertArrayEquals(something, out);
        assertEquals(-7, ReferenceAttention.merge(something, -7, nothing, INF, out));
        assertArrayEquals(something, out);
        assertEquals(INF, ReferenceAttention.merge(nothing, INF, nothing, INF, out));
        assertArrayEquals(new double[2], out);
        assertTrue(Double.isNaN(ReferenceAttention.merge(something, Double.NaN, something, 1, out)));
        assertTrue(Double.isNaN(out[0]) && Double.isNaN(out[1]));
    }

    private static Result part(double[][] queries, double[][] keys, double[][] values, int from, int to,
            AttentionOptions options) {
        return ReferenceAttention.attend(queries, Arrays.copyOfRange(keys, from, to),
                Arrays.copyOfRange(values, from, to), 5, options);
    }

    /** One rounding from FP64 to BF16: never the neighbour that is farther away, and the even one of a tie. */
    @Test
    void roundsOnceToBFloat16() {
        for (int code = 0; code < 0x7F80; code++) {
            double low = BFloat16.toFloat((short) code);
            double high = code == 0x7F7F ? 0x1p128 : BFloat16.toFloat((short) (code + 1));
            double middle = low + (high - low) / 2;
            int even = code + (code & 1);
            assertEquals(even, HostTensor.roundToBFloat16(middle));
            assertEquals(code, HostTensor.roundToBFloat16(Math.nextDown(middle)));
            assertEquals(code + 1, HostTensor.roundToBFloat16(Math.nextUp(middle)));
            assertEquals((short) (0x8000 | code + 1), HostTensor.roundToBFloat16(-Math.nextUp(middle)));
            assertEquals((short) (0x8000 | code), HostTensor.roundToBFloat16(-Math.nextDown(middle)));
        }
        assertEquals(0x7F80, HostTensor.roundToBFloat16(1e300));
        assertEquals((short) 0x7FC0, HostTensor.roundToBFloat16(Double.NaN));
        assertEquals(0, new BigDecimal(BFloat16.toFloat(HostTensor.roundToBFloat16(1 / 3.0)))
                .compareTo(new BigDecimal("0.333984375")));
    }
}
