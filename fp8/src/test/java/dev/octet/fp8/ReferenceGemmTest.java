package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.reference.ExactResult;
import dev.octet.fp8.reference.GemmError;
import dev.octet.fp8.reference.ReferenceGemm;
import java.lang.foreign.Arena;
import java.math.BigDecimal;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The references themselves, against decimal arithmetic without any rounding. */
class ReferenceGemmTest {
    private static final CpuPool POOL = CpuPool.shared();

    @ParameterizedTest
    @EnumSource(GemmCase.Pairing.class)
    void exactAgainstBigDecimal(GemmCase.Pairing pairing) {
        for (DType format : new DType[] {DType.F8_E4M3, DType.F8_E5M2}) {
            GemmCase c = GemmCase.plain(11, pairing, 3, 131, 261).withFormats(format, DType.F8_E4M3);
            try (Arena arena = Arena.ofShared()) {
                ScaledTensor a = c.a(arena, Matrices::random);
                ScaledTensor b = c.b(arena, Matrices::random);
                ExactResult exact = ReferenceGemm.exact(a, b, POOL);
                for (int i = 0; i < 3; i++) {
                    for (int j = 0; j < 131; j += 13) {
                        BigDecimal sum = BigDecimal.ZERO;
                        BigDecimal magnitude = BigDecimal.ZERO;
                        for (int k = 0; k < 261; k++) {
                            BigDecimal p = new BigDecimal(Matrices.value(a, i, k))
                                    .multiply(new BigDecimal(Matrices.value(b, j, k)));
                            sum = sum.add(p);
                            magnitude = magnitude.add(p.abs());
                        }
                        // Three blocks: three products and two additions round, once more with E5M2's sums.
                        double slack = magnitude.doubleValue() * 0x1p-53 * (format == DType.F8_E4M3 ? 6 : 133);
                        assertEquals(sum.doubleValue(), exact.sum(i, j), slack, c.toString());
                        assertEquals(magnitude.doubleValue(), exact.magnitudes()[i * 131 + j], slack, c.toString());
                    }
                }
            }
        }
    }

    /** The largest cancellation that E4M3 has, in one block: double is exact where FP32 is not. */
    @Test
    void blockSumsAreExact() {
        try (Arena arena = Arena.ofShared()) {
            GemmCase c = GemmCase.plain(0, GemmCase.Pairing.FORWARD, 1, 1, 128);
            ScaledTensor a = c.a(arena, (ar, r, layout, format, rows, columns, scaling) ->
                    Matrices.integers(ar, r, layout, format, rows, columns, scaling, 0));
            ScaledTensor b = c.b(arena, (ar, r, layout, format, rows, columns, scaling) ->
                    Matrices.integers(ar, r, layout, format, rows, columns, scaling, 0));
            for (int k = 0; k < 127; k++) {
                Matrices.setByte(a.codes(), 0, k, (byte) 0x7E);
                Matrices.setByte(b.codes(), 0, k, (byte) (k % 2 == 0 || k == 125 ? 0x7E : 0xFE));
            }
            Matrices.setByte(b.codes(), 0, 126, (byte) 0xFE);
            Matrices.setByte(b.codes(), 0, 124, (byte) 0xFE);
            Matrices.setByte(a.codes(), 0, 126, (byte) 0);
            Matrices.setByte(a.codes(), 0, 127, (byte) 1);
            Matrices.setByte(b.codes(), 0, 127, (byte) 1);
            // 62 + 1 positive, 62 + 1 negative products of 448 * 448, and 2^-9 * 2^-9.
            assertEquals(0x1p-18, ReferenceGemm.exact(a, b, POOL).sum(0, 0));
            try (Tensor d = ReferenceGemm.reproducible(a, b, POOL)) {
                assertEquals(0x1p-18f, d.getFloat(0, 0));
            }
        }
    }

    /** The prescribed roundings, once more and in another form. */
    @Test
    void reproducibleIsAsPrescribed() {
        GemmCase c = GemmCase.plain(5, GemmCase.Pairing.FORWARD, 4, 140, 300);
        try (Arena arena = Arena.ofShared()) {
            ScaledTensor a = c.a(arena, Matrices::random);
            ScaledTensor b = c.b(arena, Matrices::random);
            ExactResult exact = ReferenceGemm.exact(a, b, POOL);
            try (Tensor d = ReferenceGemm.reproducible(a, b, POOL); CpuPool three = new CpuPool(3);
                    Tensor again = ReferenceGemm.reproducible(a, b, three)) {
                assertArrayEquals(d.toFloatArray(), again.toFloatArray());
                for (int i = 0; i < 4; i++) {
                    for (int j = 0; j < 140; j++) {
                        float acc = 0;
                        for (int block = 0; block < 3; block++) {
                            BigDecimal sum = BigDecimal.ZERO;
                            for (int k = block * 128; k < Math.min(300, block * 128 + 128); k++) {
                                sum = sum.add(new BigDecimal(Fp8Codec.decodeE4M3(Matrices.getByte(a.codes(), i, k)))
                                        .multiply(new BigDecimal(Fp8Codec.decodeE4M3(Matrices.getByte(b.codes(), j, k)))));
                            }
                            float scale = Matrices.getScale(a, i, block) * Matrices.getScale(b, j / 128, block);
                            float scaled = scale * sum.floatValue();
                            acc += scaled;
                        }
                        assertEquals(acc, d.getFloat(i, j));
                        assertTrue(Math.abs(acc - exact.sum(i, j)) <= exact.bound(i, j));
                    }
                }
            }
        }
    }

