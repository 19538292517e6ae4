package dev.octet.cuda;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.cuda.driver.CublasLtLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * NVIDIA's own matrix product, {@code D = X * W^T}: the comparator for Octet's, in BF16 and in FP8 with block scales,
 * which cuBLAS 12.9 and later has on Hopper. Not safe for several threads.
 *
 * <p>In cuBLAS's column-major view the product is {@code D^T = W * X^T}: its A is W with K rows, transposed; its B is X
 * with K rows; its D has N rows.
 */
public final class CublasLt extends Resource {
    private static final int COMPUTE_32F = 68;
    private static final int R_32F = 0;
    private static final int R_16BF = 14;
    private static final int R_8F_E4M3 = 28;
    private static final int TRANS_A = 3;
    private static final int A_SCALE_POINTER = 17;
    private static final int B_SCALE_POINTER = 18;
    private static final int A_SCALE_MODE = 31;
    private static final int B_SCALE_MODE = 32;
    private static final int VEC128 = 4;
    private static final int BLOCK128X128 = 5;
    private static final long MAX_WORKSPACE = 64L << 20;
    private static final int BLOCK = 128;
    /** Stands for the scales while an algorithm is looked for, which is refused without them; nothing reads there. */
    private static final long SOME_SCALES = 1L << 20;

    /** What X and W are, and how they are scaled. */
    public enum Inputs {
        /** BF16, no scales. */
        BF16,
        /** E4M3 with FP32 scales: X by 1x128, W by 128x128. */
        FP8_1X128_128X128,
        /** E4M3 with FP32 scales: both by 1x128. */
        FP8_1X128_1X128
    }

    private CublasLt(CudaDevice device, long handle) {
        super(device, handle);
    }

    /** {@return empty if the library can be loaded, else why not and what would help} */
    public static Optional<String> unavailable() {
        return Optional.ofNullable(Library.ABSENT);
    }

    /** Found out once. */
    private static final class Library {
        static final @Nullable String ABSENT = load();

        private static @Nullable String load() {
            try {
                CublasLtLibrary.load();
                return null;
            } catch (LinkageError | RuntimeException e) {
                return e.getMessage() == null ? e.toString() : e.getMessage();
            }
        }
    }

    /**
     * Opens the library for a GPU. The caller closes it.
     *
     * @param gpu the GPU
     * @return the library
     * @throws IllegalStateException if it can't be loaded; the message has the reason
     */
    public static CublasLt open(CudaDevice gpu) {
        unavailable().ifPresent(why -> {
            throw new IllegalStateException(why);
        });
        gpu.enter();
        return new CublasLt(gpu, CublasLtLibrary.create());
    }

    /**
     * Prepares a product: chooses the algorithm, which takes tens of microseconds, and allocates its workspace. The
     * caller closes it.
     *
     * @param inputs what X and W are
     * @param output the type of D: BF16 or F32
     * @param m rows of X; with FP8 a multiple of 4
     * @param n rows of W; with FP8 a multiple of 4
     * @param k columns of both; with FP8 a multiple of 16
     * @return the product
     * @throws UnsupportedOperationException if cuBLASLt has no algorithm for it on this GPU
     */
    public Matmul prepare(Inputs inputs, DType output, long m, long n, long k) {
        if (output != DType.BF16 && output != DType.F32) {
            throw new IllegalArgumentException("output is " + output + ", takes BF16 or F32");
        }
        boolean fp8 = inputs != Inputs.BF16;
        if (m < 1 || n < 1 || k < 1 || (fp8 && (m % 4 != 0 || n % 4 != 0 || k % 16 != 0))) {
            throw new IllegalArgumentException("M, N, K are " + m + ", " + n + ", " + k + ", take 1 or more"
                    + (fp8 ? ", M and N multiples of 4, K of 16" : ""));
        }
        return new Matmul(inputs, output, m, n, k);
    }

    @Override
    void release(long handle) {
        gpu().enter();
        CublasLtLibrary.destroy(handle);
    }

    /** {@return for example {@code cuBLASLt on cuda:0}} */
    @Override
    public String toString() {
        return "cuBLASLt on " + gpu().device();
    }

    /** A product of given sizes. Its workspace is for one stream at a time. */
    public final class Matmul implements AutoCloseable {
        private final Inputs inputs;
        private final DType output;
        private final long m;
        private final long n;
        private final long k;
        private final long product;
        private final long[] layouts = new long[3];
        private final MemorySegment found;
        private final MemorySegment factors;
        private final DeviceBuffer workspace;
        private boolean closed;

