package dev.octet.fp8.cuda;

import static dev.octet.fp8.cuda.ParameterBlock.setInt;
import static dev.octet.fp8.cuda.ParameterBlock.setLong;

import dev.octet.core.Tensor;
import dev.octet.fp8.Activation;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaledTensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Launches the portable GEMM: products that have all but their addresses and extents in common go into one launch, up
 * to 32 of them. {@code fp8_gemm_mma.cu}, {@code fp8_gemm_fma.cu} and {@code fp8_epilogue.cuh} explain the kernels and
 * their parameter.
 *
 * <p>Each product's sums are made in the same order whichever tile, launch or group it is in, so that a group has the
 * bits of a GEMM by itself.
 */
final class CudaGemm {
    /** Whether FMAs take the place of tensor cores: slower, but with every rounding prescribed. */
    private static final boolean FMA = Boolean.getBoolean("octet.fp8.cuda.fma");

    private static final int TILE_N = 128;
    private static final int MAX_PRODUCTS = 32;
    /** Up to so many rows the tile of 8 rows is taken for FMAs, if no product of the launch has more. */
    private static final int FEW_ROWS = 8;

    private static final int A = 0;
    private static final int B = 56;
    private static final int CONTIGUITY = 48;
    private static final int PRODUCTS = 216;
    private static final int PRODUCT_BYTES = 80;

    private static final int ALONE = 0;
    private static final int ALONG_K = 1;
    private static final int ALONG_ROWS = 2;

    private final Launcher launcher;
    private final MemorySegment p = ParameterBlock.mine().gemm;
    private int contiguityA;
    private int contiguityB;
    private boolean vectors;
    private int products;
    private long largestM;
    private int vectorBytes;
    private long tiles;
    private long n;

    private CudaGemm(Launcher launcher) {
        this.launcher = launcher;
    }

    // ---------------------------------------------------------------------------------------------- operations

    static void gemm(Launcher launcher, ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue) {
        if (d.shape().elements() == 0) {
            return;
        }
        if (TensorCoreGemm.launched(launcher, a, b, d, epilogue)) {
            fence(a, b, d, epilogue);
            return;
        }
        CudaGemm g = new CudaGemm(launcher);
        g.begin(a, b, d, epilogue.addend(), epilogue.bias(), epilogue.activation());
        g.add(a.codes().address(), a.scales().address(), b, d.address(), 0, address(epilogue.addend()), a.rows(),
                a.columns());
        g.launch();
        fence(a, b, d, epilogue);
    }

    static void gemm(Launcher launcher, ScaledTensor a, ScaledTensor b, ScaledTensor d, Epilogue epilogue) {
        if (d.codes().shape().elements() == 0) {
            return;
        }
        if (TensorCoreGemm.launched(launcher, a, b, d, epilogue)) {
            fence(a, b, d, epilogue);
            return;
        }
        CudaGemm g = new CudaGemm(launcher);
        g.begin(a, b, d.codes(), epilogue.addend(), epilogue.bias(), epilogue.activation());
        setLong(g.p, 136, d.scales().stride(0));
        setLong(g.p, 144, d.scales().stride(1));
        setInt(g.p, 188, d.scaling().format().ordinal());
        g.add(a.codes().address(), a.scales().address(), b, d.codes().address(), d.scales().address(),
                address(epilogue.addend()), a.rows(), a.columns());
        g.launch();
        fence(a, b, d, epilogue);
    }

    static void grouped(Launcher launcher, ScaledTensor a, long[] begins, long[] ends, List<ScaledTensor> b, Tensor d) {
        if (d.shape().elements() == 0) {
            return;
        }
        if (TensorCoreGemm.launched(launcher, a, begins, ends, b, d)) {
            fence(a, b, d, null);
            return;
        }
        CudaGemm g = new CudaGemm(launcher);
        ScaledTensor first = null;
        for (int i = 0; i < begins.length; i++) {
            ScaledTensor w = b.get(i);
            if (begins[i] == ends[i]) {
                continue;
            }
            if (first == null || g.products == MAX_PRODUCTS || !alike(first, w)) {
                g.launch();
                g.begin(a, w, d, null, null, Activation.IDENTITY);
                first = w;
            }
            long scaleRow = begins[i] >> CudaQuantizer.shift(a.scaling().granularity().blockRows());
            g.add(a.codes().address() + begins[i] * a.codes().stride(0),
                    a.scales().address() + scaleRow * a.scales().stride(0) * a.scales().dtype().byteSize(), w,
                    d.address() + begins[i] * d.stride(0) * d.dtype().byteSize(), 0, 0, ends[i] - begins[i],
                    a.columns());
        }
        g.launch();
        fence(a, b, d, null);
    }

    static void kGrouped(Launcher launcher, ScaledTensor a, ScaledTensor b, long[] offsets, Tensor d,
            @Nullable Tensor addend) {
        if (d.shape().elements() == 0) {
            return;
        }
        if (TensorCoreGemm.launched(launcher, a, b, offsets, d, addend)) {
            fence(a, b, d, addend);
            return;
        }
        CudaGemm g = new CudaGemm(launcher);
        Tensor one = matrix(d);
        Tensor oneAddend = addend == null ? null : matrix(addend);
        for (int i = 0; i < offsets.length - 1; i++) {
            if (i % MAX_PRODUCTS == 0) {
                g.launch();
                g.begin(a, b, one, oneAddend, null, Activation.IDENTITY);
            }
            long k = offsets[i];
            // A group of no columns may begin anywhere, inside a block of scales too; it reads none.
            long block = k / Granularity.BLOCK;
            g.add(a.codes().address() + k * a.codes().stride(1),
                    a.scales().address() + block * a.scales().stride(1) * a.scales().dtype().byteSize(),
                    b.codes().address() + k * b.codes().stride(1),
                    b.scales().address() + block * b.scales().stride(1) * b.scales().dtype().byteSize(),
                    d.address() + i * d.stride(0) * d.dtype().byteSize(), 0,
                    addend == null ? 0 : addend.address() + i * addend.stride(0) * addend.dtype().byteSize(), a.rows(),
                    offsets[i + 1] - k);
        }
        g.launch();
        fence(a, b, d, addend);
    }

