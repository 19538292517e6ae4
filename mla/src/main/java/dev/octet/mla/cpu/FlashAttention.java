package dev.octet.mla.cpu;

import dev.octet.core.cpu.CpuPool;
import dev.octet.mla.AttentionOptions;
import java.util.Arrays;

/**
 * Attention with a running softmax (Dao et al., FlashAttention, 2022; its split over keys is Flash-Decoding's): scores
 * and weights exist for one chunk of keys at a time.
 *
 * <p>Work is cut into units, up to {@link #UNIT_ROWS} rows that share keys and values, and units into splits of their
 * keys. Both depend on the lengths of the unit's own sequence alone, never on threads, and partial results are joined in
 * the order of the keys: so results are the same for every pool, and for every batch that a sequence is in.
 *
 * <p>Schedule:
 * <ol>
 *   <li>Queries are packed, a task for each panel of rows.
 *   <li>A task is a split of a unit. For each chunk of {@link AttentionKernels#CHUNK} keys it decodes keys and values to
 *       floats and, for each panel of rows, makes scores, weights, and sums of values. Queries of 64 rows and 128
 *       dimensions stay in the first-level cache while keys pass by, values of 64 dimensions while weights pass by;
 *       all else stays in the second-level cache.
 *   <li>Units with more than one split are joined, a task for each {@link #JOIN_ROWS} rows.
 * </ol>
 * If the memory that this takes grows too large, it is done for some units after the others.
 */
final class FlashAttention {
    /** Most rows of a unit: packed queries and sums of 128 rows in the absorbed form take 544 KiB. */
    private static final int UNIT_ROWS = 128;
    /** Most splits of a unit: partial results of 128 rows take 256 KiB each in the absorbed form. */
    private static final int MOST_SPLITS = 16;
    /** Rows that a task joins. */
    private static final int JOIN_ROWS = 8;
    /** Floats of packed queries and partial results at a time, unless one unit takes more. */
    private static final long WAVE_FLOATS = 1 << 24;

    // The fields of a unit in the table.
    private static final int SEQUENCE = 0;
    private static final int GROUP = 1;
    private static final int FIRST_ROW = 2;
    private static final int ROWS = 3;
    private static final int FIRST_KEY = 4;
    private static final int END_KEY = 5;
    private static final int SPLITS = 6;
    private static final int SPLIT_KEYS = 7;
    /** The first of its split tasks, and of its panel tasks. */
    private static final int SPLIT_TASK = 8;
    private static final int PANEL_TASK = 9;
    /** Where its packed queries, its partial sums and its partial maxima begin. */
    private static final int PACKED_AT = 10;
    private static final int PARTIALS_AT = 11;
    private static final int MAXIMA_AT = 12;
    /** The first of its tasks that join splits. */
    private static final int JOIN_TASK = 13;
    private static final int FIELDS = 14;

    private final AttentionKernels kernels;
    private final AttentionInput in;
    private final AttentionRows query;
    private final AttentionOptions options;
    private final AttentionOutput out;
    private final int lanes;
    private final int panel;
    private final int keyDims;
    private final int valueDims;
    /** Floats from one row of sums to the next. */
    private final int pitch;
    /** What the exponents of 2 are: scores times this. */
    private final float factor;

    private int units;
    /** Nobody reads it. */
    private int touched;
    /** Where each dimension of a key lies in packed queries and in chunks. */
    private int[] places = new int[0];
    private int[] table = new int[0];
    private float[] packed = new float[0];
    private float[] partials = new float[0];
    private float[] maxima = new float[0];
    private float[] weightSums = new float[0];

    FlashAttention(AttentionKernels kernels, AttentionInput in, AttentionRows query, AttentionOptions options,
            AttentionOutput out) {
        this.kernels = kernels;
        this.in = in;
        this.query = query;
        this.options = options;
        this.out = out;
        lanes = kernels.lanes();
        panel = kernels.panel();
        keyDims = in.keyDims();
        valueDims = in.valueDims();
        pitch = roundUp(valueDims, kernels.valueStep());
        factor = (float) (options.scale() / Math.log(2));
    }

    private static int roundUp(int n, int step) {
        return Math.addExact(n, step - 1) / step * step;
    }

