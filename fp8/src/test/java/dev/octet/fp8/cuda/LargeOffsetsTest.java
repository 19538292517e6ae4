package dev.octet.fp8.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Rows 2^27 elements apart, so that the last lie past 2^31: in a sparse file, of which few pages are touched. */
class LargeOffsetsTest {
    private static final int ROWS = 20;
    private static final int COLUMNS = 272;
    private static final long PITCH = 1L << 27;
    private static final Scaling GRADIENT = Scaling.ACTIVATION.transposed();

    @TempDir
    Path folder;

    @BeforeAll
    static void compiler() {
        Assumptions.assumeTrue(HostBuild.unavailable().isEmpty(), "no C++ compiler");
    }

    private Tensor far(Arena arena, DType dtype, int columns) throws IOException {
        try (FileChannel file = FileChannel.open(folder.resolve(dtype + ".sparse"), StandardOpenOption.CREATE_NEW,
                StandardOpenOption.SPARSE, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            MemorySegment all = file.map(FileChannel.MapMode.READ_WRITE, 0, ROWS * PITCH * dtype.byteSize(), arena);
            return Tensor.wrap(all, dtype, Shape.of(ROWS, PITCH)).slice(1, 0, columns);
        }
    }

    @Test
    void kernelsReachThem() throws IOException {
        SplittableRandom random = new SplittableRandom(1);
        float[] values = new float[ROWS * COLUMNS];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        Fp8 reference = Fp8.on("reference");
        try (Arena arena = Arena.ofConfined()) {
            Tensor codes = far(arena, DType.F8_E4M3, COLUMNS);
            Tensor d = far(arena, DType.F32, COLUMNS);
            Tensor x = Tensor.of(values, ROWS, COLUMNS);
            ScaledTensor w = reference.quantize(Tensor.of(values, ROWS, COLUMNS), DType.F8_E4M3, Scaling.WEIGHT);
            for (Launcher launcher : new Launcher[] {new HostLauncher(),
                new EmulatedLauncher(HopperEmulation.Timing.LAZY)}) {
                for (Scaling scaling : new Scaling[] {Scaling.ACTIVATION, GRADIENT}) {
                    ScaledTensor near = reference.quantize(x, DType.F8_E4M3, scaling);
                    ScaledTensor a = new ScaledTensor(codes, near.scales(), scaling);
                    CudaQuantizer.quantize(launcher, x, a);
                    Tensor back = Tensor.allocate(DType.F32, Shape.of(ROWS, COLUMNS));
                    CudaQuantizer.dequantize(launcher, a, back);
                    assertArrayEquals(reference.dequantize(near, DType.F32).toFloatArray(), back.toFloatArray());
                    boolean gradient = scaling == GRADIENT;
                    long n = gradient ? COLUMNS : ROWS;
                    Tensor expected = Tensor.allocate(DType.F32, Shape.of(gradient ? COLUMNS : ROWS, n));
                    CudaGemm.gemm(launcher, gradient ? near.transpose() : near, gradient ? near.transpose() : w,
                            expected, Epilogue.NONE);
                    // K is far apart for a gradient, rows of A and D are else.
                    Tensor result = gradient ? Tensor.allocate(DType.F32, expected.shape()) : d.slice(1, 0, n);
                    CudaGemm.gemm(launcher, gradient ? a.transpose() : a, gradient ? a.transpose() : w, result,
                            Epilogue.NONE);
                    assertArrayEquals(expected.toFloatArray(), result.toFloatArray());
                }
            }
        }
    }
}
