package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Execution;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.mla.reference.AttentionError;
import dev.octet.mla.reference.ReferenceAttention;
import dev.octet.mla.spi.MlaBackend;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Partial results joined, against FP64 and against attention that was never cut. */
@Tag("backend")
class MergeTest {
    private static final long SEED = Long.getLong("octet.test.seed", 20241226L);
    private static final float INF = Float.POSITIVE_INFINITY;

    static List<Named<MlaBackend>> backends() {
        return TestedBackends.all().stream().map(b -> Named.of(b.name(), b)).toList();
    }

    /** One of two partial results. */
    private record Part(Layout.Placed out, Layout.Placed lse) {
        static Part of(Arena arena, SplittableRandom random, Layout layout, DType type, int tokens, int heads, int dim,
                float[] lses) {
            Part part = empty(arena, layout, type, tokens, heads, dim);
            float[] values = new float[tokens * heads * dim];
            for (int i = 0; i < values.length; i++) {
                values[i] = (float) random.nextGaussian();
            }
            part.out.view().copyFrom(values);
            part.lse.view().copyFrom(lses);
            return part;
        }

        static Part empty(Arena arena, Layout layout, DType type, int tokens, int heads, int dim) {
            return new Part(layout.place(arena, type, tokens, heads, dim),
                    layout.place(arena, DType.F32, tokens, heads));
        }

        float[] values() {
            return out.view().toFloatArray();
        }

        float[] lses() {
            return lse.view().toFloatArray();
        }
    }

    private static void merge(MlaBackend backend, Part a, Part b, Part to) {
        backend.merge(a.out.view(), a.lse.view(), b.out.view(), b.lse.view(), to.out.view(), to.lse.view(),
                Execution.shared());
    }

    /** Every row against FP64 within the bound, then that memory around the result is as it was. */
    private static void check(String what, float[] outA, float[] lseA, float[] outB, float[] lseB, Part to) {
        int dim = (int) to.out.view().dim(2);
        DType type = to.out.view().dtype();
        float[] out = to.values();
        float[] lse = to.lses();
        double[] exact = new double[dim];
        double[] bound = new double[dim];
        for (int row = 0; row < lse.length; row++) {
            double[] a = row(outA, row, dim);
            double[] b = row(outB, row, dim);
            double exactLse = ReferenceAttention.merge(a, lseA[row], b, lseB[row], exact);
            Arrays.fill(bound, 0);
            double lseBound = AttentionError.merge(a, lseA[row], b, lseB[row], exact, bound);
            String where = what + ", row " + row + " of " + lseA[row] + " and " + lseB[row];
            if (Double.isFinite(exactLse)) {
                assertTrue(Math.abs(lse[row] - exactLse) <= lseBound + Math.ulp((float) exactLse) / 2,
                        where + ": lse " + lse[row] + ", not " + exactLse);
            } else {
                assertEquals((float) exactLse, lse[row], where);
            }
            for (int c = 0; c < dim; c++) {
                float value = out[row * dim + c];
                assertTrue(Double.isNaN(exact[c]) ? Float.isNaN(value)
                        : ExpectedAttention.round(exact[c] - bound[c], type) <= value
                                && value <= ExpectedAttention.round(exact[c] + bound[c], type),
                        where + ": out[" + c + "] is " + value + ", not " + exact[c] + " +- " + bound[c]);
            }
        }
        assertTrue(to.out.surroundingsUntouched() && to.lse.surroundingsUntouched(), what);
    }

    private static double[] row(float[] values, int row, int dim) {
        double[] r = new double[dim];
        for (int c = 0; c < dim; c++) {
            r[c] = values[row * dim + c];
        }
        return r;
    }

    private static float[] lses(SplittableRandom random, int n) {
        float[] lses = new float[n];
        for (int i = 0; i < n; i++) {
            lses[i] = switch (random.nextInt(8)) {
                case 0 -> INF;
                case 1 -> (float) (1000 * random.nextGaussian());
                case 2 -> random.nextInt(3) == 0 ? Float.NaN : -INF;
                default -> (float) (3 * random.nextGaussian());
            };
        }
        return lses;
    }

