package dev.octet.mla.ffm;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import dev.octet.mla.AttentionOptions;
import dev.octet.mla.CacheFormat;
import dev.octet.mla.Ragged;
import dev.octet.mla.spi.PagedLatents;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;

/**
 * The naive form in native code, and the absorbed form where {@link NativeDecode} has no kernels. Work is cut as there,
 * but heads of the naive form are units of their own: groups of up to {@link #GROUP_ROWS} rows that share their keys,
 * and splits of these keys, both by the sequence's own lengths alone. A call makes one pass over the pool's threads, in
 * which splits are attended to, and if any group has several of them a second one that joins them.
 *
 * <p>Native code checks nothing. What it relies on beyond what the operations check is checked here.
 */
final class NativeAttention {
    /** As in mla.h. */
    private static final int MOST_DIMS = 576;
    private static final int GROUP_ROWS = 128;
    private static final int MOST_SPLITS = 16;
    private static final int KEY_STEP = 24;
    private static final int FIXED_WORK = 24 << 10;
    private static final int CHUNK = 96;
    private static final int CALL_BYTES = 41 * 8;
    private static final int GROUP_BYTES = 14 * 8;

    /** Rows that a task joins. */
    private static final int JOINED_ROWS = 16;
    /** The fewest keys worth a task of their own. */
    private static final int LEAST_KEYS_NAIVE = 1024;
    private static final int LEAST_KEYS_ABSORBED = 256;
    /** Working memory at a time, unless one group takes more. */
    private static final long WAVE_BYTES = 64 << 20;
    private static final int ALIGNMENT = 64;
    /** Working memory of a call, and of a task. */
    private static final int CALL_SLOT = 6;
    private static final int TASK_SLOT = 7;

    /** The numbers of a group. */
    private static final int SEQUENCE = 0;
    private static final int FIRST_QUERY = 1;
    private static final int FIRST_TOKEN = 2;
    private static final int HEAD = 3;
    private static final int FIRST_ROW = 4;
    private static final int ROWS = 5;
    private static final int FIRST_KEY = 6;
    private static final int END_KEY = 7;
    private static final int SPLITS = 8;
    private static final int SPLIT_KEYS = 9;
    /** Where its working memory begins, from that of the wave. */
    private static final int PAGES = 10;
    private static final int PARTIALS = 11;
    private static final int STATS = 12;
    private static final int NUMBERS = 13;

    /** The passes over a wave. */
    private static final int ATTENDING = 0;
    private static final int JOINING = 1;
    private static final ThreadLocal<Wave> WAVE = ThreadLocal.withInitial(() -> new Wave(NUMBERS, 2));

    private final NativeKernels kernels;
    private final Tensor query;
    /** Null in the absorbed form. */
    private final @Nullable Tensor keys;
    private final @Nullable Tensor ropeKeys;
    private final @Nullable Tensor values;
    /** Null in the naive form. */
    private final @Nullable PagedLatents latents;
    private final int[] queryLengths;
    private final int[] keyLengths;
    private final AttentionOptions options;
    private final Tensor out;
    private final @Nullable Tensor lse;
    /** Values of a head's own key or a latent, of a rotary key, of a value. */
    private final int own;
    private final int rope;
    private final int valueDims;
    private final int heads;
    private final int rowsPerQuery;
    private final long workBytes;

    private final Wave wave = WAVE.get();
    private int count;
    private long bytes;
    private long call;

    /** The naive form. */
    NativeAttention(Tensor query, Tensor keys, @Nullable Tensor ropeKeys, Tensor values, Ragged lengths,
            AttentionOptions options, Tensor out, @Nullable Tensor lse) {
        this(query, keys, ropeKeys, values, null, lengths.queries(), lengths.keys(), options, out, lse);
    }

    /** The absorbed form. */
    NativeAttention(Tensor query, PagedLatents latents, int[] queries, AttentionOptions options, Tensor out,
            @Nullable Tensor lse) {
        this(query, null, null, null, latents, queries, latents.lengths(), options, out, lse);
        NativeRecords.check(latents, queries);
    }

    private NativeAttention(Tensor query, @Nullable Tensor keys, @Nullable Tensor ropeKeys, @Nullable Tensor values,
            @Nullable PagedLatents latents, int[] queryLengths, int[] keyLengths, AttentionOptions options, Tensor out,
            @Nullable Tensor lse) {
        this.query = query;
        this.keys = keys;
        this.ropeKeys = ropeKeys;
        this.values = values;
        this.latents = latents;
        this.queryLengths = queryLengths;
        this.keyLengths = keyLengths;
        this.options = options;
        this.out = out;
        this.lse = lse;
        heads = Math.toIntExact(query.dim(1));
        boolean naive = latents == null;
        own = Math.toIntExact(naive ? keys.dim(2) : latents.kvLoraRank());
        rope = Math.toIntExact(naive ? ropeKeys == null ? 0 : ropeKeys.dim(1) : latents.ropeDim());
        valueDims = Math.toIntExact(out.dim(2));
        rowsPerQuery = naive ? 1 : heads;
        boolean halves = naive && query.dtype() == DType.BF16 && keys.dtype() == DType.BF16
                && (ropeKeys == null || ropeKeys.dtype() == DType.BF16) && values.dtype() == DType.BF16;
        kernels = NativeKernels.of(halves);
        workBytes = FIXED_WORK + 4L * (GROUP_ROWS + CHUNK)
                * ((own + rope + 79) / 64 * 64L + (valueDims + 127) / 64 * 64L);
        check();
    }

