package dev.octet.fp8.reference;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Activation;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8Codec;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import org.jspecify.annotations.Nullable;

/**
 * The GEMMs that others are compared with (DeepSeek-V3 &sect;3.3.2). All methods are pure functions of their arguments,
 * safe for use by several threads, and give the same bits for every pool. Tensors lie on the CPU.
 *
 * <ul>
 *   <li>{@link #exact}: sums as exact as double allows, with what error bounds need. Backend {@code reference} rounds
 *       these once, after the epilogue.
 *   <li>{@link #reproducible}: every rounding is prescribed, so an implementation can be compared to the bit.
 *   <li>{@link #unquantized}: the product of the matrices before they were quantised.
 * </ul>
 */
public final class ReferenceGemm {
    private static final int BLOCK = Granularity.BLOCK;

    private ReferenceGemm() {}

    /**
     * Multiplies exactly, or nearly: the sum over each block of 128 is exact between E4M3 matrices (with E5M2 it has a
     * relative error of at most 127 * 2<sup>-53</sup> of its terms' magnitudes); {@code sA*sB} is exact in double; its
     * product with the sum and the sum over blocks round to double.
     *
     * @param a {@code [M, K]}
     * @param b {@code [N, K]}
     * @param pool the threads
     * @return {@code [M, N]} sums and magnitudes
     * @throws IllegalArgumentException if K differs or M*N is too large for an array
     */
    public static ExactResult exact(ScaledTensor a, ScaledTensor b, CpuPool pool) {
        requireDepth(a.codes(), b.codes());
        int size = arraySize(a.codes(), b.codes());
        int columns = (int) b.rows();
        ExactResult result = new ExactResult((int) a.rows(), columns, a.columns(), new double[size], new double[size],
                new double[size]);
        BlockSums.forEachTile(a, b, pool, tileSize -> new ExactFold(tileSize) {
            @Override
            public void finish(long m, long n, int rows, int width) {
                for (int i = 0; i < rows; i++) {
                    int to = (int) (m + i) * columns + (int) n;
                    System.arraycopy(sums, i * BLOCK, result.sums(), to, width);
                    System.arraycopy(magnitudes, i * BLOCK, result.magnitudes(), to, width);
                    System.arraycopy(codeMagnitudes, i * BLOCK, result.codeMagnitudes(), to, width);
                }
            }
        });
        return result;
    }

    /**
     * Multiplies with every rounding prescribed, for backends that promise the same bits:
     * {@snippet lang=text :
     * P   = (float) SUM over k in block b, in double, in increasing k:  A[m,k] * B[n,k]
     * acc = acc + (sA * sB) * P       for b = 0, 1, ...: two FP32 multiplications and an FP32 addition, not fused
     * }
     * starting from {@code acc = +0}. Between E4M3 matrices the double sum is exact, so its order does not matter.
     *
     * @param a {@code [M, K]}
     * @param b {@code [N, K]}
     * @param pool the threads
     * @return F32 {@code [M, N]}, which owns its memory
     * @throws IllegalArgumentException if K differs
     */
    public static Tensor reproducible(ScaledTensor a, ScaledTensor b, CpuPool pool) {
        requireDepth(a.codes(), b.codes());
        Tensor d = Tensor.allocate(DType.F32, Shape.of(a.rows(), b.rows()));
        HostMatrix out = new HostMatrix(d);
        BlockSums.forEachTile(a, b, pool, tileSize -> new BlockSums.Fold() {
            private final float[] acc = new float[tileSize];

            @Override
            public void add(int i, double sum, double magnitude, float scaleA, float scaleB) {
                float scaled = (scaleA * scaleB) * (float) sum;
                acc[i] = acc[i] + scaled;
            }

            @Override
            public void finish(long m, long n, int rows, int columns) {
                for (int i = 0; i < rows; i++) {
                    for (int j = 0; j < columns; j++) {
                        out.set(m + i, n + j, acc[i * BLOCK + j]);
                    }
                }
            }
        });
        return d;
    }