        private Matmul(Inputs inputs, DType output, long m, long n, long k) {
            this.inputs = inputs;
            this.output = output;
            this.m = m;
            this.n = n;
            this.k = k;
            gpu().enter();
            Arena arena = Arena.ofAuto(); // lives as long as this object
            found = arena.allocate(CublasLtLibrary.RESULT_BYTES, 8);
            factors = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, 0);
            product = CublasLtLibrary.createProduct(COMPUTE_32F, R_32F);
            DeviceBuffer scratch = null;
            try {
                int type = inputs == Inputs.BF16 ? R_16BF : R_8F_E4M3;
                layouts[0] = CublasLtLibrary.createLayout(type, k, n, k);
                layouts[1] = CublasLtLibrary.createLayout(type, k, m, k);
                layouts[2] = CublasLtLibrary.createLayout(output == DType.BF16 ? R_16BF : R_32F, n, m, n);
                CublasLtLibrary.set(product, TRANS_A, 1);
                if (inputs != Inputs.BF16) {
                    CublasLtLibrary.set(product, A_SCALE_MODE,
                            inputs == Inputs.FP8_1X128_128X128 ? BLOCK128X128 : VEC128);
                    CublasLtLibrary.set(product, B_SCALE_MODE, VEC128);
                    CublasLtLibrary.set(product, A_SCALE_POINTER, SOME_SCALES);
                    CublasLtLibrary.set(product, B_SCALE_POINTER, SOME_SCALES);
                }
                if (!CublasLtLibrary.heuristic(handle(), product, layouts, MAX_WORKSPACE, found.address())) {
                    throw new UnsupportedOperationException("cuBLASLt has no algorithm for " + this + " on " + gpu());
                }
                scratch = gpu().allocate(found.get(ValueLayout.JAVA_LONG, CublasLtLibrary.RESULT_WORKSPACE));
            } catch (CudaException e) {
                free(null);
                if (e.statusName().equals("CUBLAS_STATUS_NOT_SUPPORTED")) {
                    throw new UnsupportedOperationException("cuBLASLt has no " + this + " on " + gpu(), e);
                }
                throw e;
            } catch (RuntimeException | Error e) {
                free(null);
                throw e;
            }
            workspace = scratch;
        }

        /**
         * Multiplies BF16 matrices, contiguous and row-major.
         *
         * @param x {@code [M, K]}
         * @param w {@code [N, K]}
         * @param d {@code [M, N]}
         * @param stream where the work goes
         */
        public void run(Tensor x, Tensor w, Tensor d, CudaStream stream) {
            check(this + " has scales", inputs == Inputs.BF16, "takes them as arguments");
            check(x, w, d, DType.BF16);
            launch(x, w, d, stream);
        }

        /**
         * Multiplies E4M3 matrices, contiguous and row-major, with FP32 scales.
         *
         * @param x {@code [M, K]}
         * @param xScales {@code [M, ceil(K/128)]} with stride 1 between rows and M between columns
         * @param w {@code [N, K]}
         * @param wScales for 128x128 {@code [ceil(N/128), ceil(K/128)]} with stride 1 between columns and, between
         *     rows, ceil(K/128) rounded up to a multiple of 4, without which cuBLAS reads wrong scales; for 1x128
         *     as for x
         * @param d {@code [M, N]}
         * @param stream where the work goes
         */
        public void run(Tensor x, Tensor xScales, Tensor w, Tensor wScales, Tensor d, CudaStream stream) {
            check(this + " has no scales", inputs != Inputs.BF16, "takes none as arguments");
            check(x, w, d, DType.F8_E4M3);
            long blocks = (k + BLOCK - 1) / BLOCK;
            scales("xScales", xScales, m, blocks, 1, m);
            if (inputs == Inputs.FP8_1X128_128X128) {
                scales("wScales", wScales, (n + BLOCK - 1) / BLOCK, blocks, (blocks + 3) / 4 * 4, 1);
            } else {
                scales("wScales", wScales, n, blocks, 1, n);
            }
            gpu().enter();
            CublasLtLibrary.set(product, A_SCALE_POINTER, wScales.address());
            CublasLtLibrary.set(product, B_SCALE_POINTER, xScales.address());
            launch(x, w, d, stream);
        }

        private void launch(Tensor x, Tensor w, Tensor d, CudaStream stream) {
            gpu().enter();
            CublasLtLibrary.matmul(handle(), product, layouts, factors.address(), w.address(), x.address(),
                    factors.address() + 4, d.address(), found.address(), workspace.address(), workspace.byteSize(),
                    stream.handle());
            Reference.reachabilityFence(this);
        }

        private void check(Tensor x, Tensor w, Tensor d, DType type) {
            check(this.toString(), !closed, "is closed");
            matrix("x", x, type, m, k);
            matrix("w", w, type, n, k);
            matrix("d", d, output, m, n);
        }

        private void matrix(String name, Tensor t, DType type, long rows, long columns) {
            check(name + " is " + t, t.dtype() == type && t.shape().rank() == 2 && t.dim(0) == rows
                    && t.dim(1) == columns && t.isContiguous() && t.device().equals(gpu().device()),
                    "takes contiguous " + type + " [" + rows + ", " + columns + "] on " + gpu().device());
        }

        private void scales(String name, Tensor t, long rows, long columns, long rowStride, long columnStride) {
            boolean fits = t.dtype() == DType.F32 && t.shape().rank() == 2 && t.dim(0) == rows && t.dim(1) == columns
                    && (rows == 1 || t.stride(0) == rowStride) && (columns == 1 || t.stride(1) == columnStride)
                    && t.device().equals(gpu().device());
            check(name + " is " + t, fits, "takes F32 [" + rows + ", " + columns + "] with strides " + rowStride + ", "
                    + columnStride + " on " + gpu().device());
        }

        private static void check(String what, boolean ok, String takes) {
            if (!ok) {
                throw new IllegalArgumentException(what + ", " + takes);
            }
        }

        /** Gives descriptions and workspace back. Closing again does nothing. */
        @Override
        public void close() {
            if (!closed) {
                free(workspace);
            }
        }

        private void free(@Nullable DeviceBuffer scratch) {
            closed = true;
            if (scratch != null) {
                scratch.close();
            }
            for (long layout : layouts) {
                if (layout != 0) {
                    CublasLtLibrary.destroyLayout(layout);
                }
            }
            CublasLtLibrary.destroyProduct(product);
        }

        /** {@return the inputs, the output and the sizes} */
        @Override
        public String toString() {
            return inputs + " to " + output + ", M=" + m + " N=" + n + " K=" + k;
        }
    }
}
