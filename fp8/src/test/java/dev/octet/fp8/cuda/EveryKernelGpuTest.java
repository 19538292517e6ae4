package dev.octet.fp8.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.cuda.Cuda;
import dev.octet.cuda.CudaDevice;
import dev.octet.cuda.DeviceBuffer;
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
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Every kernel once, on little data, as callers launch it: what NVIDIA's sanitizer looks at, which slows kernels a
 * hundredfold. Outputs lie between guards, and both are poisoned before: what a kernel leaves out is seen as well as
 * what it writes beside.
 */
@Tag("gpu")
@Tag("sanitizer")
class EveryKernelGpuTest {
    private static final Device GPU = Device.cuda(0);
    private static final byte POISON = (byte) 0xFF; // NaN in F32, BF16 and E4M3
    private static final int GUARD = 4096;

    private final Fp8 fp8 = Fp8.auto();
    private final Fp8 host = Fp8.on("scalar");

    @BeforeAll
    static void aGpu() {
        Optional<String> why = new CudaBackend().unavailable();
        why.ifPresent(w -> System.out.println("SKIPPED: every kernel on a GPU: " + w));
        assumeTrue(why.isEmpty(), why.orElse(""));
    }

    private static Tensor gaussian(long seed, long rows, long columns) {
        SplittableRandom random = new SplittableRandom(seed);
        Tensor t = Tensor.allocate(DType.BF16, Shape.of(rows, columns));
        float[] x = new float[Math.toIntExact(rows * columns)];
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) random.nextGaussian();
        }
        t.copyFrom(x);
        return t;
    }

    private static byte[] bytes(Tensor t) {
        try (Tensor there = t.to(Device.CPU)) {
            return there.segment().toArray(ValueLayout.JAVA_BYTE);
        }
    }

    /** A tensor between guards, all of it poisoned; closing it looks at the guards. */
    private static final class Guarded implements AutoCloseable {
        private final DeviceBuffer buffer;
        private final long bytes;
        private final Tensor tensor;

        Guarded(DType type, long... shape) {
            CudaDevice gpu = Cuda.device(0);
            bytes = Shape.of(shape).elements() * type.byteSize();
            buffer = gpu.allocate(bytes + 2 * GUARD);
            gpu.currentStream().fill(buffer, POISON);
            long[] strides = new long[shape.length];
            long stride = 1;
            for (int i = shape.length - 1; i >= 0; i--) {
                strides[i] = stride;
                stride *= shape[i];
            }
            tensor = Tensor.view(buffer, type, Shape.of(shape), strides, GUARD / type.byteSize());
        }

        @Override
        public void close() {
            CudaDevice gpu = Cuda.device(0);
            byte[] all;
            try (var pinned = gpu.allocatePinned(bytes + 2 * GUARD)) {
                gpu.currentStream().copyToHost(buffer, 0, pinned.segment());
                gpu.currentStream().synchronize();
                all = pinned.segment().toArray(ValueLayout.JAVA_BYTE);
            }
            buffer.close();
            byte[] guard = new byte[GUARD];
            Arrays.fill(guard, POISON);
            assertArrayEquals(guard, Arrays.copyOf(all, GUARD), "written before the output");
            assertArrayEquals(guard, Arrays.copyOfRange(all, all.length - GUARD, all.length), "written behind it");
        }
    }

    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"F8_E4M3", "F8_E5M2"})
    void casts(DType format) {
        try (Tensor x = gaussian(1, 9, 131); Tensor there = x.to(GPU);
                Tensor expected = Tensor.allocate(format, x.shape()); Guarded codes = new Guarded(format, 9, 131);
                Guarded back = new Guarded(DType.F32, 9, 131)) {
            host.cast(x, expected, Overflow.SATURATE);
            fp8.cast(there, codes.tensor, Overflow.SATURATE);
            assertArrayEquals(bytes(expected), bytes(codes.tensor));
            fp8.cast(codes.tensor, back.tensor, Overflow.SATURATE);
            try (Tensor floats = Tensor.allocate(DType.F32, x.shape())) {
                host.cast(expected, floats, Overflow.SATURATE);
                assertArrayEquals(bytes(floats), bytes(back.tensor));
            }
        }
    }

    /** Along the rows and, as a transposed view, along the columns; ragged edges; both formats of codes and scales. */
    @ParameterizedTest
    @EnumSource(Granularity.class)
    void quantisers(Granularity granularity) {
        for (boolean turned : new boolean[] {false, true}) {
            for (DType format : new DType[] {DType.F8_E4M3, DType.F8_E5M2}) {
                for (ScaleFormat scales : ScaleFormat.values()) {
                    Scaling scaling = new Scaling(granularity, scales);
                    try (Tensor x = gaussian(2, 150, 264); Tensor there = x.to(GPU)) {
                        Tensor source = turned ? x.transpose(0, 1) : x;
                        Tensor sourceThere = turned ? there.transpose(0, 1) : there;
                        quantised(source, sourceThere, format, scaling);
                    }
                }
            }
        }
    }

    private void quantised(Tensor source, Tensor there, DType format, Scaling scaling) {
        try (ScaledTensor expected = host.quantize(source, format, scaling);
                ScaledTensor codes = fp8.quantize(there, format, scaling);
                Guarded back = new Guarded(DType.BF16, source.dim(0), source.dim(1));
                Tensor floats = Tensor.allocate(DType.BF16, source.shape())) {
            String what = format + " " + scaling;
            assertArrayEquals(bytes(expected.codes()), bytes(codes.codes()), what);
            assertArrayEquals(bytes(expected.scales()), bytes(codes.scales()), what);
            assertEquals(expected.scales().stride(0), codes.scales().stride(0), "scales in the GEMM's layout");
            host.dequantize(expected, floats);
            fp8.dequantize(codes, back.tensor);
            assertArrayEquals(bytes(floats), bytes(back.tensor), what);
        }
    }

    /** Few tokens and many, ragged in all extents, on what callers get: Hopper's own kernel, where there is one. */
    @ParameterizedTest
    @CsvSource({"1, 256, 512, BF16", "7, 130, 384, F32", "129, 272, 256, BF16", "200, 136, 640, F32",
        "33, 129, 250, BF16"})
    void products(long m, long n, long k, DType type) {
        try (Tensor x = gaussian(3, m, k); Tensor w = gaussian(4, n, k);
                ScaledTensor a = host.quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                ScaledTensor b = host.quantize(w, DType.F8_E4M3, Scaling.WEIGHT); ScaledTensor aThere = a.to(GPU);
                ScaledTensor bThere = b.to(GPU); Guarded d = new Guarded(type, m, n)) {
            fp8.gemm(aThere, bThere, d.tensor, Epilogue.NONE);
            near(ReferenceGemm.exact(a, b, CpuPool.shared()), d.tensor);
        }
    }

    private static void near(ExactResult exact, Tensor d) {
        double rounding = d.dtype() == DType.BF16 ? 0x1p-8 : 0;
        try (Tensor there = d.to(Device.CPU)) {
            float[] values = there.toFloatArray();
            for (int i = 0; i < values.length; i++) {
                double error = Math.abs(values[i] - exact.sums()[i]);
                assertTrue(error <= 0x1p-12 * exact.magnitudes()[i] + rounding * Math.abs(exact.sums()[i]),
                        "element " + i + " is " + values[i] + ", exact " + exact.sums()[i]);
            }
        }
    }

    /** Rows of no group stay as they were, which here is poisoned. */
    @Test
    void groupedProducts() {
        long[] offsets = {0, 0, 65, 130};
        try (Tensor x = gaussian(5, 140, 256); Tensor w = gaussian(6, 3 * 128, 256);
                ScaledTensor a = host.quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                ScaledTensor b = host.quantize(w, DType.F8_E4M3, Scaling.WEIGHT); ScaledTensor aThere = a.to(GPU);
                ScaledTensor bThere = b.to(GPU); Guarded d = new Guarded(DType.BF16, 140, 128)) {
            List<ScaledTensor> weights = b.split(3);
            fp8.groupedGemm(aThere.sliceRows(0, 130), offsets, bThere.split(3), d.tensor.slice(0, 0, 130));
            for (int g = 1; g < 3; g++) {
                near(ReferenceGemm.exact(a.sliceRows(offsets[g], offsets[g + 1]), weights.get(g), CpuPool.shared()),
                        d.tensor.slice(0, offsets[g], offsets[g + 1]));
            }
            byte[] rest = bytes(d.tensor.slice(0, 130, 140));
            byte[] poison = new byte[rest.length];
            Arrays.fill(poison, POISON);
            assertArrayEquals(poison, rest);
        }
    }

    /** The portable kernels, whatever the GPU: FP8 output and an addend are theirs everywhere. */
    @Test
    void portableProducts() {
        try (Tensor x = gaussian(7, 70, 256); Tensor w = gaussian(8, 140, 256); Tensor c = gaussian(9, 70, 140);
                ScaledTensor a = host.quantize(x, DType.F8_E5M2, Scaling.ACTIVATION);
                ScaledTensor b = host.quantize(w, DType.F8_E4M3, Scaling.WEIGHT); ScaledTensor aThere = a.to(GPU);
                ScaledTensor bThere = b.to(GPU); Tensor cThere = c.to(GPU);
                ScaledTensor d = ScaledTensor.allocate(GPU, DType.F8_E4M3, 70, 140, Scaling.ACTIVATION)) {
            fp8.gemm(aThere, bThere, d, Epilogue.NONE.withAddend(cThere));
            ExactResult exact = ReferenceGemm.exact(a, b, CpuPool.shared());
            float[] addend = c.toFloatArray();
            try (Tensor floats = fp8.dequantize(d, DType.F32); ScaledTensor back = d.to(Device.CPU);
                    Tensor scales = back.scales().to(Device.CPU)) {
                float[] values = floats.toFloatArray();
                for (int i = 0; i < values.length; i++) {
                    double sum = exact.sums()[i] + addend[i];
                    float scale = scales.getFloat(i / 140, i % 140 / 128);
                    // Half a step of E4M3: 1/16 of the value, or of the smallest normal value times the scale.
                    double bound = Math.max(Math.abs(sum) / 16, 0x1p-10 * scale) + 0x1p-11 * exact.magnitudes()[i];
                    assertTrue(Math.abs(values[i] - sum) <= bound * 1.001, "element " + i + ": " + values[i]);
                }
            }
        }
    }
}
