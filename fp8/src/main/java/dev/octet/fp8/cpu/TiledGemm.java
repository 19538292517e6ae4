package dev.octet.fp8.cpu;

import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/**
 * The GEMM for many rows of A.
 *
 * <p>Schedule. Up to 512 rows of A are a chunk, and as many blocks of K as make 4 MiB of packed A are a slab. Where
 * there are several slabs, the columns (rows of B) are cut into ranges whose running sums are at most 8 MiB. A step is
 * a slab of a chunk times a range of columns:
 * <ol>
 *   <li>The slab of A has been decoded and transposed ({@link GemmPanels}).
 *   <li>A task is up to 192 columns. For each block of K it decodes its part of B and sweeps it with each panel of A.
 *       Running sums stay in L2 meanwhile.
 *   <li>With the last slab the sums, whose lanes run along the rows of A, are transposed, finished and written row by
 *       row.
 *   <li>The last tasks of a step pack the next step's slab, so that a thread that has nothing left to multiply does
 *       that.
 * </ol>
 * Blocks of K are added in increasing order. What a sum is depends neither on the cut nor on the thread that runs a
 * task, so results are the same for every pool.
 */
final class TiledGemm {
    private static final int L = Lanes.COUNT;
    private static final int BLOCK = 128;
    /** The more, the less often B is read and decoded. */
    private static final int CHUNK_ROWS = 512;
    /** Packed A of a slab, in floats: 4 MiB, of which there are two. */
    static final int SLAB_FLOATS = 1 << 20;
    /** Running sums of a range, in floats: 8 MiB. They are read and written once for each slab. */
    private static final int RANGE_FLOATS = 1 << 21;
    /**
     * Columns of a task, which are decoded at once: the more, the less often A comes from L3. With 512 rows of A, sums,
     * codes and decoded B take 700 KiB of L2.
     */
    private static final int MAX_TASK_COLUMNS = 192;
    /** One panel of A stays in L2 by itself, and sweeps what was decoded only once: 24 KiB, in L1. */
    private static final int ONE_PANEL_TASK_COLUMNS = 96;
    private static final int ONE_PANEL_DECODED_COLUMNS = 48;
    /** Of one vector of rows, whose tile has so many: 12 KiB beside the block of A, in L1. */
    private static final int ONE_VECTOR_DECODED_COLUMNS = 24;
    /** At least so many tasks for each thread, so that a slow one costs little. */
    private static final int TASKS_PER_THREAD = 3;
    /**
     * Blocks of K whose codes are fetched at once. The hardware fetches ahead only along a row: when each block was
     * fetched as it was decoded, 128 bytes of each row, that took 16 % of the whole.
     */
    private static final int FETCHED_BLOCKS = 8;
    /** Rows of B so short are fetched whole, which makes one stream of a task, where few rows of A leave room in L2. */
    private static final int WHOLE_ROW_BLOCKS = 16;
    private static final int WHOLE_ROW_MAX_M = 128;
    /** A multiple of the tiles' columns and of every vector's lanes. */
    private static final int COLUMN_STEP = 48;
    private static final int SLOT_EDGE = 0;
    private static final float[] NONE = {};

    private final GemmOperand a;
    private final GemmOperand b;
    private final GemmOutput out;
    private GemmScaling scaling;

    private int chunkRows;
    private long slabs;
    private int slabBlocks;
    private long ranges;
    private long rangeColumns;
    /** Tasks of a range that is not the last, and steps of columns that they share evenly. */
    private int rangeTasks;
    private int decodedColumns;

    /** The slab that is being multiplied, and the next one. */
    private final GemmPanels[] panels = new GemmPanels[2];
    /** Rows of a chunk with a NaN or infinity among their codes; the next chunk's are found while one is finished. */
    private boolean[][] specialRows;
    /** Tasks of a range with a NaN, an infinity or a scale without room in their columns. */
    private boolean[] specialTasks;
    /** The range's running sums, {@code [task][panel][column][panel rows]}; a task's own where one slab is all. */
    private final float[] rangeSums;
    private final int rangeSumsBegin;

