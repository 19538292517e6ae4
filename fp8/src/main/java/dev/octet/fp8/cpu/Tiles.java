package dev.octet.fp8.cpu;

import dev.octet.core.cpu.CpuPool;
import java.lang.foreign.MemorySegment;

/**
 * Cuts a matrix into tiles and runs them on a pool. How it is cut depends on the matrix alone, never on the pool.
 */
final class Tiles {
    /** What is done with one tile. */
    @FunctionalInterface
    interface Body {
        void run(long row, long rows, long column, long columns);
    }

    /** A tile of F32 scratch and its codes fit in the second-level cache of any CPU that has AVX2. */
    static final long TILE_ELEMENTS = 1 << 15;
    /** Below this a second thread costs more than it brings: waking it takes as long as the work. */
    private static final long SERIAL_ELEMENTS = 1 << 15;

    /** Never started; memory that it may not touch is memory that only the caller may touch. */
    private static final Thread ANOTHER = new Thread(() -> { });

    private Tiles() {}

    /** Whether other threads may use the memory, which they may not if it came from a confined arena. */
    static boolean isShared(MemorySegment segment) {
        return segment.isAccessibleBy(ANOTHER);
    }

    /**
     * Runs the body for every tile.
     *
     * @param parallel whether threads other than the caller may take part
     */
    static void run(CpuPool pool, boolean parallel, long rows, long columns, long tileRows, long tileColumns,
            Body body) {
        if (rows == 0 || columns == 0) {
            return;
        }
        long across = Math.ceilDiv(columns, tileColumns);
        long tiles = Math.multiplyExact(Math.ceilDiv(rows, tileRows), across);
        if (parallel && tiles > 1 && rows * columns > SERIAL_ELEMENTS) {
            pool.run(Math.toIntExact(tiles), i -> one(i, across, rows, columns, tileRows, tileColumns, body));
        } else {
            for (long i = 0; i < tiles; i++) {
                one(i, across, rows, columns, tileRows, tileColumns, body);
            }
        }
    }

    private static void one(long i, long across, long rows, long columns, long tileRows, long tileColumns, Body body) {
        long row = i / across * tileRows;
        long column = i % across * tileColumns;
        body.run(row, Math.min(tileRows, rows - row), column, Math.min(tileColumns, columns - column));
    }
}
