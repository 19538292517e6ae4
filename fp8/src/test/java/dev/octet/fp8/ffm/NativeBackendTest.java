package dev.octet.fp8.ffm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import dev.octet.fp8.cpu.VectorBackend;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is the native backend's own: its switch, codes written past the caches, and the edges of what it writes. */
@Tag("backend")
class NativeBackendTest {
    private static final byte GUARD = 0x5A;

    private static void assumeNative() {
        assumeTrue("native".equals(System.getProperty("octet.test.require")) && new NativeBackend().unavailable()
                .isEmpty(), "native code is not what is tested here");
    }

    @Test
    void switchedOffItSaysSo() {
        assumeTrue("false".equals(System.getProperty("octet.native")));
        assertTrue(new NativeBackend().unavailable().orElse("").contains("octet.native=false"));
        assertTrue(assertThrows(IllegalArgumentException.class, () -> Fp8.on("native")).getMessage()
                .contains("octet.native=false"));
    }

    /** On x86-64, whatever the instruction set: each was faster than the Vector API's by measurement. */
    @Test
    void byDefaultItDoesEverything() {
        assumeNative();
        NativeBackend backend = new NativeBackend();
        assumeTrue(!backend.description().startsWith("neon"), "on Arm it has to be asked for");
        assertTrue(backend.priority() > new VectorBackend().priority());
        for (String operation : new String[] {"fp8.gemm", "fp8.quantize", "fp8.requantize", "fp8.cast"}) {
            assertEquals(backend, backend.doing(operation), operation);
        }
    }

    @ParameterizedTest
    @CsvSource({"BF16, false", "BF16, true", "F32, false", "F32, true"})
    void largeMatricesHaveTheBitsOfSmallOnes(DType dtype, boolean squares) {
        assumeNative();
        long rows = 1100; // the codes are 4.3 MiB, which go past the caches; the last block is cut off
        long columns = 4096;
        Scaling scaling = new Scaling((squares ? Scaling.WEIGHT : Scaling.ACTIVATION).granularity(),
                ScaleFormat.POWER_OF_TWO);
        try (Tensor x = random(dtype, rows, columns);
                ScaledTensor fast = ScaledTensor.allocate(DType.F8_E4M3, rows, columns, scaling);
                ScaledTensor plain = ScaledTensor.allocate(DType.F8_E4M3, rows, columns, scaling)) {
            Fp8.on("native").quantize(x, fast);
            Fp8.on("scalar").quantize(x, plain);
            assertEquals(-1, fast.codes().segment().mismatch(plain.codes().segment()));
            assertArrayEquals(plain.scales().toFloatArray(), fast.scales().toFloatArray());
            try (Tensor y = Tensor.allocate(dtype, x.shape());
                    Tensor z = Tensor.allocate(dtype, x.shape())) {
                Fp8.on("native").dequantize(fast, y);
                Fp8.on("scalar").dequantize(plain, z);
                assertEquals(-1, y.segment().mismatch(z.segment()));
                Fp8.on("native").cast(fast.codes(), y, Overflow.SATURATE);
                Fp8.on("scalar").cast(plain.codes(), z, Overflow.SATURATE);
                assertEquals(-1, y.segment().mismatch(z.segment()));
                Fp8.on("native").cast(x, fast.codes(), Overflow.SATURATE);
                Fp8.on("scalar").cast(x, plain.codes(), Overflow.SATURATE);
                assertEquals(-1, fast.codes().segment().mismatch(plain.codes().segment()));
            }
        }
    }

    @Test
    void nothingBesideTheResultIsWritten() {
        assumeNative();
        Random random = new Random(7);
        Fp8 fp8 = Fp8.on("native");
        int[] sizes = {1, 2, 5, 8, 9, 17, 47, 64, 65, 97, 130};
        try (Arena arena = Arena.ofShared()) {
            for (int i = 0; i < 60; i++) {
                int m = sizes[random.nextInt(sizes.length)];
                int n = sizes[random.nextInt(sizes.length)];
                int k = 1 + random.nextInt(300);
                long before = 64 + random.nextInt(5);
                MemorySegment memory = arena.allocate(before + 4L * m * n + 64);
                memory.fill(GUARD);
                try (Tensor x = random(DType.F32, m, k);
                        Tensor w = random(DType.F32, n, k);
                        ScaledTensor a = fp8.quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                        ScaledTensor b = fp8.quantize(w, DType.F8_E4M3, Scaling.WEIGHT);
                        Tensor d = Tensor.wrap(memory.asSlice(before, 4L * m * n), DType.F32, Shape.of(m, n))) {
                    fp8.gemm(a, b, d, Epilogue.NONE);
                    for (long at = 0; at < memory.byteSize(); at++) {
                        if (at < before || at >= before + 4L * m * n) {
                            assertEquals(GUARD, memory.get(ValueLayout.JAVA_BYTE, at),
                                    m + " x " + n + " x " + k + ", byte " + at);
                        }
                    }
                }
            }
        }
    }

    /** Whatever tile a row falls into: with other rows beside it, or in another order, it has the same sums. */
    @Test
    void aRowHasTheSameBitsInEveryTile() {
        assumeNative();
        Fp8 fp8 = Fp8.on("native");
        int all = 144;
        int n = 206;
        try (Tensor x = random(DType.F32, all, 300);
                Tensor w = random(DType.F32, n, 300);
                ScaledTensor b = fp8.quantize(w, DType.F8_E4M3, Scaling.WEIGHT)) {
            float[] expected = product(fp8, x, b);
            for (int m = 9; m < all; m++) {
                try (Tensor rows = x.slice(0, 0, m)) {
                    assertArrayEquals(Arrays.copyOf(expected, m * n), product(fp8, rows, b), m + " rows");
                }
            }
        }
    }

    private static float[] product(Fp8 fp8, Tensor x, ScaledTensor b) {
        try (ScaledTensor a = fp8.quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                Tensor d = Tensor.allocate(DType.F32, Shape.of(x.shape().dim(0), b.rows()))) {
            fp8.gemm(a, b, d, Epilogue.NONE);
            return d.toFloatArray();
        }
    }

    private static Tensor random(DType dtype, long rows, long columns) {
        Random random = new Random(rows * 31 + columns);
        Tensor x = Tensor.allocate(dtype, Shape.of(rows, columns));
        MemorySegment memory = x.segment();
        for (long i = 0; i < rows * columns; i++) {
            float value = (float) random.nextGaussian();
            if (dtype == DType.F32) {
                memory.setAtIndex(ValueLayout.JAVA_FLOAT, i, value);
            } else {
                memory.setAtIndex(ValueLayout.JAVA_SHORT, i, BFloat16.fromFloat(value));
            }
        }
        return x;
    }
}
