package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.reference.GemmError;
import dev.octet.fp8.reference.ReferenceGemm;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Quantise and multiply, against the product of the BF16 matrices before they were quantised: what a caller loses in
 * all. DeepGEMM's tests ask for a {@link GemmError#calcDiff} below 1e-3 on normal data.
 */
@Tag("backend")
class GemmAccuracyTest {
    private static final int M = 96;
    private static final int N = 200;
    private static final int K = 1100;
    private static final double LIMIT = 1e-3;

    /** What activations, weights and gradients look like; the first operand is drawn, the second is always normal. */
    enum Data {
        NORMAL {
            @Override
            double value(SplittableRandom r, int row, int column) {
                return r.nextGaussian();
            }
        },
        /** Heavy tails, and every 97th channel a hundred times as large. */
        OUTLIER_CHANNELS {
            @Override
            double value(SplittableRandom r, int row, int column) {
                double tail = r.nextGaussian() / Math.max(0.2, Math.abs(r.nextGaussian()));
                return column % 97 == 5 ? 100 * tail : tail;
            }
        },
        /** Every 13th token a thousand times as large, as gradients have it. */
        OUTLIER_TOKENS {
            @Override
            double value(SplittableRandom r, int row, int column) {
                return (row % 13 == 3 ? 1000 : 1) * r.nextGaussian();
            }
        },
        /** One value in each group of 128 that dwarfs the others. */
        SINGLE_OUTLIERS {
            @Override
            double value(SplittableRandom r, int row, int column) {
                return (column % 128 == (row * 31) % 128 ? 300 : 1) * r.nextGaussian();
            }
        },
        /** Two groups of three are zero, and so are all groups of some rows. */
        ZERO_GROUPS {
            @Override
            double value(SplittableRandom r, int row, int column) {
                double x = r.nextGaussian();
                return column / 128 % 3 != row % 3 || row % 7 == 0 ? 0 : x;
            }
        };

        abstract double value(SplittableRandom r, int row, int column);
    }

    private static Tensor matrix(Arena arena, long seed, Data data, int rows, int columns) {
        SplittableRandom r = new SplittableRandom(seed);
        Tensor t = Layout.CONTIGUOUS.place(arena, DType.BF16, rows, columns).view();
        for (int i = 0; i < rows; i++) {
            for (int j = 0; j < columns; j++) {
                Matrices.setFloat(t, i, j, (float) data.value(r, i, j));
            }
        }
        return t;
    }

    private static double[] widen(Tensor d) {
        float[] values = d.toFloatArray();
        double[] wide = new double[values.length];
        Arrays.setAll(wide, i -> values[i]);
        return wide;
    }

    @ParameterizedTest
    @EnumSource(Data.class)
    void forward(Data data) {
        try (Arena arena = Arena.ofShared()) {
            Tensor x = matrix(arena, 1, data, M, K);
            Tensor w = matrix(arena, 2, Data.NORMAL, N, K);
            double[] expected = ReferenceGemm.unquantized(x, w, CpuPool.shared());
            for (String backend : TestedBackends.names().toList()) {
                for (ScaleFormat format : ScaleFormat.values()) {
                    Fp8 fp8 = Fp8.on(backend);
                    try (ScaledTensor a = fp8.quantize(x, DType.F8_E4M3, new Scaling(Granularity.BLOCK_1X128, format));
                            ScaledTensor b = fp8.quantize(w, DType.F8_E4M3, new Scaling(Granularity.BLOCK_128X128, format));
                            Tensor d = fp8.gemm(a, b, DType.BF16)) {
                        double diff = GemmError.calcDiff(expected, widen(d));
                        assertTrue(diff > 0 && diff < LIMIT, data + ", " + format + " on " + backend + ": " + diff);
                        for (int i = 0; data == Data.ZERO_GROUPS && i < M; i += 7) {
                            for (int j = 0; j < N; j++) {
                                assertEquals(0, d.getFloat(i, j), backend);
                            }
                        }
                    }
                }
            }
        }
    }

    /** {@code dX = dY * W} reads W's blocks through a view. */
    @ParameterizedTest
    @EnumSource(Data.class)
    void inputGradient(Data data) {
        try (Arena arena = Arena.ofShared()) {
            Tensor dy = matrix(arena, 3, data, M, K);
            Tensor w = matrix(arena, 4, Data.NORMAL, K, N);
            double[] expected = ReferenceGemm.unquantized(dy, w.transpose(), CpuPool.shared());
            for (String backend : TestedBackends.names().toList()) {
                Fp8 fp8 = Fp8.on(backend);
                try (ScaledTensor a = fp8.quantize(dy, DType.F8_E4M3, Scaling.ACTIVATION);
                        ScaledTensor b = fp8.quantize(w, DType.F8_E4M3, Scaling.WEIGHT);
                        Tensor d = fp8.gemm(a, b.transpose(), DType.BF16)) {
                    double diff = GemmError.calcDiff(expected, widen(d));
                    assertTrue(diff > 0 && diff < LIMIT, data + " on " + backend + ": " + diff);
                }
            }
        }
    }

