package dev.octet.fp8.ffm;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.cpu.Scratch;
import java.lang.foreign.ValueLayout;

/**
 * One call's worth of work for the native kernels: some rows of A with one B, and how it is cut. The cut depends on the
 * shapes alone, and changes no sum.
 */
final class GemmJob {
    /** The size of {@code struct fp8_gemm}, rounded up to cache lines. */
    static final int STRUCT_BYTES = 320;
    /** Slots of scratch that the CPU kernels use too, so that nobody else counts on them during a call. */
    static final int SLOT_CALLER = 0;
    static final int SLOT_TASK = 1;
    private static final int BLOCK = 128;
    /** Rows of A that share what is decoded of B: a task's running sums are at most so many rows of floats in L2. */
    private static final int CHUNK_ROWS = 512;
    /** Packed A of a chunk at most, unless a single panel is more. */
    private static final long CHUNK_BYTES = 32L << 20;
    /** At least so many tasks where the shapes allow it, so that a thread that is late costs little. */
    private static final int TASKS = 16;
    /** So many tasks at the end of a loop are cut in halves, so that its threads end at about the same time. */
    private static final int HALVED_TASKS = 4;
    /** Blocks of K of a task that packs a panel. */
    private static final int PACKED_BLOCKS = 16;
    private static final ValueLayout.OfLong I64 = ValueLayout.JAVA_LONG_UNALIGNED;
    private static final GemmLayout LAYOUT = GemmKernels.LAYOUT;

    final int packingTasks;
    /** Of packed A and its scales. */
    final long bytes;
    private final GemmMatrix a;
    private final GemmMatrix b;
    private final GemmTarget target;
    private final long firstRow;
    private final long m;
    private final boolean fewRows;
    private final long packedBytes;
    private final int blocks;
    private final int packedParts;
    private final long taskColumns;
    private final long taskRows;
    /** Tasks of {@link #taskColumns} by {@link #taskRows} come first, then those of the rest. */
    private int wholeColumns;
    private int restColumns;
    private long restTaskColumns;
    private long restTaskRows;
    private long struct;

    /**
     * Rows {@code firstRow} to {@code firstRow + rows} of A and D.
     *
     * @param fewRows whether the kernel for few rows is to be taken
     */
    GemmJob(GemmMatrix a, GemmMatrix b, GemmTarget target, long firstRow, long rows, boolean fewRows) {
        this.a = a;
        this.b = b;
        this.target = target;
        this.firstRow = firstRow;
        this.fewRows = fewRows;
        m = rows;
        blocks = Math.toIntExact(Math.ceilDiv(a.k, (long) BLOCK));
        packedBytes = GemmLayout.roundUp(LAYOUT.packedBytes(m, a.k, fewRows), 64);
        bytes = packedBytes + GemmLayout.roundUp(LAYOUT.scaleBytes(m, a.k, fewRows), 64);
        long share = Math.ceilDiv(b.rows, (long) TASKS);
        if (fewRows) {
            packedParts = 1;
            packingTasks = 1;
            taskColumns = share >= BLOCK ? BLOCK : share >= BLOCK / 2 ? BLOCK / 2 : BLOCK / 4;
        } else {
            long panels = Math.ceilDiv(m, (long) LAYOUT.panelRows());
            packedParts = Math.ceilDiv(blocks, PACKED_BLOCKS);
            packingTasks = Math.toIntExact(panels * packedParts);
            taskColumns = Math.clamp(GemmLayout.roundUp(share, LAYOUT.columnGroup()),
                    LAYOUT.taskColumns() / 2, LAYOUT.taskColumns());
        }
        wholeColumns = Math.toIntExact(Math.ceilDiv(b.rows, taskColumns));
        if (fewRows) {
            taskRows = m;
        } else {
            long panels = Math.ceilDiv(m, (long) LAYOUT.panelRows());
            long parts = Math.clamp(TASKS / wholeColumns, 1, panels);
            taskRows = Math.ceilDiv(panels, parts) * LAYOUT.panelRows();
        }
    }