    @ParameterizedTest
    @MethodSource("backends")
    void againstTheDefinition(MlaBackend backend) {
        SplittableRandom random = new SplittableRandom(SEED);
        for (Layout layout : Layout.values()) {
            for (int dim : new int[] {512, 128, 7, 1}) {
                for (DType type : new DType[] {DType.F32, DType.BF16}) {
                    try (Arena arena = Arena.ofShared()) {
                        Part a = Part.of(arena, random, layout, type, 5, 7, dim, lses(random, 35));
                        Part b = Part.of(arena, random, layout, DType.F32, 5, 7, dim, lses(random, 35));
                        Part to = Part.empty(arena, layout, type, 5, 7, dim);
                        merge(backend, a, b, to);
                        check("seed " + SEED + ", " + layout + " " + type + " " + dim + " on backend " + backend.name(),
                                a.values(), a.lses(), b.values(), b.lses(), to);
                    }
                }
            }
        }
    }

    /** The output may be either input; what an empty part's output holds does not matter. */
    @ParameterizedTest
    @MethodSource("backends")
    void inPlaceAndEmptyParts(MlaBackend backend) {
        SplittableRandom random = new SplittableRandom(SEED);
        try (Arena arena = Arena.ofShared()) {
            float[] nothing = new float[6];
            Arrays.fill(nothing, INF);
            Part a = Part.of(arena, random, Layout.GAPS, DType.F32, 2, 3, 40, lses(random, 6));
            Part empty = Part.of(arena, random, Layout.GAPS, DType.F32, 2, 3, 40, nothing);
            float[] nan = new float[240];
            Arrays.fill(nan, Float.NaN);
            empty.out.view().copyFrom(nan);
            float[] values = a.values();
            float[] lses = new float[] {1, -2, 3, 700, -INF, 0};
            a.lse.view().copyFrom(lses);
            Part to = Part.empty(arena, Layout.GAPS, DType.F32, 2, 3, 40);
            merge(backend, a, empty, to);
            assertArrayEquals(values, to.values());
            assertArrayEquals(lses, to.lses());
            merge(backend, empty, a, to);
            assertArrayEquals(values, to.values());
            assertArrayEquals(lses, to.lses());
            merge(backend, empty, empty, to);
            assertArrayEquals(new float[240], to.values());
            assertArrayEquals(nothing, to.lses());
            Part b = Part.of(arena, random, Layout.GAPS, DType.F32, 2, 3, 40, new float[] {1, 1, 1, 1, 1, 1});
            merge(backend, a, b, to);
            float[] expected = to.values();
            float[] expectedLse = to.lses();
            float[] ofB = b.values();
            merge(backend, a, b, b);
            assertArrayEquals(expected, b.values());
            assertArrayEquals(expectedLse, b.lses());
            b.out.view().copyFrom(ofB);
            b.lse.view().copyFrom(new float[] {1, 1, 1, 1, 1, 1});
            merge(backend, a, b, a);
            assertArrayEquals(expected, a.values());
            assertArrayEquals(expectedLse, a.lses());
        }
    }

    @ParameterizedTest
    @MethodSource("backends")
    void everyPoolGivesTheSameBits(MlaBackend backend) {
        SplittableRandom random = new SplittableRandom(SEED);
        try (Arena arena = Arena.ofShared()) {
            Part a = Part.of(arena, random, Layout.CONTIGUOUS, DType.F32, 50, 9, 130, lses(random, 450));
            Part b = Part.of(arena, random, Layout.CONTIGUOUS, DType.F32, 50, 9, 130, lses(random, 450));
            Part to = Part.empty(arena, Layout.CONTIGUOUS, DType.F32, 50, 9, 130);
            merge(backend, a, b, to);
            float[] expected = to.values();
            for (int threads : new int[] {1, 2, 3, 5}) {
                try (CpuPool pool = new CpuPool(threads)) {
                    backend.merge(a.out.view(), a.lse.view(), b.out.view(), b.lse.view(), to.out.view(), to.lse.view(),
                            new Execution(pool));
                    assertArrayEquals(expected, to.values());
                }
            }
        }
    }