    /**
     * {@code A * B^T} of matrices that are not quantised, accumulated in double in increasing k: what a quantised
     * GEMM's {@link GemmError#calcDiff} is measured against.
     *
     * @param a {@code [M, K]} of BF16, F16 or F32, of any strides
     * @param b {@code [N, K]} of BF16, F16 or F32, of any strides
     * @param pool the threads
     * @return {@code [M, N]}, row-major
     * @throws IllegalArgumentException if a rank or dtype does not fit, K differs or M*N is too large for an array
     */
    public static double[] unquantized(Tensor a, Tensor b, CpuPool pool) {
        requireFloatMatrix("a", a);
        requireFloatMatrix("b", b);
        requireDepth(a, b);
        double[] d = new double[arraySize(a, b)];
        int rows = (int) a.dim(0);
        int columns = (int) b.dim(0);
        int depth = Math.toIntExact(a.dim(1));
        HostMatrix ma = new HostMatrix(a);
        HostMatrix mb = new HostMatrix(b);
        (BlockSums.isShared(a) && BlockSums.isShared(b) ? pool : BlockSums.ALONE).run(columns, n -> {
            double[] column = new double[depth];
            for (int k = 0; k < depth; k++) {
                column[k] = mb.get(n, k);
            }
            for (int m = 0; m < rows; m++) {
                double sum = 0;
                for (int k = 0; k < depth; k++) {
                    sum += ma.get(m, k) * column[k];
                }
                d[m * columns + n] = sum;
            }
        });
        return d;
    }

    // ---------------------------------------------------------------------------------------------- the backend

    static void gemm(ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue, CpuPool pool) {
        if (d.shape().elements() == 0) {
            return;
        }
        HostMatrix out = new HostMatrix(d);
        EpilogueReader last = new EpilogueReader(epilogue);
        BlockSums.forEachTile(a, b, allowed(pool, epilogue, d), tileSize -> new ExactFold(tileSize) {
            @Override
            public void finish(long m, long n, int rows, int columns) {
                for (int i = 0; i < rows; i++) {
                    for (int j = 0; j < columns; j++) {
                        double x = last.apply(m + i, n + j, sums[i * BLOCK + j]);
                        out.set(m + i, n + j, d.dtype() == DType.BF16 ? forBf16(x) : (float) x);
                    }
                }
            }
        });
    }

    static void gemm(ScaledTensor a, ScaledTensor b, ScaledTensor d, Epilogue epilogue, CpuPool pool) {
        if (d.codes().shape().elements() == 0) {
            return;
        }
        HostMatrix codes = new HostMatrix(d.codes());
        HostMatrix scales = new HostMatrix(d.scales());
        EpilogueReader last = new EpilogueReader(epilogue);
        CpuPool threads = allowed(pool, epilogue, d.codes(), d.scales());
        BlockSums.forEachTile(a, b, threads, tileSize -> new ExactFold(tileSize) {
            @Override
            public void finish(long m, long n, int rows, int columns) {
                float[] group = new float[columns];
                for (int i = 0; i < rows; i++) {
                    for (int j = 0; j < columns; j++) {
                        group[j] = (float) last.apply(m + i, n + j, sums[i * BLOCK + j]);
                    }
                    quantize(group, m + i, n, d, codes, scales);
                }
            }
        });
    }

    private static CpuPool allowed(CpuPool pool, Epilogue epilogue, Tensor... outputs) {
        boolean shared = BlockSums.isShared(epilogue.addend()) && BlockSums.isShared(epilogue.bias());
        for (Tensor t : outputs) {
            shared &= BlockSums.isShared(t);
        }
        return shared ? pool : BlockSums.ALONE;
    }

