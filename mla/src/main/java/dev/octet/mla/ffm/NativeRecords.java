package dev.octet.mla.ffm;

import dev.octet.mla.CacheFormat;
import dev.octet.mla.spi.PagedLatents;

/** What native code reads of a cache, and does not check. */
final class NativeRecords {
    /** As in mla.h. */
    private static final int MOST_DIMS = 576;

    private NativeRecords() {}

    /** {@return whether there are kernels for such records} */
    static boolean takes(PagedLatents keys) {
        return keys.kvLoraRank() > 0 && keys.kvLoraRank() % CacheFormat.TILE == 0 && keys.ropeDim() % 2 == 0
                && keys.kvLoraRank() + keys.ropeDim() <= MOST_DIMS;
    }

    /** Checks what native code reads of a cache: record sizes, lengths, and that page tables name pages that exist. */
    static void check(PagedLatents keys, int[] queries) {
        int rank = keys.kvLoraRank();
        int pageSize = keys.pageSize();
        if (queries.length != keys.sequences()) {
            throw new IllegalArgumentException("queries has " + queries.length + " entries, there are "
                    + keys.sequences() + " sequences");
        }
        if (keys.bytesPerToken() != keys.format().bytesPerToken(rank, keys.ropeDim())) {
            throw new IllegalArgumentException("pages has records of " + keys.bytesPerToken() + " bytes, "
                    + keys.format() + " takes " + keys.format().bytesPerToken(rank, keys.ropeDim()));
        }
        for (int s = 0; s < queries.length; s++) {
            int needed = keys.lengths()[s] == 0 ? 0 : (keys.lengths()[s] - 1) / pageSize + 1;
            int[] table = keys.tables()[s];
            if (queries[s] < 0 || keys.lengths()[s] < 0 || table.length < needed) {
                throw new IllegalArgumentException("sequence " + s + " has " + queries[s] + " queries, "
                        + keys.lengths()[s] + " tokens and " + table.length + " pages");
            }
            for (int i = 0; i < needed; i++) {
                if (table[i] < 0 || table[i] >= keys.pages().dim(0)) {
                    throw new IllegalArgumentException("sequence " + s + " has page " + table[i] + ", there are "
                            + keys.pages().dim(0));
                }
            }
        }
    }
}