    /** Cuts the last tasks smaller: for the job that a loop ends with. */
    void halveLastTasks() {
        if (fewRows || taskRows < m) {
            return;
        }
        int halved = Math.min(HALVED_TASKS, wholeColumns);
        long panels = Math.ceilDiv(m, (long) LAYOUT.panelRows());
        if (taskColumns == LAYOUT.taskColumns()) {
            wholeColumns = Math.toIntExact(Math.max(0, b.rows / taskColumns - HALVED_TASKS));
            restTaskColumns = taskColumns / 2;
            restColumns = Math.toIntExact(Math.ceilDiv(b.rows - wholeColumns * taskColumns, restTaskColumns));
            restTaskRows = m;
        } else if (panels > 1) {
            wholeColumns -= halved;
            restColumns = halved;
            restTaskColumns = taskColumns;
            restTaskRows = Math.ceilDiv(panels, 2L) * LAYOUT.panelRows();
        }
    }

    private int wholeTasks() {
        return Math.toIntExact(wholeColumns * Math.ceilDiv(m, taskRows));
    }

    /** {@return how many tasks multiply} */
    int tasks() {
        return restColumns == 0 ? wholeTasks()
                : Math.toIntExact(wholeTasks() + restColumns * Math.ceilDiv(m, restTaskRows));
    }

    /** {@return whether the kernel for few rows is the one for a product} */
    static boolean hasFewRows(long rows, GemmMatrix b) {
        return rows <= GemmLayout.MAX_FEW_ROWS && b.kContiguous;
    }

    /** {@return how many rows of A a job should have} */
    static long chunkRows(long all, long k) {
        long rows = CHUNK_ROWS;
        while (rows > LAYOUT.panelRows() && LAYOUT.packedBytes(rows, k, false) > CHUNK_BYTES) {
            rows /= 2;
        }
        long chunks = Math.ceilDiv(all, Math.max(rows, LAYOUT.panelRows()));
        return GemmLayout.roundUp(Math.ceilDiv(all, Math.max(1, chunks)), LAYOUT.panelRows());
    }

    /**
     * Writes the arguments.
     *
     * @param at where to, {@link #STRUCT_BYTES} of them
     * @param packed address of {@link #bytes} for packed A, aligned to 64
     */
    void place(long at, long packed) {
        struct = at;
        ALL.set(I64, at, m);
        ALL.set(I64, at + 8, b.rows);
        ALL.set(I64, at + 16, a.k);
        a.put(at + 24, firstRow);
        b.put(at + 96, 0);
        target.put(at + 168, firstRow);
        ALL.set(I64, at + 248, packed);
        ALL.set(I64, at + 256, packed + packedBytes);
    }

    /** One of the tasks that pack A, all of which come before the others. */
    void pack(int task) {
        if (fewRows) {
            GemmKernels.packRows(struct);
            return;
        }
        int from = task % packedParts * PACKED_BLOCKS;
        GemmKernels.pack(struct, (long) task / packedParts * LAYOUT.panelRows(), from,
                Math.min(blocks, from + PACKED_BLOCKS));
    }

    /** One of the tasks that multiply. */
    void multiply(int task) {
        int rest = task - wholeTasks();
        if (rest < 0) {
            multiply(task / wholeColumns * taskRows, taskRows, task % wholeColumns * taskColumns, taskColumns);
        } else {
            multiply(rest / restColumns * restTaskRows, restTaskRows,
                    wholeColumns * taskColumns + rest % restColumns * restTaskColumns, restTaskColumns);
        }
    }

    private void multiply(long row, long maxRows, long from, long maxColumns) {
        long rows = Math.min(maxRows, m - row);
        long columns = Math.min(maxColumns, b.rows - from);
        long work = Scratch.get(SLOT_TASK, LAYOUT.workBytes(rows, columns, a.k, fewRows)).address();
        if (fewRows) {
            GemmKernels.multiplyRows(struct, from, columns, work);
        } else {
            GemmKernels.multiply(struct, row, rows, from, columns, work);
        }
    }
}
