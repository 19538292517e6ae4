package dev.octet.mla.ffm;

import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import dev.octet.mla.AttentionOptions;
import dev.octet.mla.CacheFormat;
import dev.octet.mla.spi.PagedLatents;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;

/**
 * The absorbed form in native code. Work is cut as the {@code cpu} backend cuts it: into units, up to
 * {@link #UNIT_ROWS} rows (queries times heads) of a sequence, and units into splits of their keys. Both depend on the
 * sequence's own lengths alone, and splits are joined in the order of the keys: so results are the same for every pool,
 * and for every batch that a sequence is in. A call makes three passes over the pool's threads, which are the three
 * functions of {@code mla.h}: queries are packed, splits are attended to, splits are joined and written.
 *
 * <p>Native code checks nothing. What it relies on is checked here, once a call: dimensions, lengths, and that page
 * tables name pages that exist.
 */
final class NativeDecode {
    private static final MethodHandle PACK = MlaLibrary.function("pack", MlaLibrary.level());
    private static final MethodHandle ATTEND = MlaLibrary.function("attend", MlaLibrary.level());
    private static final MethodHandle JOIN = MlaLibrary.function("join", MlaLibrary.level());

    /** As in mla.h. */
    private static final int SCRATCH_BYTES = 512 << 10;
    private static final int CALL_BYTES = 26 * 8;
    private static final int UNIT_BYTES = 13 * 8;

    /** Most rows of a unit: packed queries of V3's dimensions take 295 KB, sums 256 KiB. */
    private static final int UNIT_ROWS = 128;
    private static final int MOST_SPLITS = 16;
    /** The fewest keys worth a task of their own. */
    private static final int LEAST_KEYS = 256;
    /** What the keys of a split are a multiple of: those of a tile. */
    private static final int KEY_STEP = 24;
    /** Rows that a task packs, and rows that a task joins. */
    private static final int PACKED_ROWS = 32;
    private static final int JOINED_ROWS = 16;
    /** Working memory at a time, unless one unit takes more. */
    private static final long WAVE_BYTES = 64 << 20;
    private static final int ALIGNMENT = 64;
    /** Working memory of a call, and of a task. */
    private static final int CALL_SLOT = 6;
    private static final int TASK_SLOT = 7;

    /** The numbers of a unit: rows of one sequence that share their keys. */
    private static final int SEQUENCE = 0;
    private static final int FIRST_QUERY = 1;
    private static final int FIRST_ROW = 2;
    private static final int ROWS = 3;
    private static final int FIRST_KEY = 4;
    private static final int END_KEY = 5;
    private static final int SPLITS = 6;
    private static final int SPLIT_KEYS = 7;
    /** Where its working memory begins, from that of the wave. */
    private static final int PAGES = 8;
    private static final int PACKED = 9;
    private static final int PARTIALS = 10;
    private static final int STATS = 11;
    private static final int NUMBERS = 12;

    /** The passes over a wave. */
    private static final int PACKING = 0;
    private static final int ATTENDING = 1;
    private static final int JOINING = 2;
    private static final ThreadLocal<Wave> WAVE = ThreadLocal.withInitial(() -> new Wave(NUMBERS, 3));

    private final Tensor query;
    private final PagedLatents keys;
    private final int[] queries;
    private final AttentionOptions options;
    private final Tensor out;
    private final @Nullable Tensor lse;
    private final int heads;
    private final int rank;
    private final int dims;

    private final Wave wave = WAVE.get();
    private int count;
    private long bytes;
    private long call;

    NativeDecode(Tensor query, PagedLatents keys, int[] queries, AttentionOptions options, Tensor out,
            @Nullable Tensor lse) {
        this.query = query;
        this.keys = keys;
        this.queries = queries;
        this.options = options;
        this.out = out;
        this.lse = lse;
        heads = Math.toIntExact(query.dim(1));
        rank = keys.kvLoraRank();
        dims = rank + keys.ropeDim();
        check();
    }

    private void check() {
        NativeRecords.check(keys, queries);
        long tokens = 0;
        for (int n : queries) {
            tokens += n;
        }
        if (tokens != query.dim(0) || query.dim(2) != dims || out.dim(0) != tokens || out.dim(1) != heads
                || out.dim(2) != rank || lse != null && (lse.dim(0) != tokens || lse.dim(1) != heads)) {
            throw new IllegalArgumentException("query has shape " + query.shape() + ", out " + out.shape() + " for "
                    + tokens + " tokens and " + dims + " dimensions");
        }
    }

    void run(CpuPool pool) {
        long firstQuery = 0;
        for (int sequence = 0; sequence < queries.length; sequence++) {
            int rows = Math.multiplyExact(queries[sequence], heads);
            // The last rows see the most keys: long tasks first, so that threads end together.
            for (int block = Math.ceilDiv(rows, UNIT_ROWS) - 1; block >= 0; block--) {
                add(pool, sequence, firstQuery, block * UNIT_ROWS, Math.min(UNIT_ROWS, rows - block * UNIT_ROWS));
            }
            firstQuery += queries[sequence];
        }
        runWave(pool);
        Reference.reachabilityFence(query);
        Reference.reachabilityFence(keys);
        Reference.reachabilityFence(out);
        Reference.reachabilityFence(lse);
    }