    /** The current step's slab and the range's first column. */
    private long slab;
    private long firstColumn;
    private GemmPanels current;
    private GemmPanels next;
    private final CpuPool.Task packing = this::pack;
    private final CpuPool.Task multiplying = this::task;

    private TiledGemm(GemmOperand a, GemmOperand b, GemmOutput out, int threads) {
        this.a = a;
        this.b = b;
        this.out = out;
        scaling = GemmScaling.of(a, b);
        chunkRows = (int) Math.min(CHUNK_ROWS, a.rows);
        int padded = GemmPanels.padded(chunkRows);
        slabBlocks = Math.clamp(a.blocks(), 1, SLAB_FLOATS / (BLOCK * padded));
        slabs = Math.max(1, Math.ceilDiv(a.blocks(), slabBlocks));
        ranges = slabs == 1 ? 1 : Math.ceilDiv(b.rows, RANGE_FLOATS / padded);
        rangeColumns = roundUp(Math.ceilDiv(b.rows, ranges));
        decodedColumns = decodedColumns(padded);
        rangeTasks = tasks(rangeColumns, taskColumns(padded), threads);
        GemmWorkspace work = GemmWorkspace.mine();
        for (int i = 0; i < 2; i++) {
            float[] values = work.packedA[i].array(slabBlocks * BLOCK * padded);
            float[] scales = work.scalesA(i, slabBlocks * padded);
            panels[i] = new GemmPanels(a, scaling, values, scales);
            panels[i].move(scaling, values, work.packedA[i].begin(), scales, 0);
        }
        current = panels[0];
        next = panels[1];
        specialRows = work.specialRows(chunkRows);
        specialTasks = work.specialTasks(rangeTasks);
        rangeSums = slabs == 1 ? NONE : work.rangeSums.array(Math.toIntExact(rangeColumns * padded));
        rangeSumsBegin = slabs == 1 ? 0 : work.rangeSums.begin();
    }

    /**
     * Products of which all of A is one slab, for loops over several products: of these operands, whatever they are set
     * to. {@link #place} comes before each.
     */
    TiledGemm(GemmOperand a, GemmOperand b, GemmOutput out) {
        this.a = a;
        this.b = b;
        this.out = out;
        scaling = GemmScaling.of(a, b);
        slabs = 1;
        ranges = 1;
        current = new GemmPanels(a, scaling, NONE, NONE);
        next = current;
        specialRows = new boolean[1][0];
        specialTasks = new boolean[0];
        rangeSums = NONE;
        rangeSumsBegin = 0;
    }

    /** All of a product that {@link #isOneSlab}. */
    void multiply(CpuPool pool) {
        GemmWorkspace work = GemmWorkspace.mine();
        int floats = packedFloats(a);
        float[] values = work.packedA[0].array(floats);
        place(values, work.packedA[0].begin(), work.scalesA(0, floats / BLOCK), 0, pool.threads());
        pool.run(packingTasks(), packing);
        pool.run(tasks(), multiplying);
    }

    /**
     * Begins a product that {@link #isOneSlab}.
     *
     * @param values where packed A goes, from {@code valuesAt} on {@link #packedFloats} of them
     * @param scales where its scales go, from {@code scalesAt} on one for each 128 of those
     * @param threads that are to have tasks of this product alone
     */
    void place(float[] values, int valuesAt, float[] scales, int scalesAt, int threads) {
        scaling = GemmScaling.of(a, b);
        chunkRows = (int) a.rows;
        slabBlocks = a.blocks();
        rangeColumns = roundUp(b.rows);
        int padded = GemmPanels.padded(chunkRows);
        decodedColumns = decodedColumns(padded);
        rangeTasks = tasks(rangeColumns, taskColumns(padded), threads);
        if (specialRows[0].length < chunkRows) {
            specialRows[0] = new boolean[chunkRows];
        }
        if (specialTasks.length < rangeTasks) {
            specialTasks = new boolean[rangeTasks];
        }
        Arrays.fill(specialRows[0], 0, chunkRows, false);
        Arrays.fill(specialTasks, 0, rangeTasks, false);
        current.move(scaling, values, valuesAt, scales, scalesAt);
        current.place(0, chunkRows, 0, slabBlocks, specialRows[0]);
    }

