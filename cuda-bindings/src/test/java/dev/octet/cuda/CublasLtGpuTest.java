package dev.octet.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The comparator computes what it is compared with: products of small integers, exact in every format. */
class CublasLtGpuTest extends GpuTest {
    private static final int M = 64;
    private static final int N = 256;
    private static final int K = 384;
    /** Codes of 0, 1, 2, 4, -1, -2 in E4M3: the exponent's bias is 7. */
    private static final byte[] CODES = {0, 0x38, 0x40, 0x48, (byte) 0xB8, (byte) 0xC0};
    private static final float[] VALUES = {0, 1, 2, 4, -1, -2};

    @BeforeEach
    void there() {
        CublasLt.unavailable().ifPresent(why -> Assumptions.abort("SKIPPED: " + why));
    }

    @Test
    void bf16() {
        float[] x = new float[M * K];
        float[] w = new float[N * K];
        fill(x, 1);
        fill(w, 2);
        try (Tensor hx = Tensor.allocate(DType.BF16, Shape.of(M, K)); Tensor hw = Tensor.allocate(DType.BF16,
                Shape.of(N, K)); Tensor d = Tensor.allocate(Device.cuda(0), DType.F32, Shape.of(M, N))) {
            hx.copyFrom(x);
            hw.copyFrom(w);
            try (Tensor gx = hx.to(Device.cuda(0)); Tensor gw = hw.to(Device.cuda(0));
                    CublasLt lt = CublasLt.open(gpu);
                    CublasLt.Matmul matmul = lt.prepare(CublasLt.Inputs.BF16, DType.F32, M, N, K)) {
                matmul.run(gx, gw, d, gpu.currentStream());
                check(x, w, d, (i, b) -> 1, (j, b) -> 1);
                assertThrows(IllegalArgumentException.class, () -> matmul.run(gw, gx, d, gpu.currentStream()));
            }
        }
    }

    /** What a scale is. */
    private interface Scale {
        float at(int row, int block);
    }

    @Test
    void fp8WithBlocks() {
        needs(9, 0);
        Assumptions.assumeTrue(gpu.capability().equals(ComputeCapability.HOPPER), "block scales are Hopper's");
        run(CublasLt.Inputs.FP8_1X128_128X128, (i, b) -> 1 << (i + b) % 3, (j, b) -> 1 << (j / 128 + 2 * b) % 4);
    }

    @Test
    void fp8WithRows() {
        Assumptions.assumeTrue(gpu.capability().equals(ComputeCapability.HOPPER), "block scales are Hopper's");
        run(CublasLt.Inputs.FP8_1X128_1X128, (i, b) -> 1 << (i + b) % 3, (j, b) -> 1 << (j + b) % 2);
    }

    private void run(CublasLt.Inputs inputs, Scale sx, Scale sw) {
        float[] x = new float[M * K];
        float[] w = new float[N * K];
        int blocks = K / 128;
        boolean square = inputs == CublasLt.Inputs.FP8_1X128_128X128;
        int wRows = square ? N / 128 : N;
        try (Tensor hx = codes(x, M, 1); Tensor hw = codes(w, N, 2);
                Tensor hsx = scales(M, blocks, sx); Tensor hsw = square
                        ? squareScales(wRows, blocks, (r, b) -> sw.at(128 * r, b)) : scales(wRows, blocks, sw);
                Tensor gx = hx.to(Device.cuda(0)); Tensor gw = hw.to(Device.cuda(0));
                Tensor gsx = hsx.to(Device.cuda(0)); Tensor gsw = hsw.to(Device.cuda(0));
                Tensor d = Tensor.allocate(Device.cuda(0), DType.F32, Shape.of(M, N));
                CublasLt lt = CublasLt.open(gpu);
                CublasLt.Matmul matmul = lt.prepare(inputs, DType.F32, M, N, K)) {
            Tensor wView = square ? gsw.slice(1, 0, blocks) : gsw.transpose();
            matmul.run(gx, gsx.transpose(), gw, wView, d, gpu.currentStream());
            check(x, w, d, sx, sw);
        }
    }

    /** Block-major: the scales of one block of 128 for all rows lie together. */
    private static Tensor scales(int rows, int blocks, Scale s) {
        Tensor t = Tensor.allocate(DType.F32, Shape.of(blocks, rows));
        for (int b = 0; b < blocks; b++) {
            for (int r = 0; r < rows; r++) {
                t.segment().setAtIndex(ValueLayout.JAVA_FLOAT, (long) b * rows + r, s.at(r, b));
            }
        }
        return t;
    }

    /** Rows of a length that is a multiple of 4. */
    private static Tensor squareScales(int rows, int blocks, Scale s) {
        int length = (blocks + 3) / 4 * 4;
        Tensor t = Tensor.allocate(DType.F32, Shape.of(rows, length));
        for (int r = 0; r < rows; r++) {
            for (int b = 0; b < length; b++) {
                t.segment().setAtIndex(ValueLayout.JAVA_FLOAT, (long) r * length + b,
                        b < blocks ? s.at(r, b) : Float.NaN);
            }
        }
        return t;
    }

    private static Tensor codes(float[] values, int rows, long seed) {
        Tensor t = Tensor.allocate(DType.F8_E4M3, Shape.of(rows, K));
        Random random = new Random(seed);
        for (int i = 0; i < values.length; i++) {
            int v = random.nextInt(VALUES.length);
            values[i] = VALUES[v];
            t.segment().set(ValueLayout.JAVA_BYTE, i, CODES[v]);
        }
        return t;
    }

    private static void fill(float[] values, long seed) {
        Random random = new Random(seed);
        for (int i = 0; i < values.length; i++) {
            values[i] = VALUES[random.nextInt(VALUES.length)];
        }
    }

    private static void check(float[] x, float[] w, Tensor d, Scale sx, Scale sw) {
        float[] seen = d.toFloatArray();
        for (int i = 0; i < M; i++) {
            for (int j = 0; j < N; j++) {
                double sum = 0;
                for (int k = 0; k < K; k++) {
                    sum += (double) x[i * K + k] * sx.at(i, k / 128) * w[j * K + k] * sw.at(j, k / 128);
                }
                assertEquals((float) sum, seen[i * N + j], "row " + i + ", column " + j);
            }
        }
    }
}
