package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.GemmCase.Addend;
import dev.octet.fp8.GemmCase.Pairing;
import dev.octet.fp8.reference.ExactResult;
import dev.octet.fp8.reference.ReferenceGemm;
import java.lang.foreign.Arena;
import java.util.function.BiPredicate;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** NaN, infinities, signed zeros and subnormal codes. */
@Tag("backend")
class GemmNanTest {
    private static final int M = 9;
    private static final int N = 263;
    private static final int K = 300;

    static Stream<String> backends() {
        return TestedBackends.names();
    }

    /** Poisons operands, runs, and compares with the exact result and with where NaN must be. */
    private static void poison(String backend, GemmCase gemm, Consumer<GemmCase.Data> poison,
            BiPredicate<Integer, Integer> nan) {
        try (Arena arena = Arena.ofShared()) {
            GemmCase.Data data = gemm.data(arena, Matrices::random);
            poison.accept(data);
            ExactResult exact = ReferenceGemm.exact(data.a(), data.b(), CpuPool.shared());
            gemm.run(Fp8.on(backend), data);
            for (int i = 0; i < gemm.m(); i++) {
                for (int j = 0; j < gemm.n(); j++) {
                    double value = data.d() != null ? data.d().view().getFloat(i, j)
                            : Matrices.value(data.quantized(), i, j);
                    if (nan.test(i, j) != Double.isNaN(value)) {
                        assertEquals(nan.test(i, j) ? "NaN" : "a number", Double.toString(value),
                                gemm + " on backend " + backend + " [" + i + ", " + j + "]");
                    }
                }
            }
            new GemmCheck(gemm, backend, data, exact).check();
        }
    }

    private static GemmCase gemm(Pairing pairing) {
        return GemmCase.plain(7, pairing, M, N, K);
    }