    /** {@return whether all of A fits in one slab} */
    static boolean isOneSlab(GemmOperand a) {
        return a.rows <= CHUNK_ROWS && a.blocks() <= SLAB_FLOATS / (BLOCK * GemmPanels.padded((int) a.rows));
    }

    /** {@return the floats that packed A takes where it is one slab} */
    static int packedFloats(GemmOperand a) {
        return GemmPanels.padded((int) a.rows) * a.blocks() * BLOCK;
    }

    /** {@return how many tasks pack A, where it is one slab; they come before all of {@link #multiply(int)}} */
    int packingTasks() {
        return current.tasks();
    }

    /** One of those tasks. */
    void pack(int task) {
        current.pack(task);
    }

    /** {@return how many tasks the product has, where A is one slab} */
    int tasks() {
        return rangeTasks;
    }

    /** One of those tasks. */
    void multiply(int task) {
        task(task);
    }

    private static int taskColumns(int paddedRows) {
        return paddedRows <= GemmPanels.ROWS ? ONE_PANEL_TASK_COLUMNS : MAX_TASK_COLUMNS;
    }

    /** Codes whose lines are one k each come in vectors of 4 L columns, so that 24 would be decoded like 64. */
    private int decodedColumns(int paddedRows) {
        return paddedRows <= L && b.kContiguous ? ONE_VECTOR_DECODED_COLUMNS
                : paddedRows <= GemmPanels.ROWS ? ONE_PANEL_DECODED_COLUMNS : MAX_TASK_COLUMNS;
    }

    /** As few tasks as there may be, each thread the same number of them. */
    private static int tasks(long columns, int widest, int threads) {
        long fewest = Math.ceilDiv(columns, (long) widest);
        long forAll = Math.ceilDiv(Math.max(fewest, (long) TASKS_PER_THREAD * threads), (long) threads) * threads;
        return Math.toIntExact(Math.min(forAll, columns / COLUMN_STEP));
    }

    /** {@return the first column of a task} */
    private long begin(int task) {
        return firstColumn + rangeColumns / COLUMN_STEP * task / rangeTasks * COLUMN_STEP;
    }

    private static long roundUp(long columns) {
        return Math.ceilDiv(columns, (long) COLUMN_STEP) * COLUMN_STEP;
    }

    static void gemm(GemmOperand a, GemmOperand b, GemmOutput out, CpuPool pool) {
        new TiledGemm(a, b, out, pool.threads()).run(pool);
    }

    // ---------------------------------------------------------------------------------------------- steps

    private void run(CpuPool pool) {
        long steps = Math.ceilDiv(a.rows, (long) chunkRows) * ranges * slabs;
        placeNext(0);
        pool.run(next.tasks(), next::pack);
        for (long step = 0; step < steps; step++) {
            GemmPanels packed = next;
            next = current;
            current = packed;
            slab = step % slabs;
            firstColumn = step / slabs % ranges * rangeColumns;
            if (slab == 0) {
                Arrays.fill(specialTasks, 0, rangeTasks, false);
            }
            boolean last = step + 1 == steps;
            if (!last) {
                placeNext(step + 1);
            }
            pool.run(rangeTasks + (last ? 0 : next.tasks()), multiplying);
        }
    }

    /** Says which slab of A a step takes; its packing may run beside the step before. */
    private void placeNext(long step) {
        long chunk = step / (slabs * ranges);
        long firstRow = chunk * chunkRows;
        int rows = (int) Math.min(chunkRows, a.rows - firstRow);
        int firstBlock = (int) (step % slabs) * slabBlocks;
        boolean[] special = specialRows[(int) (chunk % 2)];
        if (step % (slabs * ranges) == 0) {
            Arrays.fill(special, 0, rows, false);
        }
        next.place(firstRow, rows, firstBlock, Math.min(slabBlocks, a.blocks() - firstBlock), special);
    }