    /** {@code dW += dY^T * X} over two micro-batches, which accumulate in FP32. */
    @ParameterizedTest
    @EnumSource(Data.class)
    void weightGradient(Data data) {
        Scaling scaling = new Scaling(Granularity.BLOCK_128X1, ScaleFormat.F32);
        try (Arena arena = Arena.ofShared()) {
            Tensor[] dy = {matrix(arena, 5, data, 300, M), matrix(arena, 6, data, 257, M)};
            Tensor[] x = {matrix(arena, 7, Data.NORMAL, 300, N), matrix(arena, 8, Data.NORMAL, 257, N)};
            double[] expected = new double[M * N];
            for (int batch = 0; batch < 2; batch++) {
                double[] part = ReferenceGemm.unquantized(dy[batch].transpose(), x[batch].transpose(), CpuPool.shared());
                Arrays.setAll(expected, i -> expected[i] + part[i]);
            }
            for (String backend : TestedBackends.names().toList()) {
                Fp8 fp8 = Fp8.on(backend);
                Tensor dw = Layout.CONTIGUOUS.place(arena, DType.F32, M, N).view();
                dw.segment().fill((byte) 0);
                for (int batch = 0; batch < 2; batch++) {
                    try (ScaledTensor a = fp8.quantize(dy[batch], DType.F8_E4M3, scaling);
                            ScaledTensor b = fp8.quantize(x[batch], DType.F8_E4M3, scaling)) {
                        fp8.gemm(a.transpose(), b.transpose(), dw, Epilogue.NONE.withAddend(dw));
                    }
                }
                double diff = GemmError.calcDiff(expected, widen(dw));
                assertTrue(diff > 0 && diff < LIMIT, data + " on " + backend + ": " + diff);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("dev.octet.fp8.TestedBackends#names")
    void coarserScales(String backend) {
        Fp8 fp8 = Fp8.on(backend);
        try (Arena arena = Arena.ofShared()) {
            Tensor x = matrix(arena, 1, Data.NORMAL, M, K);
            Tensor w = matrix(arena, 2, Data.NORMAL, N, K);
            double[] expected = ReferenceGemm.unquantized(x, w, CpuPool.shared());
            for (Granularity g : new Granularity[] {Granularity.ROW, Granularity.TENSOR, Granularity.BLOCK_1X128}) {
                Scaling scaling = new Scaling(g, ScaleFormat.F32);
                try (ScaledTensor a = fp8.quantize(x, DType.F8_E4M3, scaling);
                        ScaledTensor b = fp8.quantize(w, DType.F8_E4M3, scaling);
                        Tensor d = fp8.gemm(a, b, DType.F32)) {
                    double diff = GemmError.calcDiff(expected, widen(d));
                    assertTrue(diff > 0 && diff < LIMIT, g + " on " + backend + ": " + diff);
                }
                // E5M2 has one bit less: four times the squared error.
                try (ScaledTensor a = fp8.quantize(x, DType.F8_E5M2, scaling);
                        ScaledTensor b = fp8.quantize(w, DType.F8_E5M2, scaling);
                        Tensor d = fp8.gemm(a, b, DType.F32)) {
                    double diff = GemmError.calcDiff(expected, widen(d));
                    assertTrue(diff > 0 && diff < 4 * LIMIT, g + " in E5M2 on " + backend + ": " + diff);
                }
            }
        }
    }

    /** The result, quantised again for the next layer, costs one more rounding. */
    @ParameterizedTest
    @MethodSource("dev.octet.fp8.TestedBackends#names")
    void quantizedOutput(String backend) {
        Fp8 fp8 = Fp8.on(backend);
        try (Arena arena = Arena.ofShared()) {
            Tensor x = matrix(arena, 1, Data.NORMAL, M, K);
            Tensor w = matrix(arena, 2, Data.NORMAL, N, K);
            double[] expected = ReferenceGemm.unquantized(x, w, CpuPool.shared());
            try (ScaledTensor a = fp8.quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                    ScaledTensor b = fp8.quantize(w, DType.F8_E4M3, Scaling.WEIGHT);
                    ScaledTensor d = ScaledTensor.allocate(DType.F8_E4M3, M, N, Scaling.ACTIVATION)) {
                fp8.gemm(a, b, d, Epilogue.NONE);
                try (Tensor wide = fp8.dequantize(d, DType.F32)) {
                    double diff = GemmError.calcDiff(expected, widen(wide));
                    assertTrue(diff > 0 && diff < 1.5 * LIMIT, backend + ": " + diff);
                }
            }
        }
    }

    /** Tokens of every magnitude that FP32 can multiply: each row for itself is as accurate as any other. */
    @ParameterizedTest
    @MethodSource("dev.octet.fp8.TestedBackends#names")
    void magnitudesOfAllExponents(String backend) {
        Fp8 fp8 = Fp8.on(backend);
        try (Arena arena = Arena.ofShared()) {
            Tensor x = Layout.CONTIGUOUS.place(arena, DType.BF16, M, K).view();
            Tensor w = matrix(arena, 2, Data.NORMAL, N, K);
            SplittableRandom r = new SplittableRandom(9);
            for (int i = 0; i < M; i++) {
                // Below 1e-4 the recipe's lower bound of the scale flushes; far above, FP32 sums would overflow.
                double size = Math.scalb(1.0, -10 + i * 120 / M);
                for (int k = 0; k < K; k++) {
                    Matrices.setFloat(x, i, k, (float) (size * r.nextGaussian()));
                }
            }
            double[] expected = ReferenceGemm.unquantized(x, w, CpuPool.shared());
            try (ScaledTensor a = fp8.quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                    ScaledTensor b = fp8.quantize(w, DType.F8_E4M3, Scaling.WEIGHT);
                    Tensor d = fp8.gemm(a, b, DType.F32)) {
                double[] actual = widen(d);
                for (int i = 0; i < M; i++) {
                    double diff = GemmError.calcDiff(Arrays.copyOfRange(expected, i * N, i * N + N),
                            Arrays.copyOfRange(actual, i * N, i * N + N));
                    assertTrue(diff > 0 && diff < LIMIT, "row " + i + " on " + backend + ": " + diff);
                }
            }
        }
    }
}
