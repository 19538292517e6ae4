package dev.octet.fp8.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.cuda.Cuda;
import dev.octet.cuda.CudaDevice;
import dev.octet.cuda.CudaStream;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import dev.octet.fp8.reference.ExactResult;
import dev.octet.fp8.reference.ReferenceGemm;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What only tensors on a GPU can show: large offsets, streams, errors, the same bits again. */
@Tag("gpu")
class GpuTest {
    private static final Device GPU = Device.cuda(0);

    private final Fp8 fp8 = Fp8.auto();

    @BeforeAll
    static void aGpu() {
        Optional<String> why = new CudaBackend().unavailable();
        why.ifPresent(w -> System.out.println("Tests on the GPU are skipped: " + w));
        assumeTrue(why.isEmpty(), why.orElse(""));
    }

    private static Tensor gaussian(long seed, long rows, long columns) {
        SplittableRandom random = new SplittableRandom(seed);
        try (Tensor host = Tensor.allocate(DType.BF16, Shape.of(rows, columns))) {
            float[] x = new float[Math.toIntExact(rows * columns)];
            for (int i = 0; i < x.length; i++) {
                x[i] = (float) random.nextGaussian();
            }
            host.copyFrom(x);
            return host.to(GPU);
        }
    }

    private static byte[] bytes(Tensor t) {
        try (Tensor host = t.to(Device.CPU)) {
            return host.segment().toArray(ValueLayout.JAVA_BYTE);
        }
    }

    private byte[] product(ScaledTensor a, ScaledTensor b) {
        try (Tensor d = fp8.gemm(a, b, DType.BF16)) {
            return bytes(d);
        }
    }

    @Test
    void theSameBitsOnEveryRun() {
        try (Tensor x = gaussian(1, 300, 2048); Tensor w = gaussian(2, 1000, 2048);
                ScaledTensor a = fp8.quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                ScaledTensor b = fp8.quantize(w, DType.F8_E4M3, Scaling.WEIGHT)) {
            byte[] codes = bytes(a.codes());
            byte[] first = product(a, b);
            for (int run = 0; run < 50; run++) {
                fp8.quantize(x, a);
                assertArrayEquals(codes, bytes(a.codes()));
                assertArrayEquals(first, product(a, b), "run " + run);
            }
        }
    }

    /**
     * What callers get: on Hopper a kernel that adds up in tensor cores, with about 14 bits within a block of K, else
     * one that is far within this bound.
     */
    @ParameterizedTest
    @CsvSource({"1, 576, 1024", "64, 2112, 1536", "130, 257, 512", "300, 384, 2048", "129, 130, 1000"})
    void theGemmThatCallersGet(long m, long n, long k) {
        try (Tensor x = gaussian(10, m, k); Tensor w = gaussian(11, n, k);
                ScaledTensor a = fp8.quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                ScaledTensor b = fp8.quantize(w, DType.F8_E4M3, Scaling.WEIGHT); Tensor d = fp8.gemm(a, b, DType.F32);
                ScaledTensor hostA = a.to(Device.CPU); ScaledTensor hostB = b.to(Device.CPU)) {
            ExactResult exact = ReferenceGemm.exact(hostA, hostB, CpuPool.shared());
            float[] values = d.toFloatArray();
            for (int i = 0; i < values.length; i++) {
                double error = Math.abs(values[i] - exact.sums()[i]);
                assertTrue(error <= 0x1p-12 * exact.magnitudes()[i],
                        "element " + i + " is " + values[i] + ", exact " + exact.sums()[i]);
            }
        }
    }

