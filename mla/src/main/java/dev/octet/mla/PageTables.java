package dev.octet.mla;

import dev.octet.core.Tensor;
import dev.octet.mla.LatentKvCache.Sequence;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;

/**
 * The sequences of a cache and the pages that they have. One lock guards all of it and is held for bookkeeping only,
 * never while records are read, written or copied: what keeps two threads from one sequence meanwhile is its user.
 *
 * <p>Records of a page with several references never change. Whoever wants to write takes another page, copies, and
 * only then gives up the reference to the first, so that no other owner takes it for his alone too early.
 */
final class PageTables {
    /** Stands for all tokens of a sequence. */
    static final int ALL = -1;

    private static final int[] NONE = {};

    private final Object lock = new Object();
    private final PagePool pool;
    private final int pageSize;
    private final Set<Sequence> sequences = new LinkedHashSet<>();
    private int opened;
    private boolean closed;

    PageTables(int pages, int pageSize) {
        pool = new PagePool(pages);
        this.pageSize = pageSize;
    }

    int freePages() {
        synchronized (lock) {
            checkOpen();
            return pool.freeCount();
        }
    }

    List<Sequence> sequences() {
        synchronized (lock) {
            checkOpen();
            return List.copyOf(sequences);
        }
    }

    // ---------------------------------------------------------------------------------------------- one sequence

    Sequence open() {
        synchronized (lock) {
            checkOpen();
            return add(NONE, 0);
        }
    }

    private Sequence add(int[] table, int length) {
        Sequence s = new Sequence(this, opened++, table, length);
        sequences.add(s);
        return s;
    }

    /** Opens sequences with pages that are free until now. */
    void adopt(int[][] tables, int[] lengths) {
        synchronized (lock) {
            pool.adopt(tables);
            for (int i = 0; i < tables.length; i++) {
                add(tables[i], lengths[i]);
            }
        }
    }

    int length(Sequence s) {
        synchronized (lock) {
            checkOpen(s);
            return s.length;
        }
    }

    void truncate(Sequence s, int tokens) {
        synchronized (lock) {
            checkIdle(s);
            requirePrefix(s, tokens);
            cut(s, tokens);
        }
    }

    Sequence fork(Sequence s, int tokens) {
        synchronized (lock) {
            checkIdle(s);
            int length = tokens == ALL ? s.length : tokens;
            requirePrefix(s, length);
            int[] shared = Arrays.copyOf(s.table, pagesOf(length));
            for (int page : shared) {
                pool.share(page);
            }
            return add(shared, length);
        }
    }

    void close(Sequence s) {
        synchronized (lock) {
            if (!s.closed && !closed) {
                checkIdle(s);
                cut(s, 0);
                s.table = NONE;
                s.closed = true;
                sequences.remove(s);
            }
        }
    }

    private void cut(Sequence s, int tokens) {
        // The last one first, so that they are taken again in the order in which they lie.
        for (int i = pagesOf(s.length) - 1; i >= pagesOf(tokens); i--) {
            pool.release(s.table[i]);
        }
        s.length = tokens;
    }

    private int pagesOf(int tokens) {
        return Math.ceilDiv(tokens, pageSize);
    }

    /** Closes all sequences, and then frees the memory that they are in. */
    void close(Runnable freeMemory) {
        synchronized (lock) {
            if (!closed) {
                sequences.forEach(this::checkIdle);
                closed = true;
                sequences.clear();
                freeMemory.run();
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- several

    /** A hold on all of some sequences for the calling thread. Nobody waits for one: it is there at once or refused. */
    Use use(List<Sequence> wanted) {
        Sequence[] all = wanted.toArray(Sequence[]::new);
        synchronized (lock) {
            checkOpen();
            int taken = 0;
            try {
                for (; taken < all.length; taken++) {
                    checkFree(all, taken);
                    all[taken].user = Thread.currentThread();
                }
            } finally {
                for (int i = 0; taken < all.length && i < taken; i++) {
                    all[i].user = null;
                }
            }
        }
        return new Use(all);
    }

    private void checkFree(Sequence[] all, int index) {
        Sequence s = Objects.requireNonNull(all[index], "a sequence");
        if (s.tables != this) {
            throw new IllegalArgumentException("sequences[" + index + "] is of another cache");
        }
        for (int i = 0; s.user != null && i < index; i++) {
            if (all[i] == s) {
                throw new IllegalArgumentException(s + " comes twice, as sequences[" + i + "] and [" + index + "]");
            }
        }
        checkIdle(s);
    }

    /** What a thread may do with sequences while others may not. */
    final class Use implements AutoCloseable {
        private final Sequence[] all;
        private boolean held = true;

        private Use(Sequence[] all) {
            this.all = all;
        }

        /** The sequences, not to be changed. */
        Sequence[] sequences() {
            return all;
        }

        /** How many tokens each has, as a new array. */
        int[] lengths() {
            return Arrays.stream(all).mapToInt(s -> s.length).toArray();
        }

        /**
         * Gives the sequences pages for tokens up to {@code to}, those from {@code from} on in pages of their own, and
         * makes {@code to} their lengths: for all of them or for none.
         *
         * @param layers the pages' memory
         */
        void claim(int[] from, int[] to, Tensor[] layers) {
            Claim claim = new Claim(pageSize);
            synchronized (lock) {
                for (int i = 0; i < all.length; i++) {
                    claim.add(pool, all[i], from[i], to[i]);
                }
                claim.take(pool);
            }
            try {
                claim.copy(layers);
            } catch (RuntimeException | Error e) {
                synchronized (lock) {
                    claim.giveBack(pool);
                }
                throw e;
            }
            synchronized (lock) {
                claim.install(pool);
            }
        }

        /** Takes the last tokens of the only sequence back. */
        void truncate(int tokens) {
            synchronized (lock) {
                cut(all[0], tokens);
            }
        }

        /** Lets others use the sequences again. Closing again does nothing. */
        @Override
        public void close() {
            synchronized (lock) {
                if (held) {
                    held = false;
                    for (Sequence s : all) {
                        s.user = null;
                    }
                }
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- checks

    private void checkOpen() {
        if (closed) {
            throw new IllegalStateException("the cache is closed");
        }
    }

    private void checkOpen(Sequence s) {
        checkOpen();
        if (s.closed) {
            throw new IllegalStateException(s + " is closed");
        }
    }

    private void checkIdle(Sequence s) {
        checkOpen(s);
        Thread t = s.user;
        if (t != null) {
            throw new IllegalStateException(s + " is in use: thread " + t.getName() + " is at work on it");
        }
    }

    private static void requirePrefix(Sequence s, int tokens) {
        if (tokens < 0 || tokens > s.length) {
            throw new IllegalArgumentException("tokens is " + tokens + ", " + s + " has " + s.length);
        }
    }
}