    @ParameterizedTest
    @MethodSource("backends")
    void nanCodeInAPoisonsItsRow(String backend) {
        for (DType format : new DType[] {DType.F8_E4M3, DType.F8_E5M2}) {
            for (int code : format == DType.F8_E4M3 ? new int[] {0x7F, 0xFF} : new int[] {0x7D, 0x7E, 0x7F, 0xFD, 0xFF}) {
                for (Pairing pairing : Pairing.values()) {
                    for (int k : new int[] {0, 129, K - 1}) {
                        poison(backend, gemm(pairing).withFormats(format, DType.F8_E4M3),
                                data -> Matrices.setByte(data.a().codes(), 4, k, (byte) code), (i, j) -> i == 4);
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("backends")
    void nanCodeInBPoisonsItsColumn(String backend) {
        for (DType format : new DType[] {DType.F8_E4M3, DType.F8_E5M2}) {
            for (Pairing pairing : Pairing.values()) {
                for (int column : new int[] {0, 130, N - 1}) {
                    for (long m : new long[] {1, 4, M}) {
                        GemmCase c = GemmCase.plain(7, pairing, m, N, K).withFormats(DType.F8_E4M3, format);
                        poison(backend, c, data -> Matrices.setByte(data.b().codes(), column, K - 1, (byte) 0x7F),
                                (i, j) -> j == column);
                        poison(backend, c.withOutput(DType.BF16, ScaleFormat.F32),
                                data -> Matrices.setByte(data.b().codes(), column, 128, (byte) 0xFF),
                                (i, j) -> j == column);
                    }
                }
            }
        }
    }

    /** A zero code times a NaN code is NaN: sparsity must not hide it. */
    @ParameterizedTest
    @MethodSource("backends")
    void zerosDoNotHideNan(String backend) {
        poison(backend, gemm(Pairing.FORWARD), data -> {
            data.b().codes().segment().fill((byte) 0);
            Matrices.setByte(data.a().codes(), 2, 77, (byte) 0x7F);
        }, (i, j) -> i == 2);
        poison(backend, gemm(Pairing.INPUT_GRADIENT), data -> {
            data.a().codes().segment().fill((byte) 0x80);
            Matrices.setByte(data.b().codes(), 200, 299, (byte) 0xFF);
        }, (i, j) -> j == 200);
    }

    @ParameterizedTest
    @MethodSource("backends")
    void nanScalePoisonsItsBlock(String backend) {
        for (ScaleFormat format : ScaleFormat.values()) {
            GemmCase c = new GemmCase(7, Pairing.FORWARD, M, N, K, DType.F8_E4M3, DType.F8_E4M3, format, format,
                    Layout.CONTIGUOUS, Layout.CONTIGUOUS, DType.F32, format, Layout.CONTIGUOUS, null, Addend.NONE,
                    Activation.IDENTITY);
            poison(backend, c, data -> Matrices.setScale(data.a(), 8, 2, Float.NaN), (i, j) -> i == 8);
            poison(backend, c, data -> Matrices.setScale(data.b(), 1, 0, Float.NaN), (i, j) -> j >= 128 && j < 256);
            poison(backend, c, data -> Matrices.setScale(data.b(), 2, 2, Float.NaN), (i, j) -> j >= 256);
        }
        poison(backend, gemm(Pairing.ROWS), data -> Matrices.setScale(data.b(), 5, 0, Float.NaN), (i, j) -> j == 5);
        poison(backend, gemm(Pairing.TENSORS), data -> Matrices.setScale(data.a(), 0, 0, Float.NaN), (i, j) -> true);
        poison(backend, gemm(Pairing.WEIGHT_GRADIENT), data -> Matrices.setScale(data.b(), 262, 1, Float.NaN),
                (i, j) -> j == 262);
    }

    /** Quantised output: the NaN is in the group that holds it, and nowhere else. */
    @ParameterizedTest
    @MethodSource("backends")
    void nanMakesItsWholeGroupOfTheQuantizedOutputNan(String backend) {
        for (ScaleFormat format : ScaleFormat.values()) {
            for (DType output : new DType[] {DType.F8_E4M3, DType.F8_E5M2}) {
                poison(backend, gemm(Pairing.FORWARD).withOutput(output, format),
                        data -> Matrices.setByte(data.b().codes(), 140, 3, (byte) 0x7F), (i, j) -> j >= 128 && j < 256);
            }
        }
    }

    /** An infinite group as the quantiser leaves it: scale +Infinity, NaN where the infinities were, zeros elsewhere. */
    @ParameterizedTest
    @MethodSource("backends")
    void infiniteGroupGivesNan(String backend) {
        poison(backend, gemm(Pairing.FORWARD), data -> {
            Matrices.setScale(data.a(), 3, 1, Float.POSITIVE_INFINITY);
            for (int k = 128; k < 256; k++) {
                Matrices.setByte(data.a().codes(), 3, k, (byte) (k == 150 ? 0x7F : 0));
            }
        }, (i, j) -> i == 3);
        // Zeros alone, under an infinite scale, are 0 * Infinity.
        poison(backend, gemm(Pairing.ACTIVATIONS), data -> {
            Matrices.setScale(data.b(), 3, 2, Float.POSITIVE_INFINITY);
            for (int k = 256; k < K; k++) {
                Matrices.setByte(data.b().codes(), 3, k, (byte) 0);
            }
        }, (i, j) -> j == 3);
    }

    /** E5M2 has infinities: they follow IEEE arithmetic. */
    @ParameterizedTest
    @MethodSource("backends")
    void infiniteCodes(String backend) {
        try (Arena arena = Arena.ofShared()) {
            GemmCase c = GemmCase.plain(1, Pairing.FORWARD, 6, 130, 200).withFormats(DType.F8_E5M2, DType.F8_E4M3);
            GemmCase.Data data = c.data(arena, (ar, r, layout, format, rows, columns, scaling) ->
                    Matrices.integers(ar, r, layout, format, rows, columns, scaling, 0));
            for (int j = 0; j < 130; j++) {
                for (int k = 0; k < 200; k++) {
                    Matrices.setByte(data.b().codes(), j, k, (byte) (j == 7 ? 0xB8 : j == 8 ? 0 : 0x38)); // -1, 0, 1
                }
            }
            Matrices.setByte(data.a().codes(), 1, 130, (byte) 0x7C);
            Matrices.setByte(data.a().codes(), 2, 3, (byte) 0xFC);
            Matrices.setByte(data.a().codes(), 3, 3, (byte) 0xFC);
            Matrices.setByte(data.a().codes(), 3, 4, (byte) 0x7C);
            Matrices.setByte(data.a().codes(), 4, 3, (byte) 0xFC); // in another block than its counterpart
            Matrices.setByte(data.a().codes(), 4, 160, (byte) 0x7C);
            c.run(Fp8.on(backend), data);
            Tensor d = data.d().view();
            float inf = Float.POSITIVE_INFINITY;
            for (int j = 0; j < 130; j++) {
                float sign = j == 7 ? -1 : j == 8 ? Float.NaN : 1;
                assertEquals(inf * sign, d.getFloat(1, j), backend);
                assertEquals(-inf * sign, d.getFloat(2, j), backend);
                assertEquals(Float.NaN, d.getFloat(3, j), backend);
                assertEquals(Float.NaN, d.getFloat(4, j), backend);
                assertEquals(0, d.getFloat(5, j), backend);
            }
        }
    }

    /** Sums start at +0, so that even a sum of negative zeros is +0. */
    @ParameterizedTest
    @MethodSource("backends")
    void zerosAreZero(String backend) {
        try (Arena arena = Arena.ofShared()) {
            for (Pairing pairing : Pairing.values()) {
                GemmCase c = gemm(pairing);
                GemmCase.Data data = c.data(arena, Matrices::random);
                data.a().codes().segment().fill((byte) 0x80);
                for (int k = 0; k < K; k += 3) {
                    Matrices.setByte(data.a().codes(), 1, k, (byte) 0);
                }
                c.run(Fp8.on(backend), data);
                for (int i = 0; i < M; i++) {
                    for (int j = 0; j < N; j++) {
                        assertEquals(0, Float.floatToRawIntBits(data.d().view().getFloat(i, j)), c + " on " + backend);
                    }
                }
            }
        }
    }

    /** Subnormal codes are numbers like others: none is flushed, down to the smallest product under small scales. */
    @ParameterizedTest
    @MethodSource("backends")
    void subnormalCodes(String backend) {
        for (DType a : new DType[] {DType.F8_E4M3, DType.F8_E5M2}) {
            for (DType b : new DType[] {DType.F8_E4M3, DType.F8_E5M2}) {
                for (float scale : new float[] {1, 0x1p-40f, 0x1p40f}) {
                    try (Arena arena = Arena.ofShared()) {
                        GemmCase c = GemmCase.plain(3, Pairing.FORWARD, 5, 70, 260).withFormats(a, b);
                        GemmCase.Data data = c.data(arena, Matrices::random);
                        smallest(data.a(), scale);
                        smallest(data.b(), scale);
                        c.run(Fp8.on(backend), data);
                        ExactResult exact = ReferenceGemm.exact(data.a(), data.b(), CpuPool.shared());
                        for (int i = 0; i < 5; i++) {
                            for (int j = 0; j < 70; j++) {
                                double e = exact.sum(i, j);
                                assertTrue(e > 0 && e == (float) e, "the case itself is not exact");
                                assertEquals((float) e, data.d().view().getFloat(i, j), c + " on backend " + backend);
                            }
                        }
                    }
                }
            }
        }
    }

    private static void smallest(ScaledTensor t, float scale) {
        for (int i = 0; i < t.rows(); i++) {
            for (int k = 0; k < t.columns(); k++) {
                Matrices.setByte(t.codes(), i, k, (byte) (1 + (i + k) % 3));
            }
        }
        for (int i = 0; i < t.scales().dim(0); i++) {
            for (int k = 0; k < t.scales().dim(1); k++) {
                Matrices.setScale(t, i, k, scale);
            }
        }
    }

    /** The largest scales are numbers like others: decoding must not push them over the edge. */
    @ParameterizedTest
    @MethodSource("backends")
    void largestScales(String backend) {
        for (DType format : new DType[] {DType.F8_E4M3, DType.F8_E5M2}) {
            for (Pairing pairing : new Pairing[] {Pairing.FORWARD, Pairing.INPUT_GRADIENT, Pairing.ROWS}) {
                for (long m : new long[] {1, M}) {
                    GemmCase c = GemmCase.plain(8, pairing, m, N, K).withFormats(format, DType.F8_E4M3);
                    poison(backend, c, data -> {
                        for (int i = 0; i < m; i++) {
                            for (int k = 0; k < data.a().scales().dim(1); k++) {
                                Matrices.setScale(data.a(), i, k, 0x1.4p-130f);
                            }
                        }
                        Matrices.setScale(data.b(), 1, 0, Float.MAX_VALUE);
                    }, (i, j) -> false);
                }
            }
        }
    }

    /** NaN and infinity in the epilogue's tensors go where arithmetic takes them. */
    @ParameterizedTest
    @MethodSource("backends")
    void epilogueNan(String backend) {
        for (DType output : new DType[] {DType.F32, DType.BF16}) {
            GemmCase c = gemm(Pairing.FORWARD).withOutput(output, ScaleFormat.F32)
                    .withEpilogue(DType.F32, Addend.F32, Activation.SILU);
            poison(backend, c, data -> {
                Matrices.setFloat(data.epilogue().addend(), 2, 9, Float.NaN);
                Matrices.setFloat(data.epilogue().addend(), 2, 10, Float.POSITIVE_INFINITY);
                Matrices.setFloat(data.epilogue().addend(), 2, 11, Float.NEGATIVE_INFINITY); // -Inf / (1 + Inf)
                Matrices.setFloat(data.epilogue().bias().reshape(1, N), 0, 262, Float.NaN);
            }, (i, j) -> i == 2 && (j == 9 || j == 11) || j == 262);
        }
    }

    /** Old values of the output play no part, unless it is the addend. */
    @ParameterizedTest
    @MethodSource("backends")
    void outputIsOverwrittenNotAdded(String backend) {
        try (Arena arena = Arena.ofShared()) {
            GemmCase c = gemm(Pairing.FORWARD);
            GemmCase.Data data = c.data(arena, Matrices::random);
            c.run(Fp8.on(backend), data);
            float[] first = data.d().view().toFloatArray();
            c.run(Fp8.on(backend), data);
            assertArrayEquals(first, data.d().view().toFloatArray(), 0, backend);
            for (float x : first) {
                assertFalse(Float.isNaN(x));
            }
        }
    }
}