    /** One rounding from double to BF16, where rounding to FP32 on the way would make a tie and go the wrong way. */
    @Test
    void roundsOnceToBf16() {
        try (Arena arena = Arena.ofShared()) {
            Scaling scaling = new Scaling(Granularity.TENSOR, ScaleFormat.F32);
            ScaledTensor a = Matrices.place(arena, Layout.CONTIGUOUS, DType.F8_E4M3, 1, 129, scaling);
            ScaledTensor b = Matrices.place(arena, Layout.CONTIGUOUS, DType.F8_E4M3, 1, 129, scaling);
            a.codes().segment().fill((byte) 0);
            b.codes().segment().fill((byte) 0);
            Matrices.setScale(a, 0, 0, 1);
            Matrices.setScale(b, 0, 0, 1);
            set(a, b, 0, 256, 64); // 2^14, whose BF16 neighbour is 2^14 + 2^7
            set(a, b, 1, 8, 8); // + 2^6: halfway
            Tensor d = Layout.CONTIGUOUS.place(arena, DType.BF16, 1, 1).view();
            Fp8.on("reference").gemm(a, b, d, Epilogue.NONE);
            assertEquals(0x1p14f, d.getFloat(0, 0));
            set(a, b, 128, 0x1p-9f, 0x1p-9f); // + 2^-18, which FP32 can't hold beside 2^14
            Fp8.on("reference").gemm(a, b, d, Epilogue.NONE);
            assertEquals(0x1p14f + 0x1p7f, d.getFloat(0, 0));
            set(a, b, 128, 0x1p-9f, -0x1p-9f);
            set(a, b, 2, 16, 8); // + 2^7, so that the even neighbour of the tie is above
            Fp8.on("reference").gemm(a, b, d, Epilogue.NONE);
            assertEquals(0x1p14f + 0x1p7f, d.getFloat(0, 0));
        }
    }

    private static void set(ScaledTensor a, ScaledTensor b, int k, float x, float y) {
        Matrices.setByte(a.codes(), 0, k, Fp8Codec.encodeE4M3(x, Overflow.SATURATE));
        Matrices.setByte(b.codes(), 0, k, Fp8Codec.encodeE4M3(y, Overflow.SATURATE));
    }

    @Test
    void unquantized() {
        try (Arena arena = Arena.ofShared()) {
            SplittableRandom r = new SplittableRandom(4);
            Tensor a = Matrices.gaussian(arena, r, Layout.TRANSPOSED, DType.BF16, 5, 77, 1);
            Tensor b = Matrices.gaussian(arena, r, Layout.ROW_GAPS, DType.F32, 9, 77, 1);
            double[] d = ReferenceGemm.unquantized(a, b, POOL);
            for (int i = 0; i < 5; i++) {
                for (int j = 0; j < 9; j++) {
                    BigDecimal sum = BigDecimal.ZERO;
                    for (int k = 0; k < 77; k++) {
                        sum = sum.add(new BigDecimal(a.getFloat(i, k)).multiply(new BigDecimal(b.getFloat(j, k))));
                    }
                    assertEquals(sum.doubleValue(), d[i * 9 + j], 1e-13);
                }
            }
            assertThrows(IllegalArgumentException.class, () -> ReferenceGemm.unquantized(a, b.transpose(), POOL));
        }
    }

    @Test
    void calcDiff() {
        assertEquals(0, GemmError.calcDiff(new double[] {1, -2, 3}, new double[] {1, -2, 3}));
        assertEquals(2, GemmError.calcDiff(new double[] {1, -2}, new double[] {-1, 2}));
        assertEquals(1, GemmError.calcDiff(new double[] {1, 0}, new double[] {0, 5}));
        assertEquals(1 - 2 * 1.1 / (1 + 1.21), GemmError.calcDiff(new double[] {1}, new double[] {1.1}), 1e-15);
        assertEquals(0, GemmError.calcDiff(new double[2], new double[2]));
        assertEquals(0, GemmError.calcDiff(new double[0], new double[0]));
        assertThrows(IllegalArgumentException.class, () -> GemmError.calcDiff(new double[2], new double[3]));
        try (Tensor x = Tensor.of(new float[] {1, 2}, 1, 2); Tensor y = Tensor.of(new float[] {1, 2}, 2, 1)) {
            assertEquals(0, GemmError.calcDiff(x, x));
            assertThrows(IllegalArgumentException.class, () -> GemmError.calcDiff(x, y));
        }
    }
}