    /** Three parts, joined from the left and from the right: both within what two merges may be off. */
    @ParameterizedTest
    @MethodSource("backends")
    void associative(MlaBackend backend) {
        SplittableRandom random = new SplittableRandom(SEED);
        int dim = 64;
        try (Arena arena = Arena.ofShared()) {
            Part[] parts = new Part[3];
            for (int i = 0; i < 3; i++) {
                float[] lses = new float[40];
                for (int r = 0; r < 40; r++) {
                    lses[r] = r % 9 == i ? INF : (float) (2 * random.nextGaussian() + (r % 7 == 0 ? 500 : 0));
                }
                parts[i] = Part.of(arena, random, Layout.CONTIGUOUS, DType.F32, 8, 5, dim, lses);
            }
            Part pair = Part.empty(arena, Layout.CONTIGUOUS, DType.F32, 8, 5, dim);
            Part left = Part.empty(arena, Layout.CONTIGUOUS, DType.F32, 8, 5, dim);
            Part right = Part.empty(arena, Layout.CONTIGUOUS, DType.F32, 8, 5, dim);
            merge(backend, parts[0], parts[1], pair);
            merge(backend, pair, parts[2], left);
            merge(backend, parts[1], parts[2], pair);
            merge(backend, parts[0], pair, right);
            float[] l = left.values();
            float[] r = right.values();
            for (int row = 0; row < 40; row++) {
                double lse = Math.max(Math.abs(left.lses()[row]), 1);
                // Each merge rounds exponents of this size four times, exponentials and sums a dozen times.
                double relative = 2 * 2 * (4 * (lse + 1) + 12 + 8 + 1) * 0x1p-24;
                double largest = 0;
                for (Part part : parts) {
                    for (int c = 0; c < dim; c++) {
                        largest = Math.max(largest, Math.abs(part.values()[row * dim + c]));
                    }
                }
                assertEquals(left.lses()[row], right.lses()[row], relative, "row " + row);
                for (int c = 0; c < dim; c++) {
                    assertEquals(l[row * dim + c], r[row * dim + c], relative * largest,
                            "seed " + SEED + ", row " + row);
                }
            }
        }
    }

    /** Attention over cut keys, joined, is attention over all of them. */
    @ParameterizedTest
    @MethodSource("backends")
    void splitAttentionIsWhole(MlaBackend backend) {
        PrefillCase whole = PrefillCase.plain(11, 3, new int[] {4}, new int[] {300})
                .withOptions(AttentionOptions.bidirectional(0.1f));
        try (Arena arena = Arena.ofShared()) {
            PrefillCase.Data data = whole.data(arena);
            ExpectedAttention expected = whole.expected(data);
            Part sum = null;
            for (int[] range : new int[][] {{0, 1}, {1, 1}, {1, 200}, {200, 300}}) {
                Part part = Part.empty(arena, Layout.CONTIGUOUS, DType.F32, 4, 3, 128);
                backend.prefill(data.query(), data.keys().slice(0, range[0], range[1]),
                        data.ropeKeys().slice(0, range[0], range[1]), data.values().slice(0, range[0], range[1]),
                        new Ragged(new int[] {4}, new int[] {range[1] - range[0]}), whole.options(), part.out.view(),
                        part.lse.view(), Execution.shared());
                if (sum == null) {
                    sum = part;
                } else {
                    merge(backend, sum, part, sum);
                }
            }
            float[] out = sum.values();
            float[] lse = sum.lses();
            for (int row = 0; row < 12; row++) {
                // Three merges: exponents of a size of at most 20, four roundings each, and a dozen other ones.
                double merges = 3 * (4 * 20 + 21) * 0x1p-24;
                int token = row / 3;
                int head = row % 3;
                assertEquals(expected.lse(token, head), lse[row], expected.lseBound(token, head) + merges);
                for (int c = 0; c < 128; c++) {
                    assertEquals(expected.out(token, head)[c], out[row * 128 + c],
                            expected.outBound(token, head)[c] + merges * 5, "row " + row);
                }
            }
        }
    }

    /** No tokens, no heads, no values. */
    @ParameterizedTest
    @MethodSource("backends")
    void nothing(MlaBackend backend) {
        for (long[] dims : new long[][] {{0, 3, 4}, {2, 0, 4}, {2, 3, 0}}) {
            try (Tensor out = Tensor.allocate(DType.F32, Shape.of(dims));
                    Tensor lse = Tensor.allocate(DType.F32, Shape.of(dims[0], dims[1]))) {
                backend.merge(out, lse, out, lse, out, lse, Execution.shared());
                for (float x : lse.toFloatArray()) {
                    assertEquals((float) Math.log(2), x, 0x1p-22f);
                }
            }
        }
    }
}
