package dev.octet.benchmarks.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.Tensor;
import org.junit.jupiter.api.Test;

/** The measures that the demo prints, on cases small enough to do by hand. */
class SimilarityTest {
    private static float[] direction(double degrees) {
        return new float[] {(float) Math.cos(Math.toRadians(degrees)), (float) Math.sin(Math.toRadians(degrees))};
    }

    @Test
    void ranksPairsUnderBoth() {
        // Angles between neighbours: 10 and 30 degrees under one, 20 and 15 under the other.
        float[][] a = {direction(0), direction(10), direction(40)};
        float[][] b = {direction(0), direction(20), direction(35)};
        Similarity s = Similarity.of(a, b);
        assertEquals(3, s.pairs().size());
        Similarity.Pair top = s.pairs().getFirst();
        assertEquals(0, top.first());
        assertEquals(1, top.second());
        assertEquals(Math.cos(Math.toRadians(10)), top.cosine(), 1e-6);
        assertEquals(Math.cos(Math.toRadians(20)), top.otherCosine(), 1e-6);
        assertEquals(1, top.rank());
        assertEquals(2, top.otherRank());
        assertEquals(0, s.sameFromTop());
        assertEquals(0.5, s.rankCorrelation(), 1e-12, "one swap of neighbours among three: 1 - 6 * 2 / (3 * 8)");
        assertEquals(2, s.sameNearest(3), "0 and 2 keep 1 as their nearest, 1 changes from 0 to 2");
    }

    @Test
    void agreesWithItself() {
        float[][] a = {direction(0), direction(10), direction(40), direction(100)};
        Similarity s = Similarity.of(a, a);
        assertEquals(1, s.rankCorrelation());
        assertEquals(6, s.sameFromTop());
        assertEquals(4, s.sameNearest(4));
    }

    @Test
    void oneSentenceHasNoPairs() {
        Similarity s = Similarity.of(new float[][] {direction(0)}, new float[][] {direction(0)});
        assertTrue(s.pairs().isEmpty());
        assertTrue(Double.isNaN(s.rankCorrelation()));
    }

    @Test
    void measuresTheErrorOfEachLayer() {
        LayerErrors errors = new LayerErrors(1);
        try (Tensor same = Tensor.of(new float[] {3, 4}, 1, 2);
                Tensor expected = Tensor.of(new float[] {3, 4}, 1, 2);
                Tensor actual = Tensor.of(new float[] {3, 5}, 1, 2)) {
            errors.expect(0, same);
            errors.expect(1, expected);
            errors.compare(0, same);
            errors.compare(1, actual);
        }
        assertEquals(0, errors.relative()[0]);
        assertEquals(1.0 / 5, errors.relative()[1], 1e-12);
        assertEquals(1 - 2.0 * (9 + 20) / (25 + 34), errors.calcDiff()[1], 1e-12);
    }
}
