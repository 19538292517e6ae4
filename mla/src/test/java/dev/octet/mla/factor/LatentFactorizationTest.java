package dev.octet.mla.factor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** The factors' defining properties, by plain loops: nothing of the decomposition is taken on trust. */
class LatentFactorizationTest {
    private static final FactorOptions EXACT = new FactorOptions(Weighting.PLAIN, 0, true);

    /** {@code W_r}, {@code [keys + values][hidden]}, summed plainly from the factors. */
    private static double[][] product(LatentFactorization f, int rank) {
        Matrix64 down = f.downT();
        Matrix64 up = f.upT();
        double[][] w = new double[up.columns()][down.rows()];
        for (int n = 0; n < w.length; n++) {
            for (int h = 0; h < down.rows(); h++) {
                for (int i = 0; i < rank; i++) {
                    w[n][h] += up.data()[i * up.columns() + n] * down.data()[h * down.columns() + i];
                }
            }
        }
        return w;
    }

    private static double[][] stacked(AttentionWeights w) {
        int keys = (int) w.key().dim(0);
        double[][] all = new double[w.cachedElements()][w.hidden()];
        for (int n = 0; n < all.length; n++) {
            for (int h = 0; h < w.hidden(); h++) {
                all[n][h] = n < keys ? w.key().getFloat(n, h) : w.value().getFloat(n - keys, h);
            }
        }
        return all;
    }

    private static double[][] minus(double[][] a, double[][] b) {
        double[][] d = new double[a.length][a[0].length];
        for (int r = 0; r < d.length; r++) {
            for (int c = 0; c < d[r].length; c++) {
                d[r][c] = a[r][c] - b[r][c];
            }
        }
        return d;
    }

    private static double square(double[][] m, int from, int to) {
        double s = 0;
        for (int r = from; r < to; r++) {
            for (double v : m[r]) {
                s += v * v;
            }
        }
        return s;
    }

    private static double square(double[][] m) {
        return square(m, 0, m.length);
    }

    /** {@code |E (x - center)|^2} over the tokens, by rows of E. */
    private static double[] squareOnTokens(double[][] e, Tensor x, double[] center) {
        double[] s = new double[e.length];
        float[] values = x.toFloatArray();
        for (int t = 0; t < x.dim(0); t++) {
            for (int n = 0; n < e.length; n++) {
                double dot = 0;
                for (int h = 0; h < center.length; h++) {
                    dot += e[n][h] * (values[t * center.length + h] - center[h]);
                }
                s[n] += dot * dot;
            }
        }
        return s;
    }

    private static double[] mean(Tensor x) {
        double[] m = new double[(int) x.dim(1)];
        for (int t = 0; t < x.dim(0); t++) {
            for (int h = 0; h < m.length; h++) {
                m[h] += x.getFloat(t, h) / (double) x.dim(0);
            }
        }
        return m;
    }

    private static double sum(double[] v, int from, int to) {
        double s = 0;
        for (int i = from; i < to; i++) {
            s += v[i];
        }
        return s;
    }

    private static double tail(double[] singular, int rank) {
        double s = 0;
        for (int i = singular.length - 1; i >= rank; i--) {
            s += singular[i] * singular[i];
        }
        return s;
    }

    // heads, kvHeads, qkDim, vDim, hidden: MHA, GQA, MQA; wide, tall and square stacks; unequal and single channels
    private static final String SHAPES = """
            4, 4, 8, 8, 33
            6, 2, 5, 7, 40
            8, 1, 3, 9, 7
            2, 2, 16, 16, 64
            3, 3, 1, 1, 1
            1, 1, 1, 2, 5
            """;

    @ParameterizedTest
    @CsvSource(textBlock = SHAPES)
    void dataFreeErrorIsTheTailOfTheSingularValues(int heads, int kvHeads, int qk, int v, int hidden) {
        AttentionWeights w = Layers.weights(1, heads, kvHeads, qk, v, hidden, false);
        LatentFactorization f = LatentFactorization.ofWeights(w, Weighting.PLAIN);
        double[][] all = stacked(w);
        assertEquals(Math.min(hidden, all.length), f.maxRank());
        double whole = square(all);
        double before = Double.POSITIVE_INFINITY;
        for (int rank = 1; rank <= f.maxRank(); rank++) {
            double error = square(minus(all, product(f, rank)));
            assertEquals(tail(f.singularValues(), rank), error, 1e-10 * whole, "rank " + rank);
            assertEquals(f.leastError(rank), Math.sqrt(error / whole), 1e-10, "rank " + rank);
            assertTrue(error <= before * (1 + 1e-12), "rank " + rank);
            before = error;
        }
        assertTrue(before <= 1e-26 * whole, "the largest rank must be exact, the error's share is " + before / whole);
        assertEquals(1, f.leastError(0));
        assertEquals(0, f.leastError(f.maxRank()));
    }