    /** {@return whether there are kernels for keys and values of so many values} */
    static boolean takes(long keyDims, long valueDims) {
        return keyDims > 0 && keyDims <= MOST_DIMS && valueDims <= MOST_DIMS;
    }

    private void check() {
        long tokens = 0;
        long keyTokens = 0;
        for (int s = 0; s < queryLengths.length; s++) {
            if (queryLengths[s] < 0 || keyLengths[s] < 0) {
                throw new IllegalArgumentException("sequence " + s + " has " + queryLengths[s] + " queries and "
                        + keyLengths[s] + " keys");
            }
            tokens += queryLengths[s];
            keyTokens += keyLengths[s];
        }
        if (!takes(own + rope, valueDims) || tokens != query.dim(0) || query.dim(2) != own + rope
                || out.dim(0) != tokens || out.dim(1) != heads
                || lse != null && (lse.dim(0) != tokens || lse.dim(1) != heads)) {
            throw new IllegalArgumentException("query has shape " + query.shape() + ", out " + out.shape() + " for "
                    + tokens + " tokens and " + (own + rope) + " dimensions");
        }
        if (latents == null && (keys.dim(0) != keyTokens || keys.dim(1) != heads || values.dim(0) != keyTokens
                || values.dim(1) != heads || values.dim(2) != valueDims
                || ropeKeys != null && ropeKeys.dim(0) != keyTokens)) {
            throw new IllegalArgumentException("keys has shape " + keys.shape() + ", values " + values.shape() + " for "
                    + keyTokens + " tokens");
        }
    }

    void run(CpuPool pool) {
        long firstQuery = 0;
        long firstToken = 0;
        for (int sequence = 0; sequence < queryLengths.length; sequence++) {
            int rows = Math.multiplyExact(queryLengths[sequence], rowsPerQuery);
            for (int head = 0; head < heads; head += rowsPerQuery) {
                // The last rows see the most keys: long tasks first, so that threads end together.
                for (int block = Math.ceilDiv(rows, GROUP_ROWS) - 1; block >= 0; block--) {
                    add(pool, sequence, firstQuery, firstToken, head, block * GROUP_ROWS,
                            Math.min(GROUP_ROWS, rows - block * GROUP_ROWS));
                }
            }
            firstQuery += queryLengths[sequence];
            firstToken += keyLengths[sequence];
        }
        runWave(pool);
        Reference.reachabilityFence(query);
        Reference.reachabilityFence(keys);
        Reference.reachabilityFence(ropeKeys);
        Reference.reachabilityFence(values);
        Reference.reachabilityFence(latents);
        Reference.reachabilityFence(out);
        Reference.reachabilityFence(lse);
    }

    private void add(CpuPool pool, int sequence, long firstQuery, long firstToken, int head, int firstRow, int rows) {
        int n = keyLengths[sequence];
        int first = (int) Math.min(n, options.firstKey(position(sequence, firstRow)));
        int end = Math.max(first, (int) options.endKey(position(sequence, firstRow + rows - 1), n));
        int least = latents == null ? LEAST_KEYS_NAIVE : LEAST_KEYS_ABSORBED;
        int most = Math.clamp((end - first) / least, 1, MOST_SPLITS);
        int splitKeys = Math.max(KEY_STEP, Math.ceilDiv(Math.ceilDiv(end - first, most), KEY_STEP) * KEY_STEP);
        int splits = Math.max(1, Math.ceilDiv(end - first, splitKeys));
        long padded = Math.ceilDiv(rows, JOINED_ROWS) * (long) JOINED_ROWS;
        long table = latents == null ? 0 : aligned(4L * Math.ceilDiv(n, latents.pageSize()));
        long pages = count > 0 && wave.numbers[(count - 1) * NUMBERS + SEQUENCE] == sequence ? 0 : table;
        long partials = splits == 1 ? 0 : splits * padded * Math.ceilDiv(valueDims, 64) * 64 * 4;
        long stats = splits == 1 ? 0 : splits * 2 * padded * 4;
        if (count > 0 && bytes + pages + partials + stats > WAVE_BYTES) {
            runWave(pool);
            pages = table;
        }
        wave.makeRoom(count);
        long[] groups = wave.numbers;
        int g = count * NUMBERS;
        long at = bytes;
        groups[g + SEQUENCE] = sequence;
        groups[g + FIRST_QUERY] = firstQuery;
        groups[g + FIRST_TOKEN] = firstToken;
        groups[g + HEAD] = head;
        groups[g + FIRST_ROW] = firstRow;
        groups[g + ROWS] = rows;
        groups[g + FIRST_KEY] = first;
        groups[g + END_KEY] = end;
        groups[g + SPLITS] = splits;
        groups[g + SPLIT_KEYS] = splitKeys;
        groups[g + PAGES] = pages == 0 && count > 0 ? groups[g - NUMBERS + PAGES] : at;
        groups[g + PARTIALS] = at + pages;
        groups[g + STATS] = at + pages + partials;
        bytes = at + pages + partials + aligned(stats);
        wave.add(ATTENDING, count, splits);
        wave.add(JOINING, count, splits == 1 ? 0 : Math.ceilDiv(rows, JOINED_ROWS));
        count++;
    }