    private void add(CpuPool pool, int sequence, long firstQuery, int firstRow, int rows) {
        int n = keys.lengths()[sequence];
        int first = (int) Math.min(n, options.firstKey(position(sequence, firstRow)));
        int end = Math.max(first, (int) options.endKey(position(sequence, firstRow + rows - 1), n));
        int most = Math.clamp((end - first) / LEAST_KEYS, 1, MOST_SPLITS);
        int splitKeys = Math.max(KEY_STEP,
                Math.ceilDiv(Math.ceilDiv(end - first, most), KEY_STEP) * KEY_STEP);
        int splits = Math.max(1, Math.ceilDiv(end - first, splitKeys));
        long padded = Math.ceilDiv(rows, JOINED_ROWS) * (long) JOINED_ROWS;
        long table = aligned(4L * Math.ceilDiv(n, keys.pageSize()));
        long pages = count > 0 && wave.numbers[(count - 1) * NUMBERS + SEQUENCE] == sequence ? 0 : table;
        long packed = aligned(padded * dims * 4);
        long partials = aligned(splits * padded * rank * 4);
        long stats = aligned(splits * 2 * padded * 4);
        if (count > 0 && bytes + pages + packed + partials + stats > WAVE_BYTES) {
            runWave(pool);
            pages = table;
        }
        wave.makeRoom(count);
        long[] units = wave.numbers;
        int u = count * NUMBERS;
        long at = bytes;
        units[u + SEQUENCE] = sequence;
        units[u + FIRST_QUERY] = firstQuery;
        units[u + FIRST_ROW] = firstRow;
        units[u + ROWS] = rows;
        units[u + FIRST_KEY] = first;
        units[u + END_KEY] = end;
        units[u + SPLITS] = splits;
        units[u + SPLIT_KEYS] = splitKeys;
        units[u + PAGES] = pages == 0 && count > 0 ? units[u - NUMBERS + PAGES] : at;
        units[u + PACKED] = at + pages;
        units[u + PARTIALS] = at + pages + packed;
        units[u + STATS] = at + pages + packed + partials;
        bytes = at + pages + packed + partials + stats;
        wave.add(PACKING, count, Math.ceilDiv(rows, PACKED_ROWS));
        wave.add(ATTENDING, count, splits);
        wave.add(JOINING, count, Math.ceilDiv(rows, JOINED_ROWS));
        count++;
    }

    private static long aligned(long bytes) {
        return Math.ceilDiv(bytes, (long) ALIGNMENT) * ALIGNMENT;
    }

    private long position(int sequence, int row) {
        return (long) keys.lengths()[sequence] - queries[sequence] + row / heads;
    }

    private void runWave(CpuPool pool) {
        if (count == 0) {
            return;
        }
        long structs = aligned(CALL_BYTES) + aligned((long) count * UNIT_BYTES);
        MemorySegment memory = Scratch.get(CALL_SLOT, structs + bytes);
        call = memory.address();
        putCall(memory, pool.threads());
        for (int u = 0; u < count; u++) {
            putUnit(memory, aligned(CALL_BYTES) + (long) u * UNIT_BYTES, structs, wave.numbers, u * NUMBERS);
        }
        pool.run(wave.tasks(PACKING, count), task -> pack(task));
        pool.run(wave.tasks(ATTENDING, count), task -> attend(task));
        pool.run(wave.tasks(JOINING, count), task -> join(task));
        count = 0;
        bytes = 0;
    }

    private void pack(int task) {
        int u = wave.groupOf(task, PACKING, count);
        try {
            PACK.invokeExact(call, (long) u, (long) wave.within(task, PACKING, u), scratch());
        } catch (Throwable e) {
            throw NativeKernels.asUnchecked(e);
        }
    }

    private void attend(int task) {
        int u = wave.groupOf(task, ATTENDING, count);
        try {
            ATTEND.invokeExact(call, (long) u, (long) wave.within(task, ATTENDING, u), scratch());
        } catch (Throwable e) {
            throw NativeKernels.asUnchecked(e);
        }
    }

    private void join(int task) {
        int u = wave.groupOf(task, JOINING, count);
        try {
            JOIN.invokeExact(call, (long) u, (long) wave.within(task, JOINING, u), scratch());
        } catch (Throwable e) {
            throw NativeKernels.asUnchecked(e);
        }
    }

    private static long scratch() {
        return Scratch.get(TASK_SLOT, SCRATCH_BYTES).address();
    }

    /** Writes {@code struct octet_mla_call}. */
    private void putCall(MemorySegment to, int threads) {
        StructWriter f = new StructWriter(to, 0);
        f.put(keys.pages().shape().elements() == 0 ? 0 : keys.pages().address());
        f.put(keys.format() == CacheFormat.BF16 ? 0 : 1);
        f.put(keys.bytesPerToken());
        f.put(keys.pageSize());
        f.put(rank);
        f.put(keys.ropeDim());
        f.put(heads);
        f.put(Double.doubleToRawLongBits(options.scale()));
        f.put(options.causal() ? 1 : 0);
        f.put(options.window());
        f.put(query);
        f.put(out);
        f.putLse(lse);
        f.put(to.address() + aligned(CALL_BYTES));
        f.put(count);
        f.put(threads);
        f.end(CALL_BYTES);
    }

    /** Writes a {@code struct octet_mla_unit}, and the sequence's page table. */
    private void putUnit(MemorySegment to, long at, long work, long[] units, int u) {
        int sequence = (int) units[u + SEQUENCE];
        int pages = Math.ceilDiv(keys.lengths()[sequence], keys.pageSize());
        MemorySegment.copy(keys.tables()[sequence], 0, to, ValueLayout.JAVA_INT, work + units[u + PAGES], pages);
        StructWriter f = new StructWriter(to, at);
        f.put(to.address() + work + units[u + PAGES]);
        f.put(keys.lengths()[sequence]);
        f.put(queries[sequence]);
        for (int i = FIRST_QUERY; i <= SPLIT_KEYS; i++) {
            f.put(units[u + i]);
        }
        f.put(to.address() + work + units[u + PACKED]);
        f.put(to.address() + work + units[u + PARTIALS]);
        f.put(to.address() + work + units[u + STATS]);
        f.end(UNIT_BYTES);
    }
}