    /** {@return rows of sums that kernels may write to for so many rows} */
    private static int sumRows(int rows) {
        return roundUp(rows, 4) + AttentionKernels.SPARE_ROWS;
    }

    void run(CpuPool pool) {
        AttentionWorkspace work = AttentionWorkspace.mine();
        places = work.get(AttentionWorkspace.Ints.PLACES, Math.max(keyDims, valueDims));
        for (int d = 0; d < Math.max(keyDims, valueDims); d++) {
            places[d] = in.place(d);
        }
        int panelTasks = 0;
        int splitTasks = 0;
        int joinTasks = 0;
        long packedFloats = 0;
        long partialFloats = 0;
        int maximaFloats = 0;
        units = 0;
        for (int sequence = 0; sequence < in.sequences(); sequence++) {
            int rows = Math.multiplyExact(in.queries(sequence), in.rowsPerQuery());
            int blocks = Math.ceilDiv(rows, UNIT_ROWS);
            for (int group = 0; group < in.groups(); group++) {
                // The last rows see the most keys: long tasks first, so that threads end together.
                for (int block = blocks - 1; block >= 0; block--) {
                    int firstRow = block * UNIT_ROWS;
                    int unitRows = Math.min(UNIT_ROWS, rows - firstRow);
                    table = grown(work);
                    int u = units * FIELDS;
                    table[u + SEQUENCE] = sequence;
                    table[u + GROUP] = group;
                    table[u + FIRST_ROW] = firstRow;
                    table[u + ROWS] = unitRows;
                    cutKeys(u);
                    int splits = table[u + SPLITS];
                    long q = (long) roundUp(unitRows, lanes) * keyDims;
                    long p = splits == 1 ? 0 : (long) splits * sumRows(unitRows) * pitch;
                    if (units > 0 && packedFloats + q + partialFloats + p > WAVE_FLOATS) {
                        runWave(pool, work, panelTasks, splitTasks, joinTasks, packedFloats, partialFloats, maximaFloats);
                        System.arraycopy(table, u, table, 0, FIELDS);
                        u = 0;
                        units = 0;
                        panelTasks = 0;
                        splitTasks = 0;
                        joinTasks = 0;
                        packedFloats = 0;
                        partialFloats = 0;
                        maximaFloats = 0;
                    }
                    table[u + PANEL_TASK] = panelTasks;
                    table[u + SPLIT_TASK] = splitTasks;
                    table[u + JOIN_TASK] = joinTasks;
                    table[u + PACKED_AT] = Math.toIntExact(packedFloats);
                    table[u + PARTIALS_AT] = Math.toIntExact(partialFloats);
                    table[u + MAXIMA_AT] = maximaFloats;
                    panelTasks += Math.ceilDiv(unitRows, panel);
                    splitTasks += splits;
                    joinTasks += splits == 1 ? 0 : Math.ceilDiv(unitRows, JOIN_ROWS);
                    packedFloats += q;
                    partialFloats += p;
                    maximaFloats += splits == 1 ? 0 : splits * unitRows;
                    units++;
                }
            }
        }
        if (units > 0) {
            runWave(pool, work, panelTasks, splitTasks, joinTasks, packedFloats, partialFloats, maximaFloats);
        }
    }

    /** {@return the table with room for one more unit} */
    private int[] grown(AttentionWorkspace work) {
        if (table.length >= (units + 1) * FIELDS) {
            return table;
        }
        int[] larger = work.get(AttentionWorkspace.Ints.UNITS, Math.max(64, 2 * units + 1) * FIELDS);
        System.arraycopy(table, 0, larger, 0, units * FIELDS);
        return larger;
    }

    /** Sets which keys the rows of a unit see together, and how these are split. */
    private void cutKeys(int u) {
        int sequence = table[u + SEQUENCE];
        int keys = in.keys(sequence);
        int firstRow = table[u + FIRST_ROW];
        int first = (int) Math.min(keys, options.firstKey(position(sequence, firstRow)));
        int end = (int) options.endKey(position(sequence, firstRow + table[u + ROWS] - 1), keys);
        end = Math.max(first, end);
        int splits = Math.clamp((end - first) / in.leastKeys(), 1, MOST_SPLITS);
        int splitKeys = Math.max(AttentionKernels.KEY_STEP,
                Math.ceilDiv(Math.ceilDiv(end - first, splits), AttentionKernels.KEY_STEP) * AttentionKernels.KEY_STEP);
        table[u + FIRST_KEY] = first;
        table[u + END_KEY] = end;
        table[u + SPLITS] = Math.max(1, Math.ceilDiv(end - first, splitKeys));
        table[u + SPLIT_KEYS] = splitKeys;
    }

