package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Rows to experts and back, on every backend, to the bit. */
@Tag("backend")
class PermuteTest {
    private final List<AutoCloseable> owned = new ArrayList<>();

    @AfterEach
    void free() throws Exception {
        for (AutoCloseable o : owned) {
            o.close();
        }
    }

    private <T extends AutoCloseable> T own(T t) {
        owned.add(t);
        return t;
    }

    /** A matrix full of NaN, row by row, with gaps, or column by column. */
    private Tensor place(DType dtype, int layout, long rows, long columns) {
        Tensor whole = own(Tensor.allocate(dtype, switch (layout) {
            case 0 -> Shape.of(rows, columns);
            case 1 -> Shape.of(rows + 1, columns + 3);
            default -> Shape.of(columns, rows);
        }));
        whole.segment().fill((byte) 0xFF);
        return switch (layout) {
            case 0 -> whole;
            case 1 -> whole.slice(0, 1, rows + 1).slice(1, 2, columns + 2);
            default -> whole.transpose();
        };
    }

    private static void set(Tensor t, long row, long column, float value) {
        long at = row * t.stride(0) + column * t.stride(1);
        if (t.dtype() == DType.F32) {
            t.segment().set(ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * at, value);
        } else {
            t.segment().set(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * at, BFloat16.fromFloat(value));
        }
    }

    private Tensor gaussian(SplittableRandom r, DType dtype, int layout, long rows, long columns) {
        Tensor t = place(dtype, layout, rows, columns);
        for (long i = 0; i < rows; i++) {
            for (long j = 0; j < columns; j++) {
                set(t, i, j, (float) r.nextGaussian());
            }
        }
        return t;
    }

    private static float rounded(DType dtype, float x) {
        return dtype == DType.F32 ? x : BFloat16.toFloat(BFloat16.fromFloat(x));
    }

    /** The backends with one and with three threads. */
    private static List<Moe> everywhere(CpuPool one, CpuPool three) {
        return TestedBackends.names().<Moe>mapMulti((name, all) -> {
            all.accept(Moe.on(name).with(one));
            all.accept(Moe.on(name).with(three));
        }).toList();
    }

