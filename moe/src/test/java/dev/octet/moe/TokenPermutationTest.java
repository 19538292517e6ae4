package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

/** Where tokens stand: counts, segments, padding, order. */
class TokenPermutationTest {
    static Routing routing(int[][] experts, int topK) {
        Routing r = Routing.allocate(experts.length, topK);
        for (int t = 0; t < experts.length; t++) {
            for (int j = 0; j < topK; j++) {
                long at = (long) t * topK + j;
                r.experts().segment().setAtIndex(ValueLayout.JAVA_INT_UNALIGNED, at, experts[t][j]);
                r.weights().segment().setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, at, experts[t][j] < 0 ? 0 : 0.25f);
            }
        }
        return r;
    }

    /** A fifth of the slots has no expert; an expert may stand in two slots of a token. */
    static Routing random(SplittableRandom r, int tokens, int topK, int experts) {
        int[][] ids = new int[tokens][topK];
        for (int[] row : ids) {
            for (int j = 0; j < topK; j++) {
                row[j] = r.nextInt(5) == 0 ? -1 : r.nextInt(experts);
            }
        }
        Routing routing = routing(ids, topK);
        MemorySegment w = routing.weights().segment();
        for (int i = 0; i < tokens * topK; i++) {
            w.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i, (float) r.nextGaussian());
        }
        return routing;
    }

    @Test
    void anExample() {
        try (Routing r = routing(new int[][] {{2, 0}, {-1, 2}, {0, 2}}, 2)) {
            TokenPermutation p = TokenPermutation.of(r, 4, 2);
            assertEquals(3, p.tokens());
            assertEquals(2, p.topK());
            assertEquals(4, p.experts());
            assertEquals(2, p.alignment());
            assertArrayEquals(new long[] {2, 0, 3, 0}, p.counts());
            assertArrayEquals(new long[] {0, 2, 2, 6, 6}, p.offsets());
            assertEquals(6, p.positions());
            int[] experts = {0, 0, 2, 2, 2, -1};
            int[] tokens = {0, 2, 0, 1, 2, -1};
            int[] slots = {1, 0, 0, 1, 1, -1};
            for (int i = 0; i < 6; i++) {
                assertEquals(experts[i], p.expertAt(i));
                assertEquals(tokens[i], p.tokenAt(i));
                assertEquals(slots[i], p.slotAt(i));
            }
            int[][] positions = {{2, 0}, {-1, 3}, {1, 4}};
            for (int t = 0; t < 3; t++) {
                assertArrayEquals(positions[t], new int[] {p.positionOf(t, 0), p.positionOf(t, 1)});
            }
        }
    }

    @Test
    void whatHoldsForAll() {
        SplittableRandom random = new SplittableRandom(1);
        for (int round = 0; round < 60; round++) {
            int tokens = random.nextInt(40);
            int topK = 1 + random.nextInt(8);
            int experts = 1 + random.nextInt(12);
            int alignment = 1 + random.nextInt(9);
            try (Routing r = random(random, tokens, topK, experts)) {
                TokenPermutation p = TokenPermutation.of(r, experts, alignment);
                int[] ids = r.expertsToArray(experts);
                long[] counts = p.counts();
                long[] offsets = p.offsets();
                assertEquals(0, offsets[0]);
                assertEquals(p.positions(), offsets[experts]);
                int found = 0;
                for (int e = 0; e < experts; e++) {
                    assertEquals(0, offsets[e] % alignment);
                    assertTrue(offsets[e + 1] - offsets[e] - counts[e] < alignment);
                    int before = -1;
                    for (int i = (int) offsets[e]; i < offsets[e + 1]; i++) {
                        if (i >= offsets[e] + counts[e]) {
                            assertEquals(-1, p.expertAt(i));
                            assertEquals(-1, p.tokenAt(i));
                            assertEquals(-1, p.slotAt(i));
                            continue;
                        }
                        int flat = p.tokenAt(i) * topK + p.slotAt(i);
                        assertTrue(flat > before, "ascending");
                        before = flat;
                        assertEquals(e, p.expertAt(i));
                        assertEquals(e, ids[flat]);
                        assertEquals(i, p.positionOf(p.tokenAt(i), p.slotAt(i)));
                        found++;
                    }
                }
                int wanted = 0;
                for (int f = 0; f < ids.length; f++) {
                    wanted += ids[f] >= 0 ? 1 : 0;
                    assertEquals(ids[f] < 0, p.positionOf(f / topK, f % topK) < 0);
                }
                assertEquals(wanted, found);
            }
        }
    }

    @Test
    void theArraysAreCopies() {
        try (Routing r = routing(new int[][] {{0}, {1}}, 1)) {
            TokenPermutation p = TokenPermutation.of(r, 2, 1);
            p.counts()[0] = 9;
            p.offsets()[1] = 9;
            r.experts().segment().fill((byte) 0);
            assertArrayEquals(new long[] {1, 1}, p.counts());
            assertArrayEquals(new long[] {0, 1, 2}, p.offsets());
        }
    }

    private static void same(TokenPermutation expected, TokenPermutation p) {
        assertEquals(expected.topK(), p.topK());
        assertArrayEquals(expected.counts(), p.counts());
        assertArrayEquals(expected.offsets(), p.offsets());
        for (int i = 0; i < expected.positions(); i++) {
            assertEquals(expected.expertAt(i), p.expertAt(i));
            assertEquals(expected.tokenAt(i), p.tokenAt(i));
            assertEquals(expected.slotAt(i), p.slotAt(i));
        }
        for (int t = 0; t < expected.tokens(); t++) {
            for (int j = 0; j < expected.topK(); j++) {
                assertEquals(expected.positionOf(t, j), p.positionOf(t, j));
            }
        }
    }

    @Test
    void onlyARoutingOfTheSameSizesIsTakenInto() {
        SplittableRandom random = new SplittableRandom(2);
        try (Routing r = random(random, 5, 3, 7); Routing again = random(random, 5, 3, 7);
                Routing tokens = random(random, 4, 3, 7); Routing more = random(random, 6, 3, 7);
                Routing less = random(random, 5, 2, 7); Routing slots = random(random, 5, 4, 7)) {
            TokenPermutation p = TokenPermutation.reusable(r, 7);
            assertTrue(p.fits(again, 7));
            for (Routing other : new Routing[] {tokens, more, less, slots}) {
                assertFalse(p.fits(other, 7), other.tokens() + " tokens, " + other.topK() + " slots");
            }
            assertFalse(p.fits(again, 6));
            assertFalse(p.fits(again, 8));
            p.refill(again);
            same(TokenPermutation.of(again, 7, 1), p);
        }
    }

    /** One thread, as a layer of other sizes follows: what it keeps serves only what it fits. */
    @Test
    void whatAThreadKeepsFollowsTheRouting() {
        SplittableRandom random = new SplittableRandom(3);
        for (int[] sizes : new int[][] {{6, 2, 5}, {6, 4, 5}, {6, 3, 5}, {3, 4, 5}, {6, 2, 9}, {6, 2, 9}, {6, 1, 9}}) {
            try (Routing r = random(random, sizes[0], sizes[1], sizes[2])) {
                same(TokenPermutation.of(r, sizes[2], 1), ActiveExperts.mine().permutation(r, sizes[2]));
            }
        }
    }

    @Test
    void allToOneAndNobodyAtAll() {
        try (Routing one = routing(new int[][] {{3}, {3}, {3}}, 1); Routing none = routing(new int[][] {{-1}}, 1);
                Routing empty = Routing.allocate(0, 6)) {
            assertArrayEquals(new long[] {0, 0, 0, 0, 128}, TokenPermutation.of(one, 4, 128).offsets());
            assertEquals(0, TokenPermutation.of(none, 4, 128).positions());
            assertEquals(0, TokenPermutation.of(empty, 4, 128).positions());
            assertEquals(0, TokenPermutation.of(empty, 4, 128).tokens());
        }
    }

    @Test
    void stridedRoutings() {
        try (Tensor experts = Tensor.allocate(DType.I32, Shape.of(2, 3));
                Tensor weights = Tensor.allocate(DType.F32, Shape.of(3, 2))) {
            for (int i = 0; i < 6; i++) {
                experts.segment().setAtIndex(ValueLayout.JAVA_INT_UNALIGNED, i, i);
            }
            TokenPermutation p = TokenPermutation.of(new Routing(experts.transpose(), weights), 6, 1);
            assertEquals(3, p.positionOf(0, 1));
            assertEquals(5, p.positionOf(2, 1));
        }
    }

    private static void refused(String message, Routing r, int experts, int alignment) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                () -> TokenPermutation.of(r, experts, alignment));
        assertTrue(e.getMessage().startsWith(message), e.getMessage());
    }

    @Test
    void refusals() {
        try (Routing r = routing(new int[][] {{0, 1}, {-1, 2}}, 2); Routing low = routing(new int[][] {{-2}}, 1)) {
            refused("experts is 0, it must be at least 1", r, 0, 1);
            refused("alignment is 0, it must be at least 1", r, 3, 0);
            refused("experts[1, 1] is 2", r, 2, 1);
            refused("experts[0, 0] is -2", low, 2, 1);
            refused("alignment is 2147483647, with 3 experts", r, 3, Integer.MAX_VALUE);
        }
    }
}