    private long position(int sequence, int row) {
        return (long) in.keys(sequence) - in.queries(sequence) + row / in.rowsPerQuery();
    }

    private void runWave(CpuPool pool, AttentionWorkspace work, int panelTasks, int splitTasks, int joinTasks,
            long packedFloats, long partialFloats, int maximaFloats) {
        packed = work.get(AttentionWorkspace.Floats.PACKED, Math.toIntExact(packedFloats));
        partials = work.get(AttentionWorkspace.Floats.PARTIALS, Math.toIntExact(partialFloats));
        maxima = work.get(AttentionWorkspace.Floats.MAXIMA, maximaFloats);
        weightSums = work.get(AttentionWorkspace.Floats.WEIGHT_SUMS, maximaFloats);
        pool.run(panelTasks, this::pack);
        pool.run(splitTasks, this::attend);
        if (joinTasks > 0) {
            pool.run(joinTasks, this::join);
        }
    }

    /** {@return where the unit of a task begins in the table: the last one whose first task is not after it} */
    private int unitOf(int task, int field) {
        int low = 0;
        int high = units - 1;
        while (low < high) {
            int middle = (low + high + 1) >>> 1;
            if (table[middle * FIELDS + field] <= task) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        return low * FIELDS;
    }

    // ---------------------------------------------------------------------------------------------- queries

    /** Packs one panel of queries: {@code [dims][width]}, rows that are not there as zeros. */
    private void pack(int task) {
        int u = unitOf(task, PANEL_TASK);
        int row = (task - table[u + PANEL_TASK]) * panel;
        int rows = Math.min(panel, table[u + ROWS] - row);
        int width = roundUp(rows, lanes);
        int at = table[u + PACKED_AT] + row * keyDims;
        float[] one = AttentionWorkspace.mine().get(AttentionWorkspace.Floats.ROW, keyDims);
        float[] to = packed;
        int[] place = places;
        for (int r = 0; r < width; r++) {
            if (r < rows) {
                query.load(kernels, token(u, row + r), head(u, row + r), keyDims, one, 0);
            } else {
                Arrays.fill(one, 0, keyDims, 0f);
            }
            for (int d = 0; d < keyDims; d++) {
                to[at + place[d] * width + r] = one[d];
            }
        }
    }

    private long token(int u, int row) {
        return in.firstQuery(table[u + SEQUENCE]) + (table[u + FIRST_ROW] + row) / in.rowsPerQuery();
    }

    private long head(int u, int row) {
        return table[u + GROUP] + (table[u + FIRST_ROW] + row) % in.rowsPerQuery();
    }

    // ---------------------------------------------------------------------------------------------- attention

    private void attend(int task) {
        int u = unitOf(task, SPLIT_TASK);
        int split = task - table[u + SPLIT_TASK];
        int splits = table[u + SPLITS];
        int rows = table[u + ROWS];
        int sumRows = sumRows(rows);
        AttentionWorkspace work = AttentionWorkspace.mine();
        float[] o = splits == 1 ? work.get(AttentionWorkspace.Floats.SUMS, sumRows * pitch) : partials;
        int oi = splits == 1 ? 0 : table[u + PARTIALS_AT] + split * sumRows * pitch;
        Arrays.fill(o, oi, oi + sumRows * pitch, 0f);
        int padded = roundUp(rows, lanes);
        float[] max = work.get(AttentionWorkspace.Floats.ROW_MAXIMA, padded);
        float[] sum = work.get(AttentionWorkspace.Floats.ROW_SUMS, padded);
        Arrays.fill(max, 0, padded, Float.NEGATIVE_INFINITY);
        Arrays.fill(sum, 0, padded, 0f);
        findVisible(u, rows, padded, work);
        int from = table[u + FIRST_KEY] + split * table[u + SPLIT_KEYS];
        int to = Math.min(table[u + END_KEY], from + table[u + SPLIT_KEYS]);
        attend(u, from, to, work, o, oi, max, sum);
        if (splits == 1) {
            float[] row = work.get(AttentionWorkspace.Floats.ROW, pitch);
            for (int r = 0; r < rows; r++) {
                finish(u, r, o, oi + r * pitch, max[r], sum[r], row);
            }
        } else {
            int at = table[u + MAXIMA_AT] + split * rows;
            System.arraycopy(max, 0, maxima, at, rows);
            System.arraycopy(sum, 0, weightSums, at, rows);
        }
    }

    /** Sets which keys each row sees; rows that are not there see all of them. */
    private void findVisible(int u, int rows, int padded, AttentionWorkspace work) {
        int[] first = work.get(AttentionWorkspace.Ints.FIRST, padded);
        int[] end = work.get(AttentionWorkspace.Ints.END, padded);
        int sequence = table[u + SEQUENCE];
        int keys = in.keys(sequence);
        for (int r = 0; r < padded; r++) {
            long position = position(sequence, table[u + FIRST_ROW] + r);
            first[r] = r < rows ? (int) Math.min(keys, options.firstKey(position)) : 0;
            end[r] = r < rows ? (int) options.endKey(position, keys) : Integer.MAX_VALUE;
        }
    }

    private void attend(int u, int from, int to, AttentionWorkspace work, float[] o, int oi, float[] max,
            float[] sum) {
        boolean shared = in.valuesAreKeys();
        int blocks = Math.ceilDiv(Math.max(keyDims, shared ? pitch : 0), AttentionKernels.BLOCK);
        float[] k = work.get(AttentionWorkspace.Floats.KEYS, blocks * AttentionKernels.BLOCK_STRIDE);
        float[] v = shared ? k : work.get(AttentionWorkspace.Floats.VALUES,
                Math.ceilDiv(pitch, AttentionKernels.BLOCK) * AttentionKernels.BLOCK_STRIDE);
        int chunks = Math.ceilDiv(to - from, AttentionKernels.CHUNK);
        int step = chunks == 0 ? 1 : roundUp(Math.ceilDiv(to - from, chunks), AttentionKernels.KEY_STEP);
        for (int key = from; key < to; key += step) {
            int keys = Math.min(step, to - key);
            touched = in.touch(table[u + SEQUENCE], table[u + GROUP], key, keys);
            for (int j = 0; j < keys; j++) {
                in.loadKey(table[u + SEQUENCE], table[u + GROUP], key + j, k, v, j);
            }
            // The tiles take whole steps of keys; what is left over must be no NaN.
            int padded = roundUp(keys, AttentionKernels.KEY_STEP);
            for (int b = 0; b < blocks && keys < padded; b++) {
                int at = b * AttentionKernels.BLOCK_STRIDE;
                Arrays.fill(k, at + keys * AttentionKernels.BLOCK, at + padded * AttentionKernels.BLOCK, 0f);
            }
            attend(u, key, keys, k, v, work, o, oi, max, sum);
        }
    }

    /** Adds one chunk of keys to the sums of all rows that see some of them. */
    private void attend(int u, int key, int keys, float[] k, float[] v, AttentionWorkspace work, float[] o, int oi,
            float[] max, float[] sum) {
        int rows = table[u + ROWS];
        float[] s = work.get(AttentionWorkspace.Floats.SCORES, (AttentionKernels.CHUNK + 1) * panel);
        float[] alpha = work.get(AttentionWorkspace.Floats.ALPHA, roundUp(rows, lanes));
        int[] first = work.get(AttentionWorkspace.Ints.FIRST, rows);
        int[] end = work.get(AttentionWorkspace.Ints.END, rows);
        int padded = roundUp(keys, AttentionKernels.KEY_STEP);
        for (int row = 0; row < rows; row += panel) {
            int panelRows = Math.min(panel, rows - row);
            int width = roundUp(panelRows, lanes);
            // Ranges move on from row to row.
            if (end[row + panelRows - 1] <= key || first[row] >= key + keys) {
                continue;
            }
            Arrays.fill(s, 0, padded * panel, 0f);
            kernels.scores(packed, table[u + PACKED_AT] + row * keyDims, width, keyDims, k, padded, s);
            boolean masked = first[row + panelRows - 1] > key || end[row] < key + keys;
            if (masked) {
                kernels.mask(s, width, keys, key, first, end, row);
            }
            kernels.weights(s, width, keys, factor, max, sum, alpha, row);
            for (int r = 0; r < panelRows; r++) {
                if (alpha[row + r] != 1) {
                    kernels.scale(o, oi + (row + r) * pitch, pitch, alpha[row + r]);
                }
            }
            if (masked && !kernels.finite(v, keys, valueDims)) {
                addVisible(s, row, panelRows, key, keys, first, end, v, o, oi);
            } else {
                kernels.values(s, roundUp(panelRows, 4), v, keys, o, oi + row * pitch, pitch);
            }
        }
    }

    /** Adds values key by key, since a weight of 0 times a NaN or infinity that a row does not see would be a NaN. */
    private void addVisible(float[] p, int row, int rows, int firstKey, int keys, int[] first, int[] end,
            float[] v, float[] o, int oi) {
        for (int r = 0; r < rows; r++) {
            int from = Math.max(0, first[row + r] - firstKey);
            int to = Math.min(keys, end[row + r] - firstKey);
            int at = oi + (row + r) * pitch;
            for (int j = from; j < to; j++) {
                float weight = p[j * panel + r];
                for (int d = 0; d < valueDims; d++) {
                    o[at + d] += weight * v[AttentionKernels.at(j, d)];
                }
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- results

    private boolean seesNothing(int u, int row) {
        int sequence = table[u + SEQUENCE];
        long position = position(sequence, table[u + FIRST_ROW] + row);
        int keys = in.keys(sequence);
        return options.firstKey(position) >= options.endKey(position, keys);
    }

    /** Writes a row whose keys were not split. */
    private void finish(int u, int r, float[] o, int at, float max, float sum, float[] row) {
        long token = token(u, r);
        long head = head(u, r);
        if (seesNothing(u, r)) {
            out.writeNothing(token, head, row);
            return;
        }
        float inverse = 1 / sum;
        int[] place = places;
        for (int d = 0; d < valueDims; d++) {
            row[d] = o[at + place[d]] * inverse;
        }
        out.write(token, head, row, (double) max * options.scale() + Math.log(sum));
    }

    /** Joins the splits of a few rows and writes these. */
    private void join(int task) {
        int u = unitOf(task, JOIN_TASK);
        AttentionWorkspace work = AttentionWorkspace.mine();
        float[] total = work.get(AttentionWorkspace.Floats.SUMS, pitch);
        float[] row = work.get(AttentionWorkspace.Floats.ROW, pitch);
        int firstRow = (task - table[u + JOIN_TASK]) * JOIN_ROWS;
        int end = Math.min(firstRow + JOIN_ROWS, table[u + ROWS]);
        for (int r = firstRow; r < end; r++) {
            if (seesNothing(u, r)) {
                out.writeNothing(token(u, r), head(u, r), row);
            } else {
                join(u, r, total, row);
            }
        }
    }

    private void join(int u, int r, float[] total, float[] row) {
        int rows = table[u + ROWS];
        int splits = table[u + SPLITS];
        int stats = table[u + MAXIMA_AT] + r;
        float max = Float.NEGATIVE_INFINITY;
        for (int i = 0; i < splits; i++) {
            max = Math.max(max, maxima[stats + i * rows]);
        }
        double sum = 0;
        for (int i = 0; i < splits; i++) {
            sum += weight(stats + i * rows, max) * weightSums[stats + i * rows];
        }
        Arrays.fill(total, 0, pitch, 0f);
        int stride = sumRows(rows) * pitch;
        for (int i = 0; i < splits; i++) {
            float share = (float) (weight(stats + i * rows, max) / sum);
            kernels.addScaled(share, partials, table[u + PARTIALS_AT] + i * stride + r * pitch, total, 0, pitch);
        }
        int[] place = places;
        for (int d = 0; d < valueDims; d++) {
            row[d] = total[place[d]];
        }
        out.write(token(u, r), head(u, r), row, (double) max * options.scale() + Math.log(sum));
    }

    /** {@return what the sums of a split are multiplied by} */
    private double weight(int at, float max) {
        float mine = maxima[at];
        // All scores were -Infinity, NaN or not seen: a sum is 0 or NaN, and is to stay so.
        return mine == Float.NEGATIVE_INFINITY ? 1 : Math.exp(((double) mine - max) * options.scale());
    }
}
