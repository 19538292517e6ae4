package dev.octet.mla;

import dev.octet.core.Tensor;
import dev.octet.mla.LatentKvCache.Sequence;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The pages that some sequences need before tokens are written: new ones behind their last, and copies of shared ones.
 * All are taken at once or none; {@link PageTables} calls the steps in the order in which they stand here, and guards
 * those that take a pool.
 */
final class Claim {
    /** New pages for one sequence. */
    private record Growth(Sequence sequence, int to, int held, int added) {}

    /** A shared page of a sequence that is to be written. */
    private record Copy(Sequence sequence, int index, int page, int tokens) {}

    private final int pageSize;
    private final List<Growth> growths = new ArrayList<>();
    private final List<Copy> copies = new ArrayList<>();
    private long added;
    private int[] taken = {};

    Claim(int pageSize) {
        this.pageSize = pageSize;
    }

    /** Adds one sequence whose tokens from {@code from} to {@code to} will be written. */
    void add(PagePool pool, Sequence s, int from, int to) {
        int held = Math.ceilDiv(s.length, pageSize);
        int needed = Math.ceilDiv(to, pageSize);
        for (int i = from / pageSize; from < to && i < Math.min(held, needed); i++) {
            int page = s.table[i];
            if (pool.references(page) > 1) {
                // As if given up already: if all owners of a page are here, the last of them need not copy it.
                pool.release(page);
                copies.add(new Copy(s, i, page, Math.min(pageSize, s.length - i * pageSize)));
            }
        }
        growths.add(new Growth(s, to, held, needed - held));
        added += needed - held;
    }

    /** Takes all pages, or throws and has changed nothing. */
    void take(PagePool pool) {
        copies.forEach(c -> pool.share(c.page())); // until they are copied, they are still needed
        long needed = added + copies.size();
        if (needed > pool.freeCount()) {
            throw new OutOfPagesException(needed, pool.freeCount());
        }
        taken = new int[(int) needed];
        Arrays.setAll(taken, i -> pool.take());
    }

    /** Copies the records of shared pages in all layers. */
    void copy(Tensor[] layers) {
        for (int i = 0; i < copies.size(); i++) {
            Copy c = copies.get(i);
            for (Tensor layer : layers) {
                Tensor records = layer.slice(1, 0, c.tokens());
                records.slice(0, taken[i], taken[i] + 1).copyFrom(records.slice(0, c.page(), c.page() + 1));
            }
        }
    }

    /** Undoes {@link #take}. */
    void giveBack(PagePool pool) {
        for (int i = taken.length - 1; i >= 0; i--) {
            pool.release(taken[i]);
        }
    }

    /** Puts the pages into the sequences' tables. */
    void install(PagePool pool) {
        int next = 0;
        for (Copy c : copies) {
            pool.release(c.page());
            c.sequence().table[c.index()] = taken[next++];
        }
        for (Growth g : growths) {
            Sequence s = g.sequence();
            int size = g.held() + g.added();
            if (size > s.table.length) {
                // Half as much again, so that a sequence that grows token by token does not copy its table each time.
                s.table = Arrays.copyOf(s.table, Math.max(size, (int) Math.min(Integer.MAX_VALUE - 8, size * 3L / 2)));
            }
            System.arraycopy(taken, next, s.table, g.held(), g.added());
            next += g.added();
            s.length = g.to();
        }
    }
}
