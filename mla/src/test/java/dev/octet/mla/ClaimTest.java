package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.octet.core.Tensor;
import dev.octet.mla.LatentKvCache.Sequence;
import org.junit.jupiter.api.Test;

/** What two threads see of each other between the steps of a claim, step by step in one thread. */
class ClaimTest {
    private static final int PAGE_SIZE = 4;
    private final PageTables tables = new PageTables(0, PAGE_SIZE);

    private Sequence sequence(int length, int... table) {
        return new Sequence(tables, 0, table, length);
    }

    /** Pages 0 and 1, shared by two sequences. */
    private static PagePool shared(int pages) {
        PagePool pool = new PagePool(pages);
        pool.adopt(new int[][] {{0, 1}, {0, 1}});
        return pool;
    }

    /** As long as one copies, the page is no other one's alone: who writes it now must copy it too. */
    @Test
    void aPageStaysSharedUntilItIsCopied() {
        PagePool pool = shared(5);
        Sequence a = sequence(6, 0, 1);
        Sequence b = sequence(6, 0, 1);
        Claim first = new Claim(PAGE_SIZE);
        first.add(pool, a, 6, 7);
        first.take(pool);
        assertEquals(2, pool.references(1));

        Claim second = new Claim(PAGE_SIZE);
        second.add(pool, b, 4, 6); // as write() does: tokens that are there are written again
        second.take(pool);
        assertEquals(2, pool.references(1));
        assertEquals(1, pool.freeCount());

        first.copy(new Tensor[0]);
        first.install(pool);
        assertEquals(1, pool.references(1));
        assertArrayEquals(new int[] {0, 2}, a.table);
        assertEquals(7, a.length);
        second.install(pool);
        assertEquals(0, pool.references(1));
        assertArrayEquals(new int[] {0, 3}, b.table);
        assertEquals(2, pool.references(0));
        assertEquals(2, pool.freeCount());
    }

    @Test
    void undoneLeavesNothingBehind() {
        PagePool pool = shared(5);
        Sequence a = sequence(6, 0, 1);
        Sequence b = sequence(6, 0, 1);
        Claim refused = new Claim(PAGE_SIZE);
        refused.add(pool, a, 6, 13);
        refused.add(pool, b, 6, 13);
        OutOfPagesException e = assertThrows(OutOfPagesException.class, () -> refused.take(pool));
        assertEquals(5, e.needed());
        assertEquals(3, e.free());
        assertEquals(2, pool.references(1));

        Claim undone = new Claim(PAGE_SIZE);
        undone.add(pool, a, 6, 12);
        undone.take(pool);
        assertEquals(1, pool.freeCount());
        undone.giveBack(pool);
        assertEquals(3, pool.freeCount());
        assertEquals(2, pool.references(1));
        assertEquals(2, pool.references(0));
        assertEquals(6, a.length);
        assertArrayEquals(new int[] {0, 1}, a.table);
        assertEquals(2, pool.take(), "again in the same order");
        assertEquals(3, pool.take());
    }

    @Test
    void nothingToWriteCopiesNothing() {
        PagePool pool = shared(3);
        Sequence a = sequence(6, 0, 1);
        Claim claim = new Claim(PAGE_SIZE);
        claim.add(pool, a, 6, 6);
        claim.take(pool);
        claim.install(pool);
        assertEquals(1, pool.freeCount());
        assertEquals(2, pool.references(1));
    }
}