    @Test
    void twoStreamsAtOnce() {
        CudaDevice gpu = Cuda.device(0);
        try (Tensor x = gaussian(3, 513, 1536); Tensor w = gaussian(4, 2112, 1536);
                ScaledTensor a = fp8.quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                ScaledTensor b = fp8.quantize(w, DType.F8_E4M3, Scaling.WEIGHT);
                CudaStream one = gpu.newStream(); CudaStream other = gpu.newStream()) {
            byte[] expected = product(a, b);
            List<Tensor> outputs = new ArrayList<>();
            for (int i = 0; i < 16; i++) {
                outputs.add(Tensor.allocate(GPU, DType.BF16, Shape.of(513, 2112)));
            }
            gpu.synchronize();
            for (int i = 0; i < outputs.size(); i++) {
                Tensor d = outputs.get(i);
                (i % 2 == 0 ? one : other).run(() -> fp8.gemm(a, b, d, Epilogue.NONE));
            }
            one.synchronize();
            other.synchronize();
            for (Tensor d : outputs) {
                assertArrayEquals(expected, bytes(d));
                d.close();
            }
        }
    }

    /**
     * The last rows of a matrix of more than 2^31 elements have the bits that they have by themselves. Their scales
     * begin at a multiple of 16 bytes, so that both products are the same kernel's.
     */
    @Test
    void offsetsBeyond31Bits() {
        long columns = 16384;
        long rows = (1L << 31) / columns + 72;
        assumeTrue(Cuda.device(0).freeMemory() > 5 * rows * columns, "not enough memory on the GPU");
        try (Tensor x = Tensor.allocate(GPU, DType.BF16, Shape.of(rows, columns));
                Tensor last = gaussian(5, 64, columns); Tensor w = gaussian(6, 130, columns)) {
            x.slice(0, rows - 64, rows).copyFrom(last);
            try (ScaledTensor all = fp8.quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                    ScaledTensor alone = fp8.quantize(last, DType.F8_E4M3, Scaling.ACTIVATION);
                    ScaledTensor b = fp8.quantize(w, DType.F8_E4M3, Scaling.WEIGHT)) {
                ScaledTensor end = all.sliceRows(rows - 64, rows);
                assertArrayEquals(bytes(alone.codes()), bytes(end.codes()));
                assertArrayEquals(product(alone, b), product(end, b));
            }
        }
    }

    /** The last elements of an output of more than 2^31 have the bits that they have in a small one. */
    @Test
    void outputsBeyond31Bits() {
        long columns = 32768;
        long rows = (1L << 31) / columns + 70;
        assumeTrue(Cuda.device(0).freeMemory() > 4 * rows * columns, "not enough memory on the GPU");
        try (Tensor x = Tensor.allocate(GPU, DType.BF16, Shape.of(rows, 128)); Tensor last = gaussian(12, 64, 128);
                Tensor w = gaussian(13, columns, 128)) {
            x.slice(0, rows - 64, rows).copyFrom(last);
            try (ScaledTensor a = fp8.quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                    ScaledTensor alone = fp8.quantize(last, DType.F8_E4M3, Scaling.ACTIVATION);
                    ScaledTensor b = fp8.quantize(w, DType.F8_E4M3, Scaling.WEIGHT);
                    Tensor d = fp8.gemm(a, b, DType.BF16)) {
                // Another number of rows may take another kernel: then sums are equal, and their order is not.
                try (Tensor small = fp8.gemm(alone, b, DType.BF16);
                        Tensor end = d.slice(0, rows - 64, rows).to(Device.CPU)) {
                    float[] expected = small.toFloatArray();
                    float[] values = end.toFloatArray();
                    for (int i = 0; i < values.length; i++) {
                        assertEquals(expected[i], values[i], 0.05f + Math.abs(expected[i]) * 0x1p-6f, "element " + i);
                    }
                }
                try (Tensor codes = Tensor.allocate(GPU, DType.F8_E4M3, d.shape());
                        Tensor end = Tensor.allocate(GPU, DType.F8_E4M3, Shape.of(64, columns))) {
                    fp8.cast(d, codes, Overflow.SATURATE);
                    fp8.cast(d.slice(0, rows - 64, rows), end, Overflow.SATURATE);
                    assertArrayEquals(bytes(end), bytes(codes.slice(0, rows - 64, rows)));
                }
            }
        }
    }

