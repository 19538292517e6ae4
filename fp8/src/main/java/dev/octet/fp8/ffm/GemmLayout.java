package dev.octet.fp8.ffm;

import java.lang.invoke.MethodHandle;

/**
 * The constants of a level's GEMM kernels by which memory is sized and work is cut, as the library tells them.
 *
 * @param lanes of a vector; rows of A are padded to whole vectors
 * @param panelRows rows of a panel of packed A
 * @param columnGroup columns of a task are padded to a multiple of it
 * @param units 32-bit units of a block of 128
 * @param run columns that are decoded at once
 * @param tailColumns columns of the tile for the last rows, 0 if there is none
 */
record GemmLayout(int lanes, int panelRows, int columnGroup, int units, int run, int tailColumns) {
    /** What the few-rows kernel takes; its scales are padded to as many. */
    static final int MAX_FEW_ROWS = 8;
    private static final int BLOCK = 128;

    static GemmLayout of(MethodHandle layout) throws Throwable {
        int[] values = new int[6];
        for (int i = 0; i < values.length; i++) {
            values[i] = Math.toIntExact((long) layout.invokeExact((long) i));
        }
        return new GemmLayout(values[0], values[1], values[2], values[3], values[4], values[5]);
    }

    private long padded(long rows) {
        return roundUp(rows, lanes);
    }

    static long roundUp(long x, long to) {
        return Math.ceilDiv(x, to) * to;
    }

    /** {@return the bytes of packed A, its scales not counted} */
    long packedBytes(long rows, long k, boolean fewRows) {
        return 4 * (fewRows ? rows : padded(rows)) * Math.ceilDiv(k, (long) BLOCK) * units;
    }

    /** {@return the bytes of packed A's scales} */
    long scaleBytes(long rows, long k, boolean fewRows) {
        return 4 * (fewRows ? MAX_FEW_ROWS : padded(rows)) * Math.ceilDiv(k, (long) BLOCK);
    }

    /** {@return the bytes of a task's working memory} */
    long workBytes(long rows, long columns, long k, boolean fewRows) {
        if (fewRows) {
            return 4 * rows * (2 * Math.ceilDiv(k, (long) BLOCK) + columns + (columns + 1) * lanes);
        }
        long paddedColumns = roundUp(columns, columnGroup);
        return 4 * (padded(rows) * paddedColumns + (long) (run + tailColumns) * units + paddedColumns + tailColumns
                + lanes * roundUp(columns, lanes));
    }
}