    private static Tensor matrix(Tensor t) {
        return t.slice(0, 0, 1).reshape(t.dim(1), t.dim(2));
    }

    private static long address(@Nullable Tensor t) {
        return t == null ? 0 : t.address();
    }

    private static void fence(Object a, Object b, Object d, @Nullable Object rest) {
        Reference.reachabilityFence(a);
        Reference.reachabilityFence(b);
        Reference.reachabilityFence(d);
        Reference.reachabilityFence(rest);
    }

    // ---------------------------------------------------------------------------------------------- parameters

    /** Whether two matrices differ in their addresses alone. */
    private static boolean alike(ScaledTensor x, ScaledTensor y) {
        return x.format() == y.format() && x.scaling().equals(y.scaling())
                && x.codes().stride(0) == y.codes().stride(0) && x.codes().stride(1) == y.codes().stride(1)
                && x.scales().stride(0) == y.scales().stride(0) && x.scales().stride(1) == y.scales().stride(1);
    }

    private void begin(ScaledTensor a, ScaledTensor b, Tensor d, @Nullable Tensor addend, @Nullable Tensor bias,
            Activation activation) {
        contiguityA = operand(A, a);
        contiguityB = operand(B, b);
        n = b.rows();
        setLong(p, 112, n);
        setLong(p, 120, d.stride(0));
        setLong(p, 128, d.stride(1));
        setLong(p, 152, addend == null ? 0 : addend.stride(0));
        setLong(p, 160, addend == null ? 0 : addend.stride(1));
        setLong(p, 168, address(bias));
        setLong(p, 176, bias == null ? 0 : bias.stride(0));
        setInt(p, 184, d.dtype().ordinal());
        setInt(p, 192, addend == null ? 0 : addend.dtype().ordinal());
        setInt(p, 196, bias == null ? 0 : bias.dtype().ordinal());
        setInt(p, 200, activation == Activation.SILU);
        vectors = d.stride(1) == 1 && d.stride(0) % 4 == 0;
        vectorBytes = 4 * d.dtype().byteSize();
        products = 0;
        largestM = 0;
        tiles = 0;
    }

    private int operand(int at, ScaledTensor t) {
        Granularity g = t.scaling().granularity();
        Tensor codes = t.codes();
        setLong(p, at, codes.stride(0));
        setLong(p, at + 8, codes.stride(1));
        setLong(p, at + 16, t.scales().stride(0));
        setLong(p, at + 24, t.scales().stride(1));
        setInt(p, at + 32, t.format().ordinal());
        setInt(p, at + 36, t.scaling().format().ordinal());
        setInt(p, at + 40, CudaQuantizer.shift(g.blockRows()));
        setInt(p, at + 44, CudaQuantizer.shift(g.blockColumns()));
        return codes.stride(1) == 1 && codes.stride(0) % 8 == 0 ? ALONG_K
                : codes.stride(0) == 1 && codes.stride(1) % 8 == 0 ? ALONG_ROWS : ALONE;
    }

    private void add(long a, long aScales, ScaledTensor b, long d, long dScales, long addend, long m, long k) {
        add(a, aScales, b.codes().address(), b.scales().address(), d, dScales, addend, m, k);
    }

    private void add(long a, long aScales, long b, long bScales, long d, long dScales, long addend, long m, long k) {
        long at = PRODUCTS + (long) PRODUCT_BYTES * products++;
        setLong(p, at, a);
        setLong(p, at + 8, aScales);
        setLong(p, at + 16, b);
        setLong(p, at + 24, bScales);
        setLong(p, at + 32, d);
        setLong(p, at + 40, dScales);
        setLong(p, at + 48, addend);
        setLong(p, at + 56, m);
        setLong(p, at + 64, k);
        contiguityA = a % 8 == 0 ? contiguityA : ALONE;
        contiguityB = b % 8 == 0 ? contiguityB : ALONE;
        vectors &= d % vectorBytes == 0;
        largestM = Math.max(largestM, m);
    }

    /** Runs what was added since {@link #begin}, if anything was. */
    private void launch() {
        if (products == 0) {
            return;
        }
        setInt(p, A + CONTIGUITY, contiguityA);
        setInt(p, B + CONTIGUITY, contiguityB);
        setInt(p, 204, vectors);
        setInt(p, 208, products);
        boolean few = FMA && largestM <= FEW_ROWS;
        long tileM = few ? 8 : 64;
        for (int i = 0; i < products; i++) {
            long at = PRODUCTS + (long) PRODUCT_BYTES * i;
            setLong(p, at + 72, tiles);
            long m = p.get(ValueLayout.JAVA_LONG, at + 56);
            tiles += Math.ceilDiv(m, tileM) * Math.ceilDiv(n, (long) TILE_N);
        }
        launcher.launch(!FMA ? Fp8Kernel.GEMM_MMA_64 : few ? Fp8Kernel.GEMM_FMA_8 : Fp8Kernel.GEMM_FMA_64, tiles, p);
        products = 0;
    }
}
