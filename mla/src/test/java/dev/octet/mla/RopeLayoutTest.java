package dev.octet.mla;

import static dev.octet.mla.RopeLayout.HALVES;
import static dev.octet.mla.RopeLayout.INTERLEAVED;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.mla.TestTensor.Layout;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Between the layouts, both ways: cached keys, queries, and the weights that make them. */
class RopeLayoutTest {
    /** Where value {@code i} of the interleaved order stands among halves. */
    private static int inHalves(int i, int dim) {
        return i / 2 + i % 2 * (dim / 2);
    }

    @Test
    void evensComeBeforeOdds() {
        try (Tensor x = Tensor.of(new float[] {0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15}, 2, 6);
                Tensor halves = INTERLEAVED.convert(x, HALVES); Tensor back = HALVES.convert(x, INTERLEAVED)) {
            assertArrayEquals(new float[] {0, 2, 4, 1, 3, 5, 10, 12, 14, 11, 13, 15}, halves.toFloatArray());
            assertArrayEquals(new float[] {0, 3, 1, 4, 2, 5, 10, 13, 11, 14, 12, 15}, back.toFloatArray());
        }
    }

    @ParameterizedTest
    @EnumSource(Layout.class)
    void queriesOfAnyLayoutThereAndBack(Layout layout) {
        SplittableRandom random = new SplittableRandom(1);
        for (DType type : new DType[] {DType.F32, DType.BF16}) {
            for (long[] size : new long[][] {{3, 5, 64}, {1, 1, 2}, {0, 4, 8}, {2, 3, 0}}) {
                try (TestTensor x = TestTensor.of(type, layout, size).gaussian(random, 1);
                        Tensor halves = INTERLEAVED.convert(x.view(), HALVES);
                        Tensor back = HALVES.convert(halves, INTERLEAVED);
                        Tensor same = HALVES.convert(x.view(), HALVES)) {
                    float[] values = x.values();
                    float[] converted = halves.toFloatArray();
                    int dim = (int) size[2];
                    for (int i = 0; i < values.length; i++) {
                        assertEquals(values[i], converted[i / dim * dim + inHalves(i % dim, dim)]);
                    }
                    assertArrayEquals(values, back.toFloatArray());
                    assertArrayEquals(values, same.toFloatArray());
                    assertTrue(halves.isContiguous());
                }
            }
        }
    }

    /** What Hugging Face's half rotation gives on de-interleaved values is what the interleaved one gives, permuted. */
    @Test
    void rotationInEitherLayoutGivesTheSameKeys() {
        SplittableRandom random = new SplittableRandom(2);
        Rope rope = Rope.of(MlaConfig.V3);
        int[] positions = {0, 1, 4095, 163839, 77};
        try (TestTensor x = TestTensor.of(DType.F32, Layout.DENSE, 5, 1, 64).gaussian(random, 1);
                Tensor halves = INTERLEAVED.convert(x.view(), HALVES)) {
            float[] v = halves.toFloatArray();
            float[] turned = new float[v.length];
            for (int t = 0; t < 5; t++) {
                for (int j = 0; j < 32; j++) {
                    double angle = positions[t] * rope.frequencies()[j];
                    float cos = (float) Math.cos(angle);
                    float sin = (float) Math.sin(angle);
                    turned[t * 64 + j] = v[t * 64 + j] * cos - v[t * 64 + 32 + j] * sin;
                    turned[t * 64 + 32 + j] = v[t * 64 + 32 + j] * cos + v[t * 64 + j] * sin;
                }
            }
            Mla.on("scalar").rope(x.view(), positions, rope, x.view());
            try (Tensor theirs = Tensor.of(turned, 5, 1, 64); Tensor ours = HALVES.convert(theirs, INTERLEAVED)) {
                assertArrayEquals(x.values(), ours.toFloatArray());
            }
        }
    }

    @ParameterizedTest
    @EnumSource(Layout.class)
    void aConvertedQueryProjectionGivesConvertedQueries(Layout layout) {
        int heads = 3;
        int nope = 4;
        int rope = 6;
        int k = 5;
        SplittableRandom random = new SplittableRandom(3);
        try (TestTensor w = TestTensor.of(DType.F32, layout, heads * (nope + rope), k).gaussian(random, 1);
                Tensor converted = INTERLEAVED.convertRows(w.view(), nope + rope, rope, HALVES);
                Tensor back = HALVES.convertRows(converted, nope + rope, rope, INTERLEAVED)) {
            float[] x = {1, -2, 3, 0.5f, 7};
            float[] q = product(w.values(), x);
            float[] permuted = product(converted.toFloatArray(), x);
            for (int i = 0; i < q.length; i++) {
                int row = i % (nope + rope);
                int there = row < nope ? row : nope + inHalves(row - nope, rope);
                assertEquals(q[i], permuted[i - row + there], "row " + i);
            }
            assertArrayEquals(w.values(), back.toFloatArray());
        }
    }

    private static float[] product(float[] w, float[] x) {
        float[] y = new float[w.length / x.length];
        for (int i = 0; i < w.length; i++) {
            y[i / x.length] += w[i] * x[i % x.length];
        }
        return y;
    }

    @Test
    void theKeyProjectionKeepsItsLatentRows() {
        int c = 512;
        float[] bias = new float[c + 64];
        for (int i = 0; i < bias.length; i++) {
            bias[i] = i;
        }
        try (Tensor x = Tensor.of(bias, c + 64); Tensor halves = INTERLEAVED.convertRows(x, c + 64, 64, HALVES)) {
            float[] out = halves.toFloatArray();
            for (int i = 0; i < c; i++) {
                assertEquals(i, out[i]);
            }
            for (int i = 0; i < 64; i++) {
                assertEquals(c + i, out[c + inHalves(i, 64)]);
            }
        }
    }

    @Test
    void codesArePermutedAsTheyAre() {
        try (Tensor w = Tensor.allocate(DType.F8_E4M3, Shape.of(4, 2))) {
            for (int i = 0; i < 8; i++) {
                w.segment().set(ValueLayout.JAVA_BYTE, i, (byte) (0xF8 + i)); // NaN among them
            }
            try (Tensor halves = INTERLEAVED.convertRows(w, 4, 4, HALVES)) {
                assertArrayEquals(new byte[] {-8, -7, -4, -3, -6, -5, -2, -1},
                        halves.segment().toArray(ValueLayout.JAVA_BYTE));
            }
        }
    }

    @Test
    void whatDoesNotFitIsRefusedByName() {
        try (Tensor odd = Tensor.allocate(DType.F32, Shape.of(2, 3));
                Tensor w = Tensor.allocate(DType.F32, Shape.of(6, 2))) {
            refused("x has shape", () -> INTERLEAVED.convert(odd, HALVES));
            refused("headRows is 4", () -> INTERLEAVED.convertRows(w, 4, 2, HALVES));
            refused("headRows is 0", () -> INTERLEAVED.convertRows(w, 0, 0, HALVES));
            refused("ropeRows is 1", () -> INTERLEAVED.convertRows(w, 3, 1, HALVES));
            refused("ropeRows is 4", () -> INTERLEAVED.convertRows(w, 3, 4, HALVES));
            refused("weight has shape", () -> INTERLEAVED.convertRows(w.reshape(1, 6, 2), 6, 2, HALVES));
        }
    }

    private static void refused(String part, Runnable call) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
        assertTrue(String.valueOf(e.getMessage()).contains(part), e::getMessage);
    }
}