    /** One scale for a matrix takes memory of its stream between two kernels. */
    @Test
    void twoStreamsQuantiseAtOnce() {
        CudaDevice gpu = Cuda.device(0);
        Scaling scaling = new Scaling(Granularity.TENSOR, ScaleFormat.F32);
        try (Tensor x = gaussian(14, 700, 1536); Tensor y = gaussian(15, 1536, 700);
                ScaledTensor ofX = fp8.quantize(x, DType.F8_E4M3, scaling);
                ScaledTensor ofY = fp8.quantize(y, DType.F8_E4M3, scaling);
                CudaStream one = gpu.newStream(); CudaStream other = gpu.newStream()) {
            List<ScaledTensor> results = new ArrayList<>();
            for (int i = 0; i < 32; i++) {
                Tensor source = i % 2 == 0 ? x : y;
                results.add(ScaledTensor.allocate(GPU, DType.F8_E4M3, source.dim(0), source.dim(1), scaling));
            }
            gpu.synchronize();
            for (int i = 0; i < results.size(); i++) {
                ScaledTensor q = results.get(i);
                Tensor source = i % 2 == 0 ? x : y;
                (i % 2 == 0 ? one : other).run(() -> fp8.quantize(source, q));
            }
            one.synchronize();
            other.synchronize();
            for (int i = 0; i < results.size(); i++) {
                ScaledTensor expected = i % 2 == 0 ? ofX : ofY;
                assertArrayEquals(bytes(expected.codes()), bytes(results.get(i).codes()), "run " + i);
                assertArrayEquals(bytes(expected.scales()), bytes(results.get(i).scales()), "run " + i);
                results.get(i).close();
            }
        }
    }

    /** After it no operation waits for a compiler, and a second one finds nothing to do. */
    @Test
    void aWarmUpLoadsAllKernels() {
        fp8.warmUp(GPU);
        CudaDevice gpu = Cuda.device(0);
        CudaDevice.WarmUp again = gpu.warmUp(new Fp8KernelCatalog().sources(gpu.capability()));
        assertEquals(0, again.loaded());
    }

    @Test
    void errorsLeaveTheContextUsable() {
        try (Tensor x = gaussian(7, 65, 256); Tensor w = gaussian(8, 130, 256);
                ScaledTensor a = fp8.quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                ScaledTensor b = fp8.quantize(w, DType.F8_E4M3, Scaling.WEIGHT)) {
            byte[] expected = product(a, b);
            try (Tensor wrong = Tensor.allocate(GPU, DType.BF16, Shape.of(65, 131));
                    Tensor elsewhere = Tensor.allocate(DType.BF16, Shape.of(65, 130))) {
                assertThrows(IllegalArgumentException.class, () -> fp8.gemm(a, b, wrong, Epilogue.NONE));
                assertThrows(IllegalArgumentException.class, () -> fp8.gemm(a, b, elsewhere, Epilogue.NONE));
            }
            Tensor closed = Tensor.allocate(GPU, DType.BF16, Shape.of(65, 130));
            closed.close();
            assertThrows(IllegalStateException.class, () -> fp8.gemm(a, b, closed, Epilogue.NONE));
            assertThrows(OutOfMemoryError.class,
                    () -> Tensor.allocate(GPU, DType.F32, Shape.of(1L << 20, 1L << 20)));
            assertArrayEquals(expected, product(a, b));
        }
    }

    @Test
    void nothingStaysOpen() {
        CudaDevice gpu = Cuda.device(0);
        try (Tensor x = gaussian(9, 64, 256)) {
            Runnable work = () -> {
                try (ScaledTensor a = fp8.quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                        Tensor back = fp8.dequantize(a, DType.F32); Tensor d = fp8.gemm(a, a, DType.F32)) {
                    assertEquals(64 * 256, back.shape().elements());
                    assertEquals(64 * 64, d.shape().elements());
                }
            };
            work.run();
            List<String> before = gpu.openResources();
            for (int i = 0; i < 10; i++) {
                work.run();
            }
            assertEquals(before, gpu.openResources());
        }
    }
}
