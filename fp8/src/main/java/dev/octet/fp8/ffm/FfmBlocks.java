package dev.octet.fp8.ffm;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Granularity;
import java.lang.foreign.ValueLayout;

/**
 * How quantisers and casts cut a matrix: into tasks of some rows and some blocks of 128 columns. It depends on the shape
 * alone.
 */
record FfmBlocks(long rows, long columns, long taskRows, long taskBlocks) {
    static final int BLOCK = Granularity.BLOCK;
    /** Blocks of a task: 64 Ki elements. */
    static final long TASK_BLOCKS = 512;
    /** From so many bytes on they are written past the caches: more than a second-level cache holds. */
    private static final long PAST_CACHE = 4 << 20;
    private static final int LINE = 64;
    /** Below this a second thread costs more than it brings. */
    private static final long SERIAL_ELEMENTS = 1 << 15;
    private static final ValueLayout.OfLong I64 = ValueLayout.JAVA_LONG_UNALIGNED;

    /** What is done with a task. */
    @FunctionalInterface
    interface Body {
        void run(int task, long row, long rows, long block, long blocks);
    }

    /** Tasks of {@link #TASK_BLOCKS} that are as long as a row allows, and of whole multiples of some rows. */
    static FfmBlocks along(long rows, long columns, long rowMultiple) {
        long blocks = blocks(columns);
        if (blocks <= TASK_BLOCKS && rows <= TASK_BLOCKS && rows * blocks <= TASK_BLOCKS) {
            return new FfmBlocks(rows, columns, rows, blocks); // short work takes as long as three divisions
        }
        long taskBlocks = Math.min(blocks, TASK_BLOCKS);
        return new FfmBlocks(rows, columns,
                GemmLayout.roundUp(Math.max(1, TASK_BLOCKS / taskBlocks), rowMultiple), taskBlocks);
    }

    static long blocks(long columns) {
        return Math.ceilDiv(columns, (long) BLOCK);
    }

    private boolean isOne() {
        return rows <= taskRows && blocks(columns) <= taskBlocks;
    }

    int tasks() {
        return isOne() ? 1 : Math.toIntExact(Math.multiplyExact(Math.ceilDiv(blocks(columns), taskBlocks),
                Math.ceilDiv(rows, taskRows)));
    }

    void run(CpuPool pool, Body body) {
        if (isOne()) {
            body.run(0, 0, rows, 0, blocks(columns));
            return;
        }
        long across = Math.ceilDiv(blocks(columns), taskBlocks);
        int tasks = tasks();
        if (rows * columns <= SERIAL_ELEMENTS) {
            for (int t = 0; t < tasks; t++) {
                one(t, across, body);
            }
        } else {
            pool.run(tasks, t -> one(t, across, body));
        }
    }

    private void one(int task, long across, Body body) {
        long row = task / across * taskRows;
        long block = task % across * taskBlocks;
        body.run(task, row, Math.min(taskRows, rows - row), block, Math.min(taskBlocks, blocks(columns) - block));
    }

    /** {@return whether the elements of each row are neighbours} */
    static boolean hasRows(Tensor t) {
        return t.stride(1) == 1 || t.dim(1) == 1;
    }

    /** {@return whether the elements of each column are neighbours} */
    static boolean hasColumns(Tensor t) {
        return t.stride(0) == 1 || t.dim(0) == 1;
    }

    /** {@return as in fp8.h} */
    static long type(DType dtype) {
        return switch (dtype) {
            case F32 -> 0;
            case BF16 -> 1;
            case F16 -> 2;
            default -> throw new IllegalStateException("no kernel for " + dtype);
        };
    }

    /** {@return whether what is written is aligned to cache lines and does not fit in the caches anyway} */
    static boolean isPastCache(Tensor written, long rows, long columns, long rowStride) {
        int size = written.dtype().byteSize();
        return rows * columns * size >= PAST_CACHE && written.address() % LINE == 0
                && (rows == 1 || rowStride * size % LINE == 0);
    }

    /** Writes a structure of 64-bit fields. */
    static void put(long struct, long... fields) {
        for (int i = 0; i < fields.length; i++) {
            ALL.set(I64, struct + 8L * i, fields[i]);
        }
    }
}