    /** The recipe of {@link dev.octet.fp8.Fp8#quantize} for one group. */
    private static void quantize(float[] group, long row, long column, ScaledTensor d, HostMatrix codes,
            HostMatrix scales) {
        float amax = 1e-4f;
        for (float x : group) {
            amax = Math.max(amax, Math.abs(x)); // NaN wins
        }
        ScaleFormat format = d.scaling().format();
        float scale = amax / Fp8Codec.max(d.format());
        if (format.isPowerOfTwo()) {
            scale = Fp8Codec.ceilPowerOfTwo(scale);
        }
        if (format == ScaleFormat.E8M0) {
            scales.setCode(row, column / BLOCK, Fp8Codec.encodeE8M0(scale));
        } else {
            scales.set(row, column / BLOCK, Float.isNaN(scale) ? Float.NaN : scale);
        }
        float factor = 1 / scale;
        for (int j = 0; j < group.length; j++) {
            float x = group[j] * factor;
            // Which sign a NaN has is up to the processor; here it is positive.
            codes.setCode(row, column + j,
                    Fp8Codec.encode(d.format(), Float.isNaN(x) ? Float.NaN : x, Overflow.SATURATE));
        }
    }

    /**
     * Rounds to FP32 so that rounding again to BF16 gives what rounding once would: to odd, which keeps in the last bit
     * that something was cut off.
     */
    private static float forBf16(double x) {
        float nearest = (float) x;
        if (nearest == x || Double.isNaN(x) || Float.isInfinite(nearest)) {
            return nearest;
        }
        float towardZero = Math.abs((double) nearest) > Math.abs(x)
                ? Float.intBitsToFloat(Float.floatToRawIntBits(nearest) - 1) : nearest;
        return Float.intBitsToFloat(Float.floatToRawIntBits(towardZero) | 1);
    }

    private abstract static class ExactFold implements BlockSums.Fold {
        final double[] sums;
        final double[] magnitudes;
        final double[] codeMagnitudes;

        ExactFold(int tileSize) {
            sums = new double[tileSize];
            magnitudes = new double[tileSize];
            codeMagnitudes = new double[tileSize];
        }

        @Override
        public final void add(int i, double sum, double magnitude, float scaleA, float scaleB) {
            double scale = (double) scaleA * scaleB;
            sums[i] += scale * sum;
            magnitudes[i] += Math.abs(scale) * magnitude;
            codeMagnitudes[i] += magnitude;
        }
    }

    /** The epilogue in double. */
    private static final class EpilogueReader {
        private final @Nullable HostMatrix addend;
        private final @Nullable HostMatrix bias;
        private final Activation activation;

        EpilogueReader(Epilogue e) {
            Tensor c = e.addend();
            Tensor v = e.bias();
            addend = c == null ? null : new HostMatrix(c);
            bias = v == null ? null : HostMatrix.ofRow(v);
            activation = e.activation();
        }

        double apply(long row, long column, double sum) {
            double x = sum;
            if (addend != null) {
                x += addend.get(row, column);
            }
            if (bias != null) {
                x += bias.get(row, column);
            }
            return activation == Activation.SILU ? x / (1 + Math.exp(-x)) : x;
        }
    }

    // ---------------------------------------------------------------------------------------------- checks

    private static void requireDepth(Tensor a, Tensor b) {
        if (a.dim(1) != b.dim(1)) {
            throw new IllegalArgumentException(
                    "a is " + a.shape() + " and b " + b.shape() + "; their columns (K) must be equal");
        }
    }

    private static void requireFloatMatrix(String name, Tensor t) {
        if (t.shape().rank() != 2 || !t.dtype().isFloat()) {
            throw new IllegalArgumentException(name + " is " + t + ", it must be a matrix of F32, BF16 or F16");
        }
    }

    private static int arraySize(Tensor a, Tensor b) {
        long rows = a.dim(0);
        long columns = b.dim(0);
        if (rows > Integer.MAX_VALUE || columns > Integer.MAX_VALUE || rows * columns > Integer.MAX_VALUE - 8) {
            throw new IllegalArgumentException(
                    "a has " + rows + " rows and b " + columns + ": too many sums for an array");
        }
        return (int) (rows * columns);
    }
}