    @ParameterizedTest
    @CsvSource(textBlock = SHAPES)
    void theDownProjectionHasOrthonormalRowsAndTheUpProjectionOrthogonalColumns(int heads, int kvHeads, int qk, int v,
            int hidden) {
        LatentFactorization f = LatentFactorization.ofWeights(Layers.weights(2, heads, kvHeads, qk, v, hidden, true),
                Weighting.PLAIN);
        double[] s = f.singularValues();
        for (int i = 0; i < f.maxRank(); i++) {
            for (int j = 0; j < f.maxRank(); j++) {
                double down = 0;
                for (int h = 0; h < hidden; h++) {
                    down += f.downT().data()[h * f.maxRank() + i] * f.downT().data()[h * f.maxRank() + j];
                }
                double up = 0;
                for (int n = 0; n < f.upT().columns(); n++) {
                    up += f.upT().data()[i * f.upT().columns() + n] * f.upT().data()[j * f.upT().columns() + n];
                }
                assertEquals(i == j ? 1 : 0, down, 1e-12);
                assertEquals(i == j ? s[i] * s[i] : 0, up, 1e-12 * s[0] * s[0]);
            }
        }
        for (int i = 1; i < s.length; i++) {
            assertTrue(s[i] <= s[i - 1] && s[i] >= 0);
        }
    }

    @ParameterizedTest
    @CsvSource({"PLAIN, 0, true", "PLAIN, 0, false", "PLAIN, 0.01, true", "BALANCED, 0, true", "BALANCED, 0.1, false"})
    void activationAwareErrorIsTheTailOfTheWhitenedSingularValues(Weighting weighting, double ridge, boolean centered) {
        AttentionWeights w = Layers.weights(3, 6, 2, 5, 7, 40, true);
        Tensor x = Layers.activations(3, 300, 40);
        LatentFactorization f = LatentFactorization.ofActivations(w, Layers.statistics(x),
                new FactorOptions(weighting, ridge, centered));
        double[] center = centered ? mean(x) : new double[40];
        double[][] all = stacked(w);
        int keys = 10;
        double[][] identity = new double[40][40];
        for (int i = 0; i < 40; i++) {
            identity[i][i] = 1;
        }
        double trace = sum(squareOnTokens(identity, x, center), 0, 40) / 300;
        double[] metric = metric(all, x, center, ridge * trace / 40, keys);
        double keyWeight = weighting == Weighting.PLAIN ? 1 : 1 / metric[0];
        double valueWeight = weighting == Weighting.PLAIN ? 1 : 1 / metric[1];
        double whole = keyWeight * metric[0] + valueWeight * metric[1];
        double before = Double.POSITIVE_INFINITY;
        for (int rank = 1; rank <= f.maxRank(); rank++) {
            double[] e = metric(minus(all, product(f, rank)), x, center, ridge * trace / 40, keys);
            double error = keyWeight * e[0] + valueWeight * e[1];
            assertEquals(tail(f.singularValues(), rank), error, 1e-10 * whole, "rank " + rank);
            assertTrue(error <= before * (1 + 1e-9));
            before = error;
        }
        assertTrue(before <= 1e-20 * whole, "the largest rank must be exact, the error's share is " + before / whole);
    }

    /** What the factorisation minimises, of keys and of values: {@code |E (X - center)|^2 / tokens + ridge |E|^2}. */
    private static double[] metric(double[][] e, Tensor x, double[] center, double ridge, int keys) {
        double[] onTokens = squareOnTokens(e, x, center);
        return new double[] {
            sum(onTokens, 0, keys) / x.dim(0) + ridge * square(e, 0, keys),
            sum(onTokens, keys, e.length) / x.dim(0) + ridge * square(e, keys, e.length)};
    }

