package dev.octet.fp8.ffm;

import java.lang.invoke.MethodHandle;

/**
 * The constants of a level's GEMM kernels by which memory is sized and work is cut, as the library tells them.
 *
 * @param lanes of a vector
 * @param units 32-bit units of a block of 128
 * @param rowGroup rows of A are padded to a multiple of it
 * @param panelRows rows of A that are packed by one task
 * @param columnGroup columns of a task are padded to a multiple of it
 * @param taskColumns columns of a task at most, an even number of groups
 */
record GemmLayout(int lanes, int units, int rowGroup, int panelRows, int columnGroup, int taskColumns) {
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

    static long roundUp(long x, long to) {
        return Math.ceilDiv(x, to) * to;
    }

    /** {@return the bytes of packed A, its scales not counted} */
    long packedBytes(long rows, long k, boolean fewRows) {
        return 4 * (fewRows ? rows : roundUp(rows, rowGroup)) * Math.ceilDiv(k, (long) BLOCK) * units;
    }

    /** {@return the bytes of packed A's scales} */
    long scaleBytes(long rows, long k, boolean fewRows) {
        return 4 * (fewRows ? MAX_FEW_ROWS : roundUp(rows, rowGroup)) * Math.ceilDiv(k, (long) BLOCK);
    }

    /** {@return the bytes of a task's working memory} */
    long workBytes(long rows, long columns, long k, boolean fewRows) {
        if (fewRows) {
            return 4 * rows * (2 * Math.ceilDiv(k, (long) BLOCK) + columns + (columns + 1) * lanes);
        }
        return GemmKernels.workBytes(rows, columns);
    }
}
