package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.GemmCase.Pairing;
import dev.octet.fp8.reference.ExactResult;
import dev.octet.fp8.reference.ReferenceGemm;
import java.lang.foreign.Arena;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.openblas.global.openblas;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * LibTorch as an oracle that shares no code with ours: it decodes the bytes as its own FP8 types, spreads the scales and
 * multiplies in double.
 */
class GemmLibTorchTest {
    /** Its own threads wait in loops, which costs more than they bring to matrices this small. */
    @BeforeAll
    static void oneThread() {
        torch.set_num_threads(1);
        openblas.blas_set_num_threads(1);
    }

    private static Tensor decode(ScaledTensor t) {
        long rows = t.rows();
        long columns = t.columns();
        byte[] codes = new byte[(int) (rows * columns)];
        for (int i = 0; i < codes.length; i++) {
            codes[i] = Matrices.getByte(t.codes(), i / columns, i % columns);
        }
        ScalarType type = t.format() == DType.F8_E4M3 ? ScalarType.Float8_e4m3fn : ScalarType.Float8_e5m2;
        Tensor bytes = torch.from_blob(new BytePointer(codes), new long[] {rows, columns},
                new TensorOptions(ScalarType.Byte));
        return bytes.view(type).to(ScalarType.Double).mul(scales(t));
    }

    /** Spreads scales to {@code [rows, columns]}. */
    private static Tensor scales(ScaledTensor t) {
        long down = t.scales().dim(0);
        long across = t.scales().dim(1);
        double[] values = new double[(int) (down * across)];
        for (int i = 0; i < values.length; i++) {
            values[i] = Matrices.getScale(t, i / across, i % across);
        }
        Tensor grid = torch.from_blob(new DoublePointer(values), new long[] {down, across},
                new TensorOptions(ScalarType.Double));
        Granularity g = t.scaling().granularity();
        return spread(spread(grid, 0, g.blockRows(), t.rows()), 1, g.blockColumns(), t.columns());
    }

    private static Tensor spread(Tensor grid, int dim, long block, long extent) {
        long times = Math.min(block, extent);
        Tensor spread = torch.repeat_interleave(grid, times, new LongOptional(dim),
                new LongOptional());
        return spread.narrow(dim, 0, extent);
    }

    @ParameterizedTest
    @EnumSource(Pairing.class)
    void matmulOfTheDecodedMatrices(Pairing pairing) {
        for (DType formatA : new DType[] {DType.F8_E4M3, DType.F8_E5M2}) {
            for (ScaleFormat scales : new ScaleFormat[] {ScaleFormat.F32, ScaleFormat.E8M0}) {
                GemmCase gemm = new GemmCase(21, pairing, 37, 200, 700, formatA, DType.F8_E4M3, scales, scales,
                        Layout.CONTIGUOUS, Layout.CONTIGUOUS, DType.F32, ScaleFormat.F32, Layout.CONTIGUOUS, null,
                        GemmCase.Addend.NONE, Activation.IDENTITY);
                compare(gemm);
            }
        }
    }

    @SuppressWarnings("try") // the scope only has to close
    private static void compare(GemmCase gemm) {
        try (Arena arena = Arena.ofShared(); PointerScope scope = new PointerScope()) {
            GemmCase.Data data = gemm.data(arena, Matrices::random);
            Tensor product = decode(data.a()).matmul(decode(data.b()).t()).contiguous();
            double[] torchSums = new double[(int) (gemm.m() * gemm.n())];
            product.data_ptr_double().get(torchSums);
            ExactResult exact = ReferenceGemm.exact(data.a(), data.b(), CpuPool.shared());
            for (String backend : TestedBackends.names().toList()) {
                gemm.run(Fp8.on(backend), data);
                for (int i = 0; i < torchSums.length; i++) {
                    int row = i / (int) gemm.n();
                    int column = i % (int) gemm.n();
                    // LibTorch rounds each product and each of K additions to double.
                    double theirs = (gemm.k() + 3) * 0x1p-53 * exact.magnitudes()[i];
                    double distance = Math.abs(data.d().view().getFloat(row, column) - torchSums[i]);
                    assertTrue(distance <= exact.bound(row, column) + theirs,
                            gemm + " on backend " + backend + " [" + row + ", " + column + "]: " + distance);
                    assertTrue(Math.abs(exact.sum(row, column) - torchSums[i]) <= 2 * theirs, gemm.toString());
                }
            }
        }
    }
}