    @ParameterizedTest
    @EnumSource(Weighting.class)
    void neitherMethodIsBeatenInItsOwnMetric(Weighting weighting) {
        for (int seed = 0; seed < 5; seed++) {
            AttentionWeights w = Layers.weights(seed, 4, 4, 6, 6, 32, true);
            Tensor x = Layers.activations(seed, 200, 32);
            double[] center = mean(x);
            LatentFactorization free = LatentFactorization.ofWeights(w, weighting);
            LatentFactorization aware = LatentFactorization.ofActivations(w, Layers.statistics(x),
                    new FactorOptions(weighting, 0, true));
            double[][] all = stacked(w);
            boolean balanced = weighting == Weighting.BALANCED;
            double[] onTokens = metric(all, x, center, 0, 24);
            for (int rank = 1; rank < 32; rank++) {
                double[][] byWeights = minus(all, product(free, rank));
                double[][] byTokens = minus(all, product(aware, rank));
                double[] a = metric(byTokens, x, center, 0, 24);
                double[] b = metric(byWeights, x, center, 0, 24);
                double wa = balanced ? a[0] / onTokens[0] + a[1] / onTokens[1] : a[0] + a[1];
                double wb = balanced ? b[0] / onTokens[0] + b[1] / onTokens[1] : b[0] + b[1];
                assertTrue(wa <= wb, "seed " + seed + " rank " + rank + ": " + wa + " is more than " + wb);
                assertTrue(rank > 24 || wa < 0.9 * wb, "these activations should make a difference, " + wa + ", " + wb);
                double k = square(all, 0, 24);
                double v = square(all, 24, 48);
                double fa = balanced ? square(byTokens, 0, 24) / k + square(byTokens, 24, 48) / v : square(byTokens);
                double fb = balanced ? square(byWeights, 0, 24) / k + square(byWeights, 24, 48) / v : square(byWeights);
                assertTrue(fb <= fa, "seed " + seed + " rank " + rank + ": " + fb + " is more than " + fa);
            }
        }
    }

    @Test
    void noRandomFactorsOfTheSameRankAreBetter() {
        AttentionWeights w = Layers.weights(9, 2, 2, 4, 4, 12, false);
        Tensor x = Layers.activations(9, 100, 12);
        LatentFactorization f = LatentFactorization.ofActivations(w, Layers.statistics(x), EXACT);
        double[][] all = stacked(w);
        double[] center = mean(x);
        double best = sum(squareOnTokens(minus(all, product(f, 5)), x, center), 0, 16);
        Random random = new Random(9);
        for (int trial = 0; trial < 200; trial++) {
            Matrix64 down = f.downT().copy();
            Matrix64 up = f.upT().copy();
            double step = Math.pow(10, -4 * random.nextDouble());
            for (double[] d : new double[][] {down.data(), up.data()}) {
                for (int i = 0; i < d.length; i++) {
                    d[i] *= 1 + step * random.nextGaussian();
                }
            }
            double[][] near = new double[16][12];
            for (int n = 0; n < 16; n++) {
                for (int h = 0; h < 12; h++) {
                    for (int i = 0; i < 5; i++) {
                        near[n][h] += up.data()[i * 16 + n] * down.data()[h * 12 + i];
                    }
                }
            }
            assertTrue(sum(squareOnTokens(minus(all, near), x, center), 0, 16) >= best * (1 - 1e-12));
        }
    }

    @ParameterizedTest
    @EnumSource(Weighting.class)
    void aKnownRankIsFound(Weighting weighting) {
        Random r = new Random(4);
        int rank = 6;
        Matrix64 down = Matrix64.read("down", Layers.random(r, DType.F32, 1, rank, 40));
        Matrix64 up = Matrix64.read("up", Layers.random(r, DType.F32, 1, 48, rank));
        // Small whole numbers, so that the product is exact in FP32 and has exactly this rank.
        for (double[] d : new double[][] {down.data(), up.data()}) {
            for (int i = 0; i < d.length; i++) {
                d[i] = Math.rint(2 * d[i]);
            }
        }
        Matrix64 w = up.times(down);
        Tensor all = w.transpose().transposedTensor(0, 48, 40, DType.F32);
        AttentionWeights weights = new AttentionWeights(4, 4, Layers.random(r, DType.F32, 1, 24, 40),
                all.slice(0, 0, 24), all.slice(0, 24, 48), Layers.random(r, DType.F32, 1, 40, 24));
        LatentFactorization free = LatentFactorization.ofWeights(weights, weighting);
        LatentFactorization aware = LatentFactorization.ofActivations(weights,
                Layers.statistics(Layers.activations(4, 300, 40)), FactorOptions.DEFAULT.with(weighting));
        double[][] expected = stacked(weights);
        for (LatentFactorization f : new LatentFactorization[] {free, aware}) {
            assertTrue(square(minus(expected, product(f, rank))) <= 1e-24 * square(expected));
            assertTrue(square(minus(expected, product(f, rank - 1))) >= 1e-6 * square(expected));
            assertTrue(f.leastError(rank) <= 1e-12 && f.leastError(rank - 1) >= 1e-3);
        }
    }

