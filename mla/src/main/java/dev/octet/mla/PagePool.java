package dev.octet.mla;

/**
 * Which pages of a cache are free, and how many page-table entries stand for each of the others. Not for several
 * threads at once: the cache guards it.
 */
final class PagePool {
    private final int[] references;
    /** A stack, so that pages that were used last, and may still be in a CPU's cache, are used again first. */
    private final int[] free;
    private int freeCount;

    PagePool(int pages) {
        references = new int[pages];
        free = new int[pages];
        freeCount = pages;
        for (int i = 0; i < pages; i++) {
            free[i] = pages - 1 - i; // taken one after the other they lie so too, as a prefetcher likes it
        }
    }

    int freeCount() {
        return freeCount;
    }

    int references(int page) {
        return references[page];
    }

    /** Takes a page, with one reference. There must be one. */
    int take() {
        int page = free[--freeCount];
        references[page] = 1;
        return page;
    }

    /** One more reference to a page that has some. */
    void share(int page) {
        references[page]++;
    }

    /** One reference less; without any the page is free. */
    void release(int page) {
        if (--references[page] == 0) {
            free[freeCount++] = page;
        }
    }

    /**
     * Takes the pages of tables that came from elsewhere, all of them free until now.
     *
     * @param tables pages that exist, any of them any number of times
     */
    void adopt(int[][] tables) {
        for (int[] table : tables) {
            for (int page : table) {
                references[page]++;
            }
        }
        int kept = 0;
        for (int i = 0; i < freeCount; i++) {
            if (references[free[i]] == 0) {
                free[kept++] = free[i];
            }
        }
        freeCount = kept;
    }
}