    private void task(int index) {
        if (index >= rangeTasks) {
            next.pack(index - rangeTasks);
            return;
        }
        long from = begin(index);
        int columns = (int) (Math.min(begin(index + 1), b.rows) - from);
        if (columns > 0) { // the last range may be shorter
            multiply(index, from, columns);
        }
    }

    // ---------------------------------------------------------------------------------------------- a task

    private void multiply(int task, long from, int columns) {
        GemmWorkspace work = GemmWorkspace.mine();
        GemmPanels rows = current;
        int stored = (int) roundUp(columns);
        int paddedRows = rows.paddedRows();
        float[] sums = slabs == 1 ? work.sums.array(stored * paddedRows) : rangeSums;
        int base = slabs == 1 ? work.sums.begin() : rangeSumsBegin + (int) (from - firstColumn) * paddedRows;
        if (slab == 0) {
            Arrays.fill(sums, base, base + stored * paddedRows, 0);
        }
        float[] scalesB = work.scales(stored);
        Arrays.fill(scalesB, 0, stored, 0);
        float[] decoded = work.decodedB.array((decodedColumns + 4 * L) * BLOCK);
        int decodedAt = work.decodedB.begin();
        int fetched = fetchedBlocks();
        boolean special = false;
        for (int block = 0; block < rows.blocks(); block++) {
            long blockOfK = rows.firstBlock() + block;
            if (b.kContiguous && block % fetched == 0) {
                special |= fetch(from, columns, blockOfK, Math.min(fetched, rows.blocks() - block));
            }
            special |= fillScales(from, columns, blockOfK, scalesB);
            for (int n = 0; n < columns; n += decodedColumns) {
                int count = Math.min(decodedColumns, columns - n);
                special |= decode(from + n, count, blockOfK, decoded, decodedAt, work);
                int swept = (count + GemmTiles.COLUMN_GROUP - 1) / GemmTiles.COLUMN_GROUP * GemmTiles.COLUMN_GROUP;
                for (int row = 0; row < paddedRows; row += GemmPanels.ROWS) {
                    int width = rows.panelRows(row);
                    GemmTiles.sweep(width / L, rows.values(), rows.panelAt(block, row), decoded, decodedAt, swept, sums,
                            base + row * stored + n * width, rows.scales(), rows.scaleAt(block, row), scalesB, n);
                }
            }
        }
        specialTasks[task] |= special;
        if (slab == slabs - 1) {
            finish(from, columns, stored, sums, base, specialTasks[task], work);
        }
    }

    /** {@return whether a scale has no room for its part of the missing power of two, or is infinite} */
    private boolean fillScales(long from, int columns, long block, float[] scalesB) {
        boolean infinite = false;
        int run = b.sharesScalesIn128Rows() ? BLOCK : 1;
        for (int i = 0; i < columns;) {
            float s = scaling.scaleB(b, from + i, block);
            infinite |= Float.isInfinite(s);
            int end = (int) Math.min(columns, ((from + i) / run + 1) * run - from);
            Arrays.fill(scalesB, i, end, s);
            i = end;
        }
        return infinite;
    }

    private int fetchedBlocks() {
        boolean whole = slabs == 1 && slabBlocks <= WHOLE_ROW_BLOCKS && chunkRows <= WHOLE_ROW_MAX_M;
        return whole ? Math.max(1, slabBlocks) : FETCHED_BLOCKS;
    }

    /**
     * Brings the codes of some blocks into L2.
     *
     * @return whether one of them is not finite
     */
    private boolean fetch(long from, int columns, long block, int blocks) {
        long k = block * BLOCK;
        int length = (int) Math.min((long) blocks * BLOCK, b.k - k);
        long source = b.address + from * b.rowStride + k;
        return length == b.rowStride ? GemmPacking.scan(b, source, 0, 1, columns * length)
                : GemmPacking.scan(b, source, b.rowStride, columns, length);
    }