    @Test
    void tooFewActivationsTakeARidge() {
        AttentionWeights w = Layers.weights(5, 4, 2, 8, 8, 48, true);
        for (Tensor x : new Tensor[] {Layers.activations(5, 20, 48), Layers.activations(5, 200, 48, 11)}) {
            ActivationStatistics s = Layers.statistics(x);
            IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                    () -> LatentFactorization.ofActivations(w, s, EXACT));
            assertTrue(e.getMessage().startsWith("ridge is 0.0, but activations span only"), e::getMessage);
            LatentFactorization f = LatentFactorization.ofActivations(w, s, EXACT.withRidge(1e-6));
            double[][] all = stacked(w);
            double whole = sum(squareOnTokens(all, x, mean(x)), 0, all.length);
            int directions = x.dim(0) == 20 ? 19 : 11; // centered
            double error = sum(squareOnTokens(minus(all, product(f, directions)), x, mean(x)), 0, all.length);
            assertTrue(error <= 1e-6 * whole, "the sample's own directions come first, " + error / whole + " is left");
            assertTrue(square(minus(all, product(f, f.maxRank()))) <= 1e-20 * square(all), "others are not lost");
        }
    }

    @Test
    void aHugeRidgeLeavesTheWeightsAlone() {
        AttentionWeights w = Layers.weights(6, 4, 2, 8, 8, 48, true);
        LatentFactorization free = LatentFactorization.ofWeights(w, Weighting.PLAIN);
        LatentFactorization aware = LatentFactorization.ofActivations(w,
                Layers.statistics(Layers.activations(6, 100, 48)), EXACT.withRidge(1e9));
        double[][] a = product(free, 10);
        assertTrue(square(minus(a, product(aware, 10))) <= 1e-12 * square(a));
    }

    @Test
    void statisticsDoNotDependOnTheBatches() {
        Tensor x = Layers.activations(7, 101, 30);
        ActivationStatistics parts = new ActivationStatistics(30);
        parts.add(x.slice(0, 0, 0));
        parts.add(x.slice(0, 0, 1));
        parts.add(x.slice(0, 1, 64));
        parts.add(x.slice(0, 64, 101));
        ActivationStatistics whole = Layers.statistics(x);
        assertEquals(101, parts.tokens());
        assertArrayEquals(whole.moment(true).data(), parts.moment(true).data(), 1e-12);
        assertArrayEquals(whole.moment(false).data(), parts.moment(false).data(), 1e-12);
        assertArrayEquals(mean(x), whole.mean(), 1e-13);
        double[][] row = new double[1][30];
        row[0][3] = 1;
        assertEquals(squareOnTokens(row, x, mean(x))[0] / 101, whole.moment(true).data()[3 * 30 + 3], 1e-12);
        assertEquals(squareOnTokens(row, x, new double[30])[0] / 101, whole.moment(false).data()[3 * 30 + 3], 1e-12);
    }

    @Test
    void zeroWeightsGiveZeroFactors() {
        AttentionWeights w = new AttentionWeights(2, 2, Tensor.allocate(DType.F32, Shape.of(8, 10)),
                Tensor.allocate(DType.F32, Shape.of(8, 10)), Tensor.allocate(DType.BF16, Shape.of(6, 10)),
                Tensor.allocate(DType.F32, Shape.of(10, 6)));
        Tensor x = Layers.activations(8, 50, 10);
        for (LatentFactorization f : new LatentFactorization[] {
            LatentFactorization.ofWeights(w, Weighting.BALANCED),
            LatentFactorization.ofActivations(w, Layers.statistics(x), FactorOptions.DEFAULT)}) {
            assertEquals(0, f.leastError(3));
            assertEquals(0, square(product(f, 10)));
            LatentError e = new AttentionProbe(w, x, new int[] {50}, true).latent(f, new int[] {1}, DType.BF16)
                    .getFirst();
            assertEquals(0, e.output().relative());
            assertEquals(0, e.weights().calcDiff());
        }
    }

    @Test
    void factorsAreTheRankRequested() {
        AttentionWeights w = Layers.weights(10, 6, 2, 5, 7, 40, true);
        LatentFactorization f = LatentFactorization.ofActivations(w,
                Layers.statistics(Layers.activations(10, 90, 40)), FactorOptions.DEFAULT);
        double[][] expected = product(f, 9);
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            double tolerance = dtype == DType.F32 ? 1e-6 : 3e-2;
            try (LatentFactors t = f.factors(9, dtype)) {
                assertEquals(Shape.of(9, 40), t.down().shape());
                assertEquals(Shape.of(10, 9), t.keyUp().shape());
                assertEquals(Shape.of(14, 9), t.valueUp().shape());
                assertEquals(dtype, t.valueUp().dtype());
                assertEquals(DType.F32, there(t.keyBias()).dtype());
                for (int n = 0; n < 24; n++) {
                    for (int h = 0; h < 40; h++) {
                        double sum = 0;
                        for (int i = 0; i < 9; i++) {
                            sum += (double) (n < 10 ? t.keyUp().getFloat(n, i) : t.valueUp().getFloat(n - 10, i))
                                    * t.down().getFloat(i, h);
                        }
                        assertEquals(expected[n][h], sum, tolerance);
                    }
                }
            }
        }
        LatentFactors kept = f.factors(1, DType.F32);
        kept.close();
        assertFalse(kept.down().isOpen() || there(kept.downBias()).isOpen());
    }

    private static Tensor there(Tensor t) {
        assertNotNull(t);
        return t;
    }

    @Test
    void biasesAreThereWhereTheyAreNeeded() {
        AttentionWeights plain = Layers.weights(11, 2, 2, 4, 4, 16, false);
        AttentionWeights biased = Layers.weights(11, 2, 2, 4, 4, 16, true);
        ActivationStatistics s = Layers.statistics(Layers.activations(11, 60, 16));
        try (LatentFactors f = LatentFactorization.ofWeights(plain, Weighting.PLAIN).factors(3, DType.F32)) {
            assertNull(f.downBias());
            assertNull(f.keyBias());
            assertNull(f.valueBias());
        }
        try (LatentFactors f = LatentFactorization.ofWeights(biased, Weighting.PLAIN).factors(3, DType.F32)) {
            assertNull(f.downBias());
            assertArrayEquals(biased.keyBias().toFloatArray(), there(f.keyBias()).toFloatArray());
            assertArrayEquals(biased.valueBias().toFloatArray(), there(f.valueBias()).toFloatArray());
        }
        FactorOptions uncentered = FactorOptions.DEFAULT.withCentered(false);
        try (LatentFactors f = LatentFactorization.ofActivations(plain, s, uncentered).factors(3, DType.F32)) {
            assertNull(f.downBias());
            assertNull(f.keyBias());
        }
        LatentFactorization centered = LatentFactorization.ofActivations(plain, s, FactorOptions.DEFAULT);
        try (LatentFactors f = centered.factors(3, DType.F32)) {
            assertNotNull(f.downBias());
            assertNotNull(f.keyBias());
            assertNotNull(f.valueBias());
        }
    }

    @Test
    void latentsAreCenteredAndWhite() {
        AttentionWeights w = Layers.weights(12, 4, 4, 6, 6, 32, true);
        Tensor x = Layers.activations(12, 150, 32);
        LatentFactorization f = LatentFactorization.ofActivations(w, Layers.statistics(x), EXACT);
        Matrix64 c = Matrix64.read("x", x).times(f.downT());
        c.addToRows(f.downBias());
        Matrix64 covariance = c.transpose().times(c);
        for (int i = 0; i < 32; i++) {
            double sum = 0;
            for (int t = 0; t < 150; t++) {
                sum += c.data()[t * 32 + i];
            }
            assertEquals(0, sum / 150, 1e-9);
            for (int j = 0; j < 32; j++) {
                assertEquals(i == j ? 1 : 0, covariance.data()[i * 32 + j] / 150, 1e-8);
            }
        }
    }
}
