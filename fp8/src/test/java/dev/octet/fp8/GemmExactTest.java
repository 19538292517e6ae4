package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.fp8.GemmCase.Addend;
import dev.octet.fp8.GemmCase.Pairing;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Small integers under scales of 1: no order of additions rounds, so every backend must give the same bits, which a
 * loop over {@code long} gives too.
 */
@Tag("backend")
class GemmExactTest {
    static List<GemmCase> cases() {
        List<GemmCase> cases = new ArrayList<>();
        long[][] sizes = {{1, 1, 1}, {1, 576, 1021}, {2, 2112, 130}, {3, 129, 257}, {4, 64, 10944}, {5, 7, 13}, {8, 16, 128},
            {16, 33, 384}, {31, 65, 100}, {64, 128, 256}, {100, 200, 300}, {129, 127, 129}, {13, 40, 0}};
        for (Pairing pairing : Pairing.values()) {
            for (long[] s : sizes) {
                int i = cases.size();
                GemmCase c = GemmCase.plain(i, pairing, s[0], s[1], s[2])
                        .withFormats(i % 3 == 0 ? DType.F8_E5M2 : DType.F8_E4M3,
                                i % 4 == 0 ? DType.F8_E5M2 : DType.F8_E4M3)
                        .withLayouts(Layout.values()[i % 5], Layout.values()[i / 5 % 5], Layout.values()[i % 4])
                        .withEpilogue(i % 2 == 0 ? null : DType.BF16,
                                i % 5 == 1 ? Addend.OUTPUT : i % 5 == 2 ? Addend.BF16 : Addend.NONE, Activation.IDENTITY);
                cases.add(c);
                cases.add(c.withOutput(DType.BF16, ScaleFormat.F32));
                if (i % 5 != 1) {
                    cases.add(c.withOutput(i % 2 == 0 ? DType.F8_E4M3 : DType.F8_E5M2, ScaleFormat.values()[i % 3]));
                }
            }
        }
        return cases;
    }

    /** Codes up to 4 in magnitude and an epilogue of integers. */
    private static GemmCase.Data data(GemmCase gemm, Arena arena) {
        GemmCase.Data data = gemm.data(arena, (ar, random, layout, format, rows, columns, scaling) ->
                Matrices.integers(ar, random, layout, format, rows, columns, scaling, 4));
        round(data.epilogue().addend());
        Tensor before = data.addendBefore();
        if (before != data.epilogue().addend()) {
            round(before);
        }
        Tensor bias = data.epilogue().bias();
        if (bias != null) {
            round(bias.reshape(1, bias.dim(0)));
        }
        return data;
    }

    private static void round(Tensor t) {
        for (long i = 0; t != null && i < t.dim(0); i++) {
            for (long j = 0; j < t.dim(1); j++) {
                Matrices.setFloat(t, i, j, Math.round(t.getFloat(i, j)));
            }
        }
    }

    /** The exact values before the cast. */
    private static float[][] expected(GemmCase gemm, GemmCase.Data data) {
        int n = (int) gemm.n();
        int k = (int) gemm.k();
        long[][] b = new long[n][k];
        for (int j = 0; j < n; j++) {
            for (int t = 0; t < k; t++) {
                b[j][t] = (long) Matrices.value(data.b(), j, t);
            }
        }
        Tensor addend = data.addendBefore();
        Tensor bias = data.epilogue().bias();
        float[][] d = new float[(int) gemm.m()][n];
        for (int i = 0; i < gemm.m(); i++) {
            long[] a = new long[k];
            for (int t = 0; t < k; t++) {
                a[t] = (long) Matrices.value(data.a(), i, t);
            }
            for (int j = 0; j < n; j++) {
                long sum = 0;
                for (int t = 0; t < k; t++) {
                    sum += a[t] * b[j][t];
                }
                sum += addend == null ? 0 : (long) addend.getFloat(i, j);
                sum += bias == null ? 0 : (long) bias.reshape(1, n).getFloat(0, j);
                assertEquals(sum, (long) (float) sum, "the case itself is not exact");
                d[i][j] = sum;
            }
        }
        return d;
    }

    @ParameterizedTest
    @MethodSource("cases")
    void bits(GemmCase gemm) {
        try (Arena arena = Arena.ofShared()) {
            float[][] expected = expected(gemm, data(gemm, arena));
            for (String backend : TestedBackends.names().toList()) {
                GemmCase.Data data = data(gemm, arena);
                gemm.run(Fp8.on(backend), data);
                String where = gemm + " on backend " + backend;
                for (int i = 0; i < gemm.m(); i++) {
                    if (data.d() != null) {
                        compare(expected[i], i, data.d().view(), where);
                    } else if (data.quantized() != null) {
                        compare(expected[i], i, data.quantized(), where);
                    }
                }
            }
        }
    }

    private static void compare(float[] expected, int row, Tensor d, String where) {
        for (int j = 0; j < expected.length; j++) {
            float e = d.dtype() == DType.BF16 ? BFloat16.toFloat(BFloat16.fromFloat(expected[j])) : expected[j];
            int got = Float.floatToRawIntBits(d.getFloat(row, j));
            if (got != Float.floatToRawIntBits(e)) {
                assertEquals(e, d.getFloat(row, j), where + " [" + row + ", " + j + "]");
            }
        }
    }

    private static void compare(float[] expected, int row, ScaledTensor d, String where) {
        for (int j0 = 0; j0 < expected.length; j0 += 128) {
            float amax = 1e-4f;
            for (int j = j0; j < Math.min(expected.length, j0 + 128); j++) {
                amax = Math.max(amax, Math.abs(expected[j]));
            }
            float scale = Matrices.scale(amax, d.format(), d.scaling().format());
            assertEquals(scale, Matrices.getScale(d, row, j0 / 128), where + " scale [" + row + ", " + j0 / 128 + "]");
            for (int j = j0; j < Math.min(expected.length, j0 + 128); j++) {
                byte code = Matrices.code(expected[j], amax, scale, d.format());
                byte got = Matrices.getByte(d.codes(), row, j);
                if (code != got) {
                    assertEquals(code, got, where + " code [" + row + ", " + j + "]");
                }
            }
        }
    }
}