    /** Decodes a part of a block of B to {@code float[column][128]}. */
    private boolean decode(long from, int columns, long block, float[] target, int at,
            GemmWorkspace work) {
        long k = block * BLOCK;
        int length = (int) Math.min(BLOCK, b.k - k);
        long source = b.address + from * b.rowStride + k * b.kStride;
        if (b.kContiguous) {
            long stride = b.rowStride;
            if (length < BLOCK) {
                MemorySegment edge = Scratch.get(SLOT_EDGE, (long) columns * BLOCK);
                GemmPacking.copyPadded(source, stride, columns, length, edge, BLOCK, columns);
                source = edge.address();
                stride = BLOCK;
            }
            GemmPacking.decodeRows(b, source, stride, columns, target, at);
            return false;
        }
        // Contiguous along the columns: lines of one k each. L lines that are neighbours in the packed order, four apart
        // in k, are transposed at once.
        int width = (columns + 4 * L - 1) / (4 * L) * (4 * L);
        MemorySegment lines = Scratch.get(SLOT_EDGE, (long) BLOCK * width);
        GemmPacking.copyPadded(source, b.kStride, length, columns, lines, width, BLOCK);
        int squares = work.squaresBegin();
        boolean special = false;
        for (int group = 0; group < BLOCK; group += 4 * L) {
            for (int j = 0; j < 4; j++) {
                long line = lines.address() + (long) (group + j) * width;
                int to = at + group + (3 - j) * L;
                for (int n = 0; n < columns; n += 4 * L) {
                    special |= GemmPacking.transpose(b, line + n, 4L * width, L, 1, 1, target, to + n * BLOCK,
                            4 * BLOCK, BLOCK, work.squares, squares);
                }
            }
        }
        return special;
    }

    // ---------------------------------------------------------------------------------------------- finish

    private void finish(long from, int columns, int stored, float[] sums, int base, boolean specialColumns,
            GemmWorkspace work) {
        GemmPanels rows = current;
        if (specialColumns) {
            for (int n = 0; n < columns; n++) {
                if (b.hasSpecial(from + n) || scaling.overflows(b, from + n)) {
                    for (int m = 0; m < rows.rows(); m++) {
                        sums[base + place(m, n, stored)] = GemmCodes.sum(a, b, rows.firstRow() + m, from + n);
                    }
                }
            }
        }
        for (int m = 0; m < rows.rows(); m++) {
            if (rows.isSpecial(m)) {
                for (int n = 0; n < columns; n++) {
                    sums[base + place(m, n, stored)] = GemmCodes.sum(a, b, rows.firstRow() + m, from + n);
                }
            }
        }
        float[] finished = work.rows(L * stored);
        int squares = work.squaresBegin();
        for (int row = 0; row < rows.rows(); row += L) {
            transposeSums(sums, base + place(row, 0, stored), rows.panelRows(row), columns, finished, stored,
                    work.squares, squares);
            for (int i = 0; i < L && row + i < rows.rows(); i++) {
                out.write(rows.firstRow() + row + i, from, finished, i * stored, columns);
            }
        }
    }

    /** {@return where a sum lies in a task's sums} */
    private int place(int m, int n, int stored) {
        int panel = m / GemmPanels.ROWS * GemmPanels.ROWS;
        return panel * stored + n * current.panelRows(m) + m - panel;
    }

    /** {@code [columns][L rows]}, lines {@code step} apart, to {@code [L rows][columns]}, lines {@code stored} apart. */
    private static void transposeSums(float[] sums, int at, int step, int columns, float[] target, int stored,
            int[] t, int squares) {
        for (int n = 0; n < columns; n += L) {
            for (int i = 0; i < L; i++) {
                FloatVector.fromArray(Lanes.F, sums, at + (n + i) * step).reinterpretAsInts()
                        .intoArray(t, squares + i * L);
            }
            int result = GemmPacking.transposeInts(t, squares);
            for (int i = 0; i < L; i++) {
                IntVector.fromArray(Lanes.I, t, result + i * L).reinterpretAsFloats().intoArray(target, i * stored + n);
            }
        }
    }
}