    private static long aligned(long bytes) {
        return Math.ceilDiv(bytes, (long) ALIGNMENT) * ALIGNMENT;
    }

    private long position(int sequence, int row) {
        return (long) keyLengths[sequence] - queryLengths[sequence] + row / rowsPerQuery;
    }

    private void runWave(CpuPool pool) {
        if (count == 0) {
            return;
        }
        long structs = aligned(CALL_BYTES) + aligned((long) count * GROUP_BYTES);
        MemorySegment memory = Scratch.get(CALL_SLOT, structs + bytes);
        call = memory.address();
        putCall(memory);
        for (int g = 0; g < count; g++) {
            putGroup(memory, aligned(CALL_BYTES) + (long) g * GROUP_BYTES, structs, wave.numbers, g * NUMBERS);
        }
        pool.run(wave.tasks(ATTENDING, count), this::attend);
        if (wave.tasks(JOINING, count) > 0) {
            pool.run(wave.tasks(JOINING, count), this::join);
        }
        count = 0;
        bytes = 0;
    }

    private void attend(int task) {
        int g = wave.groupOf(task, ATTENDING, count);
        kernels.sums(call, g, wave.within(task, ATTENDING, g), scratch());
    }

    private void join(int task) {
        int g = wave.groupOf(task, JOINING, count);
        kernels.results(call, g, wave.within(task, JOINING, g), scratch());
    }

    private long scratch() {
        return Scratch.get(TASK_SLOT, workBytes).address();
    }

    /** Writes {@code struct octet_mla_attention}. */
    private void putCall(MemorySegment to) {
        StructWriter f = new StructWriter(to, 0);
        f.put(query);
        if (latents == null) {
            f.put(keys);
            f.putShared(ropeKeys);
            f.put(values);
        } else {
            f.putShared(null);
            f.putShared(null);
            f.putShared(null);
        }
        f.put(out);
        f.putLse(lse);
        Tensor pages = latents == null ? null : latents.pages();
        f.put(pages == null || pages.shape().elements() == 0 ? 0 : pages.address());
        f.put(latents == null ? 0 : 1);
        f.put(latents == null || latents.format() == CacheFormat.BF16 ? 0 : 1);
        f.put(latents == null ? 0 : latents.bytesPerToken());
        f.put(latents == null ? 0 : latents.pageSize());
        f.put(own);
        f.put(rope);
        f.put(valueDims);
        f.put(rowsPerQuery);
        f.put(Double.doubleToRawLongBits(options.scale()));
        f.put(options.causal() ? 1 : 0);
        f.put(options.window());
        f.put(to.address() + aligned(CALL_BYTES));
        f.end(CALL_BYTES);
    }

    /** Writes a {@code struct octet_mla_group}, and the sequence's page table. */
    private void putGroup(MemorySegment to, long at, long work, long[] groups, int g) {
        int sequence = (int) groups[g + SEQUENCE];
        if (latents != null) {
            MemorySegment.copy(latents.tables()[sequence], 0, to, ValueLayout.JAVA_INT, work + groups[g + PAGES],
                    Math.ceilDiv(keyLengths[sequence], latents.pageSize()));
        }
        StructWriter f = new StructWriter(to, at);
        f.put(to.address() + work + groups[g + PAGES]);
        f.put(keyLengths[sequence]);
        f.put(queryLengths[sequence]);
        for (int i = FIRST_QUERY; i <= SPLIT_KEYS; i++) {
            f.put(groups[g + i]);
        }
        f.put(to.address() + work + groups[g + PARTIALS]);
        f.put(to.address() + work + groups[g + STATS]);
        f.end(GROUP_BYTES);
    }
}
