package dev.octet.fp8.ffm;

import java.lang.invoke.MethodHandle;

/** The GEMM's native functions. A job is the address of a {@code struct fp8_gemm}; nothing is checked any more. */
final class GemmKernels {
    static final GemmLayout LAYOUT;
    private static final MethodHandle ROWS_PACK = Fp8Library.procedure("rows_pack", 1);
    private static final MethodHandle ROWS = Fp8Library.procedure("rows", 4);
    private static final MethodHandle PACK = Fp8Library.procedure("pack", 4);
    private static final MethodHandle GEMM = Fp8Library.procedure("gemm", 6);
    private static final MethodHandle WORK = Fp8Library.shortFunction("work", 2);

    static {
        try {
            LAYOUT = GemmLayout.of(Fp8Library.shortFunction("layout", 1));
        } catch (Throwable e) {
            throw asUnchecked(e);
        }
    }

    private GemmKernels() {}

    /** Packs few rows of A. */
    static void packRows(long job) {
        try {
            ROWS_PACK.invokeExact(job);
        } catch (Throwable e) {
            throw asUnchecked(e);
        }
    }

    /** Multiplies few rows of A with a range of rows of B. */
    static void multiplyRows(long job, long from, long count, long work) {
        try {
            ROWS.invokeExact(job, from, count, work);
        } catch (Throwable e) {
            throw asUnchecked(e);
        }
    }

    /** Packs some blocks of a panel of A. */
    static void pack(long job, long row, long fromBlock, long toBlock) {
        try {
            PACK.invokeExact(job, row, fromBlock, toBlock);
        } catch (Throwable e) {
            throw asUnchecked(e);
        }
    }

    /** Multiplies some panels of A with a range of rows of B. */
    static void multiply(long job, long firstRow, long rows, long from, long count, long work) {
        try {
            GEMM.invokeExact(job, firstRow, rows, from, count, work);
        } catch (Throwable e) {
            throw asUnchecked(e);
        }
    }

    /** {@return the bytes of working memory that {@link #multiply} takes} */
    static long workBytes(long rows, long columns) {
        try {
            return (long) WORK.invokeExact(rows, columns);
        } catch (Throwable e) {
            throw asUnchecked(e);
        }
    }

    /** Native functions throw nothing; what is left are errors of the JVM's. */
    static RuntimeException asUnchecked(Throwable e) {
        if (e instanceof Error error) {
            throw error;
        }
        return e instanceof RuntimeException r ? r : new IllegalStateException(e);
    }
}