    private static boolean same(float a, float b) {
        return Float.floatToRawIntBits(a) == Float.floatToRawIntBits(b);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
    void thereAndBack(int seed) {
        SplittableRandom r = new SplittableRandom(seed);
        int tokens = seed == 1 ? 0 : 1 + r.nextInt(60);
        int topK = 1 + r.nextInt(seed % 4 == 0 ? 20 : 8);
        int experts = 1 + r.nextInt(9);
        int h = seed == 2 ? 0 : new int[] {1, 7, 100, 259}[r.nextInt(4)];
        DType dtype = r.nextBoolean() ? DType.F32 : DType.BF16;
        DType outType = r.nextBoolean() ? DType.F32 : DType.BF16;
        Routing routing = own(TokenPermutationTest.random(r, tokens, topK, experts));
        TokenPermutation p = TokenPermutation.of(routing, experts, 1 + r.nextInt(20));
        Tensor x = gaussian(r, dtype, r.nextInt(3), tokens, h);
        Tensor rows = gaussian(r, dtype, r.nextInt(3), p.positions(), h);
        for (int i = 0; i < p.positions(); i++) { // what stands in padding must not be read
            for (int c = 0; c < h && p.expertAt(i) < 0; c++) {
                set(rows, i, c, Float.NaN);
            }
        }
        int layout = r.nextInt(3);
        try (CpuPool one = new CpuPool(1); CpuPool three = new CpuPool(3)) {
            for (Moe moe : everywhere(one, three)) {
                for (Tensor weights : new Tensor[] {null, routing.weights()}) {
                    Tensor expanded = place(dtype, layout, p.positions(), h);
                    moe.expand(p, x, weights, expanded);
                    for (int i = 0; i < p.positions(); i++) {
                        int t = p.tokenAt(i);
                        for (int c = 0; c < h; c++) {
                            float w = t < 0 || weights == null ? 1 : weights.getFloat(t, p.slotAt(i));
                            assertTrue(same(t < 0 ? 0 : rounded(dtype, x.getFloat(t, c) * w), expanded.getFloat(i, c)));
                        }
                    }
                    Tensor reduced = place(outType, layout, tokens, h);
                    moe.reduce(p, rows, weights, reduced);
                    for (int t = 0; t < tokens; t++) {
                        for (int c = 0; c < h; c++) {
                            float sum = 0;
                            for (int j = 0; j < topK; j++) {
                                if (p.positionOf(t, j) >= 0) {
                                    float w = weights == null ? 1 : weights.getFloat(t, j);
                                    sum = Math.fma(rows.getFloat(p.positionOf(t, j), c), w, sum);
                                }
                            }
                            assertTrue(same(rounded(outType, sum), reduced.getFloat(t, c)));
                        }
                    }
                }
                Tensor gradient = gaussian(new SplittableRandom(seed), outType, layout, tokens, h);
                Tensor dw = place(DType.F32, layout, tokens, topK);
                moe.weightGradients(p, rows, gradient, dw);
                for (int t = 0; t < tokens; t++) {
                    for (int j = 0; j < topK; j++) {
                        double sum = 0;
                        double magnitude = 0;
                        for (int c = 0; c < h && p.positionOf(t, j) >= 0; c++) {
                            double term = (double) rows.getFloat(p.positionOf(t, j), c) * gradient.getFloat(t, c);
                            sum += term;
                            magnitude += Math.abs(term);
                        }
                        // Half a unit in the last place of the rounding, and two double sums.
                        assertEquals(sum, dw.getFloat(t, j), Math.scalb(Math.abs(sum), -24)
                                + 2 * h * Math.scalb(magnitude, -53));
                    }
                }
            }
        }
    }

    /** Infinities, NaN, -0 and sums that underflow, with fewer rows than a pass has, as many, and more. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 7, 8, 9, 17})
    void specialValues(int topK) {
        float[] specials = {0, -0f, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, Float.NaN, 0x1p-126f, -0x1p-133f,
            -0x1.8p-149f, Float.MAX_VALUE, 1, -1, 3.390625f};
        int h = 64 + 5;
        SplittableRandom r = new SplittableRandom(topK);
        Routing routing = own(TokenPermutationTest.random(r, 5, topK, 3));
        for (int i = 0; i < 5 * topK; i++) {
            set(routing.weights(), i / topK, i % topK, r.nextInt(3) == 0 ? -0x1p-20f : specials[r.nextInt(12)]);
        }
        TokenPermutation p = TokenPermutation.of(routing, 3, 1);
        for (DType dtype : List.of(DType.F32, DType.BF16)) {
            Tensor rows = place(dtype, 0, p.positions(), h);
            for (int i = 0; i < p.positions() * h; i++) {
                set(rows, i / h, i % h, specials[r.nextInt(r.nextInt(2) == 0 ? 4 : 12)]);
            }
            for (DType outType : List.of(DType.F32, DType.BF16)) {
                for (String backend : TestedBackends.names().toList()) {
                    Tensor reduced = place(outType, 0, 5, h);
                    Moe.on(backend).reduce(p, rows, routing.weights(), reduced);
                    for (int t = 0; t < 5; t++) {
                        for (int c = 0; c < h; c++) {
                            float sum = 0;
                            for (int j = 0; j < topK; j++) {
                                if (p.positionOf(t, j) >= 0) {
                                    sum = Math.fma(rows.getFloat(p.positionOf(t, j), c),
                                            routing.weights().getFloat(t, j), sum);
                                }
                            }
                            float expected = rounded(outType, sum);
                            float actual = reduced.getFloat(t, c);
                            assertTrue(Float.isNaN(expected) ? Float.isNaN(actual) : same(expected, actual),
                                    backend + ": " + expected + ", not " + actual);
                        }
                    }
                }
            }
        }
    }

    /** Gradients against differences: L = SUM g * reduce(expand(x), w) is linear in x and in w. */
    @ParameterizedTest
    @MethodSource("dev.octet.moe.TestedBackends#names")
    void gradients(String backend) {
        SplittableRandom r = new SplittableRandom(3);
        Routing routing = own(TokenPermutationTest.random(r, 9, 3, 4));
        TokenPermutation p = TokenPermutation.of(routing, 4, 4);
        Tensor x = gaussian(r, DType.F32, 0, 9, 10);
        Tensor g = gaussian(r, DType.F32, 0, 9, 10);
        Moe moe = Moe.on(backend);
        Tensor rows = place(DType.F32, 0, p.positions(), 10);
        Tensor y = place(DType.F32, 0, 9, 10);
        moe.expand(p, x, rows);
        moe.reduce(p, rows, routing.weights(), y);
        Tensor rowGradient = place(DType.F32, 0, p.positions(), 10);
        moe.expand(p, g, routing.weights(), rowGradient);
        Tensor dx = place(DType.F32, 0, 9, 10);
        moe.reduce(p, rowGradient, null, dx);
        Tensor dw = place(DType.F32, 0, 9, 3);
        moe.weightGradients(p, rows, g, dw);
        double loss = dot(y, g);
        assertTrue(Math.abs(loss) > 0.1, "a loss that says something");
        assertEquals(loss, dot(x, dx), 1e-4);
        assertEquals(loss, dot(routing.weights(), dw), 1e-4);
    }

    private static double dot(Tensor a, Tensor b) {
        float[] x = a.toFloatArray();
        float[] y = b.toFloatArray();
        double sum = 0;
        for (int i = 0; i < x.length; i++) {
            sum += (double) x[i] * y[i];
        }
        return sum;
    }

    private static int bits(Tensor t, long row, long column) {
        long at = row * t.stride(0) + column * t.stride(1);
        return t.dtype() == DType.F32 ? t.segment().get(ValueLayout.JAVA_INT_UNALIGNED, 4 * at)
                : t.segment().get(ValueLayout.JAVA_BYTE, at);
    }

    @ParameterizedTest
    @ValueSource(strings = {"BLOCK_1X128 F32", "BLOCK_1X128 E8M0", "ROW F32", "ROW E8M0"})
    void quantizedTokens(String name) {
        String[] parts = name.split(" ");
        Scaling scaling = new Scaling(Granularity.valueOf(parts[0]), ScaleFormat.valueOf(parts[1]));
        SplittableRandom r = new SplittableRandom(4);
        Routing routing = own(TokenPermutationTest.random(r, 300, 3, 5));
        TokenPermutation p = TokenPermutation.of(routing, 5, 32);
        ScaledTensor x = own(ScaledTensor.allocate(DType.F8_E4M3, 300, 300, scaling));
        for (Tensor t : new Tensor[] {x.codes(), x.scales()}) {
            MemorySegment s = t.segment();
            for (long i = 0; i < s.byteSize(); i++) {
                s.set(ValueLayout.JAVA_BYTE, i, (byte) r.nextInt(1, 120));
            }
        }
        int scaleOfOne = scaling.format() == ScaleFormat.F32 ? Float.floatToRawIntBits(1) : 127;
        try (CpuPool one = new CpuPool(1); CpuPool three = new CpuPool(3)) {
            for (Moe moe : everywhere(one, three)) {
                ScaledTensor out = own(ScaledTensor.allocate(DType.F8_E4M3, p.positions(), 300, scaling));
                out.codes().segment().fill((byte) 0xFF);
                out.scales().segment().fill((byte) 0xFF);
                moe.expand(p, x, out);
                for (int i = 0; i < p.positions(); i++) {
                    int t = p.tokenAt(i);
                    for (int c = 0; c < 300; c++) {
                        assertEquals(t < 0 ? 0 : bits(x.codes(), t, c), bits(out.codes(), i, c));
                    }
                    for (int c = 0; c < out.scales().dim(1); c++) {
                        assertEquals(t < 0 ? scaleOfOne : bits(x.scales(), t, c), bits(out.scales(), i, c));
                    }
                }
            }
        }
    }

    private static void refused(String message, Executable call) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call);
        assertTrue(e.getMessage().startsWith(message), e.getMessage());
    }

    @Test
    void refusals() {
        Routing routing = own(Routings.of(new int[][] {{0, 1}, {-1, 1}, {1, 0}}));
        TokenPermutation p = TokenPermutation.of(routing, 2, 4);
        Tensor x = place(DType.F32, 0, 3, 5);
        Tensor rows = place(DType.F32, 0, 8, 5);
        Tensor w = routing.weights();
        for (String backend : TestedBackends.names().toList()) {
            Moe moe = Moe.on(backend);
            refused("tokens is F32 [4, 5], it must be F32 [3, 5]",
                    () -> moe.expand(p, place(DType.F32, 0, 4, 5), rows));
            refused("out is F32 [7, 5], it must be F32 [8, 5]", () -> moe.expand(p, x, place(DType.F32, 0, 7, 5)));
            refused("out is BF16 [8, 5], it must be F32 [8, 5]", () -> moe.expand(p, x, place(DType.BF16, 0, 8, 5)));
            refused("tokens is F16", () -> moe.expand(p, place(DType.F16, 0, 3, 5), rows));
            refused("weights is F32 [3, 3], it must be F32 [3, 2]",
                    () -> moe.expand(p, x, place(DType.F32, 0, 3, 3), rows));
            refused("rows is F32 [3, 5], it must be F32 [8, 5]", () -> moe.reduce(p, x, w, x));
            refused("out is F32 [8, 5], it must be F32 [3, 5]", () -> moe.reduce(p, rows, w, rows));
            refused("weights is BF16 [3, 2]", () -> moe.reduce(p, rows, place(DType.BF16, 0, 3, 2), x));
            refused("gradient is F32 [8, 5], it must be F32 [3, 5]", () -> moe.weightGradients(p, rows, rows, w));
            refused("out is F32 [3, 5], it must be F32 [3, 2]", () -> moe.weightGradients(p, rows, x, x));
            ScaledTensor square = own(ScaledTensor.allocate(DType.F8_E4M3, 3, 5, Scaling.WEIGHT));
            refused("tokens have granularity BLOCK_128X128", () -> moe.expand(p, square, square));
            ScaledTensor codes = own(ScaledTensor.allocate(DType.F8_E4M3, 3, 5, Scaling.ACTIVATION));
            refused("out has Scaling", () -> moe.expand(p, codes, square));
            refused("out.codes is F8_E4M3 [3, 5], it must be F8_E4M3 [8, 5]", () -> moe.expand(p, codes, codes));
            assertThrows(IllegalStateException.class, () -> {
                Tensor gone = Tensor.allocate(DType.F32, Shape.of(3, 5));
                gone.close();
                moe.reduce(p, rows, w, gone);
            });
        }
        for (Tensor t : new Tensor[] {x, rows}) {
            for (byte b : t.segment().toArray(ValueLayout.JAVA_BYTE)) {
                assertEquals(-1, b, "nothing is written");
            }
        }
    }
}
