package dev.octet.cuda.driver;

import dev.octet.cuda.CudaException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.List;

/**
 * The functions of {@code libcublasLt.so} that a matrix product takes. The file is the one that the system property
 * {@code octet.cuda.cublasLt} names, or one that {@link NativeLibrary#candidates} finds.
 */
public final class CublasLtLibrary {
    private static final NativeLibrary LIBRARY = NativeLibrary.open("cuBLASLt", NativeLibrary.candidates(
            "octet.cuda.cublasLt", List.of("libcublasLt.so.13", "libcublasLt.so.12")),
            "It is in the CUDA toolkit and in Python's package nvidia-cublas; name the file by -Doctet.cuda.cublasLt,"
                    + " or its folder by LD_LIBRARY_PATH.");
    private static final MethodHandle CREATE = LIBRARY.function("cublasLtCreate", "l");
    private static final MethodHandle DESTROY = LIBRARY.function("cublasLtDestroy", "l");
    private static final MethodHandle DESC_CREATE = LIBRARY.function("cublasLtMatmulDescCreate", "lii");
    private static final MethodHandle DESC_DESTROY = LIBRARY.function("cublasLtMatmulDescDestroy", "l");
    private static final MethodHandle DESC_SET = LIBRARY.function("cublasLtMatmulDescSetAttribute", "lill");
    private static final MethodHandle LAYOUT_CREATE = LIBRARY.function("cublasLtMatrixLayoutCreate", "lilll");
    private static final MethodHandle LAYOUT_DESTROY = LIBRARY.function("cublasLtMatrixLayoutDestroy", "l");
    private static final MethodHandle PREFERENCE_CREATE = LIBRARY.function("cublasLtMatmulPreferenceCreate", "l");
    private static final MethodHandle PREFERENCE_DESTROY = LIBRARY.function("cublasLtMatmulPreferenceDestroy", "l");
    private static final MethodHandle PREFERENCE_SET =
            LIBRARY.function("cublasLtMatmulPreferenceSetAttribute", "lill");
    private static final MethodHandle HEURISTIC = LIBRARY.function("cublasLtMatmulAlgoGetHeuristic", "lllllllill");
    private static final MethodHandle MATMUL = LIBRARY.function("cublasLtMatmul", "llllllllllllllll");
    private static final MethodHandle STATUS_NAME = LIBRARY.functionOfText("cublasLtGetStatusName");
    private static final MethodHandle STATUS_STRING = LIBRARY.functionOfText("cublasLtGetStatusString");

    /** Bytes of a result of the heuristic: the algorithm's 64, workspace u64, state i32, waves f32, 16 reserved. */
    public static final long RESULT_BYTES = 96;
    /** Where the workspace's size lies in it. */
    public static final long RESULT_WORKSPACE = 64;

    private static final int MAX_WORKSPACE_BYTES = 1;

    private CublasLtLibrary() {}

    /** Loads the library. */
    public static void load() {
        // The class has done it.
    }

    /** Something with a status. */
    private interface Call {
        int status() throws Throwable;
    }

    private static void check(String name, Call call) {
        int status;
        try {
            status = call.status();
        } catch (Throwable t) {
            throw NativeLibrary.unexpected(t);
        }
        if (status != 0) {
            throw new CudaException(name, status, text(STATUS_NAME, status), text(STATUS_STRING, status));
        }
    }

    @SuppressWarnings("restricted") // a string of the library's
    private static String text(MethodHandle function, int status) {
        try {
            long address = (long) function.invokeExact(status);
            return address == 0 ? "unknown"
                    : MemorySegment.ofAddress(address).reinterpret(Long.MAX_VALUE).getString(0);
        } catch (Throwable t) {
            throw NativeLibrary.unexpected(t);
        }
    }

    private interface Maker {
        int status(long out) throws Throwable;
    }

    private static long made(String name, Maker maker) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(8, 8);
            check(name, () -> maker.status(out.address()));
            return out.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    /** {@return a handle for the current context} */
    public static long create() {
        return made("cublasLtCreate", out -> (int) CREATE.invokeExact(out));
    }

    /** Gives a handle back. */
    public static void destroy(long handle) {
        check("cublasLtDestroy", () -> (int) DESTROY.invokeExact(handle));
    }

    /** {@return a description of a product} */
    public static long createProduct(int computeType, int scaleType) {
        return made("cublasLtMatmulDescCreate",
                out -> (int) DESC_CREATE.invokeExact(out, computeType, scaleType));
    }

    /** Gives a description back. */
    public static void destroyProduct(long product) {
        check("cublasLtMatmulDescDestroy", () -> (int) DESC_DESTROY.invokeExact(product));
    }

    /** Sets an attribute of a product. */
    public static void set(long product, int attribute, int value) {
        try (Arena arena = Arena.ofConfined()) {
            long at = arena.allocateFrom(ValueLayout.JAVA_INT, value).address();
            check("cublasLtMatmulDescSetAttribute " + attribute,
                    () -> (int) DESC_SET.invokeExact(product, attribute, at, 4L));
        }
    }

    /** Sets an attribute of a product. */
    public static void set(long product, int attribute, long value) {
        try (Arena arena = Arena.ofConfined()) {
            long at = arena.allocateFrom(ValueLayout.JAVA_LONG, value).address();
            check("cublasLtMatmulDescSetAttribute " + attribute,
                    () -> (int) DESC_SET.invokeExact(product, attribute, at, 8L));
        }
    }

    /** {@return a description of a matrix in column-major order} */
    public static long createLayout(int type, long rows, long columns, long leading) {
        return made("cublasLtMatrixLayoutCreate",
                out -> (int) LAYOUT_CREATE.invokeExact(out, type, rows, columns, leading));
    }

    /** Gives a description back. */
    public static void destroyLayout(long layout) {
        check("cublasLtMatrixLayoutDestroy", () -> (int) LAYOUT_DESTROY.invokeExact(layout));
    }

    /**
     * Asks for the best algorithm.
     *
     * @param result address of {@link #RESULT_BYTES} bytes
     * @return whether there is one
     */
    public static boolean heuristic(long handle, long product, long[] layouts, long maxWorkspace, long result) {
        long preference = made("cublasLtMatmulPreferenceCreate",
                out -> (int) PREFERENCE_CREATE.invokeExact(out));
        try (Arena arena = Arena.ofConfined()) {
            long bytes = arena.allocateFrom(ValueLayout.JAVA_LONG, maxWorkspace).address();
            check("cublasLtMatmulPreferenceSetAttribute",
                    () -> (int) PREFERENCE_SET.invokeExact(preference, MAX_WORKSPACE_BYTES, bytes, 8L));
            MemorySegment found = arena.allocate(4, 4);
            check("cublasLtMatmulAlgoGetHeuristic", () -> (int) HEURISTIC.invokeExact(handle, product, layouts[0],
                    layouts[1], layouts[2], layouts[2], preference, 1, result, found.address()));
            return found.get(ValueLayout.JAVA_INT, 0) > 0;
        } finally {
            check("cublasLtMatmulPreferenceDestroy", () -> (int) PREFERENCE_DESTROY.invokeExact(preference));
        }
    }

    /** Multiplies: D = alpha * A * B, with C in the place of D because beta is 0. */
    public static void matmul(long handle, long product, long[] layouts, long one, long a, long b, long zero, long d,
            long algorithm, long workspace, long workspaceBytes, long stream) {
        check("cublasLtMatmul", () -> (int) MATMUL.invokeExact(handle, product, one, a, layouts[0], b, layouts[1], zero,
                d, layouts[2], d, layouts[2], algorithm, workspace, workspaceBytes, stream));
    }
}
