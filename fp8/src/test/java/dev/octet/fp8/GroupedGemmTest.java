package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Each group of a grouped GEMM has the bits of the dense GEMM with that group alone, and nothing else is touched. */
@Tag("backend")
class GroupedGemmTest {
    /** Few rows and many, edges of panels, none, and more than a slab takes. */
    private static final int[] COUNTS = {0, 1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 31, 64, 65, 70};
    private static final Scaling[] PAIRS_A = {Scaling.ACTIVATION, Scaling.ACTIVATION,
        new Scaling(Granularity.ROW, ScaleFormat.F32), new Scaling(Granularity.TENSOR, ScaleFormat.E8M0)};
    private static final Scaling[] PAIRS_B = {Scaling.WEIGHT, Scaling.ACTIVATION,
        new Scaling(Granularity.ROW, ScaleFormat.F32), new Scaling(Granularity.TENSOR, ScaleFormat.F32)};

    private final Arena arena = Arena.ofShared();

    @AfterEach
    void free() {
        arena.close();
    }

    private static byte[] bytes(MemorySegment s) {
        return s.toArray(ValueLayout.JAVA_BYTE);
    }

    /** A few codes that are not finite. */
    private static void spoil(ScaledTensor t, SplittableRandom random) {
        for (int i = 0; i < 2 && t.rows() > 0 && t.columns() > 0; i++) {
            Matrices.setByte(t.codes(), random.nextLong(t.rows()), random.nextLong(t.columns()), (byte) 0x7F);
        }
    }

    private record Operands(ScaledTensor a, List<ScaledTensor> b) {}

    private Operands operands(SplittableRandom r, long rows, int groups, long n, long k) {
        int pair = r.nextInt(PAIRS_A.length);
        DType format = r.nextInt(4) == 0 ? DType.F8_E5M2 : DType.F8_E4M3;
        Layout layout = Layout.values()[r.nextInt(Layout.values().length)];
        Layout layoutB = Layout.values()[r.nextInt(Layout.values().length)];
        boolean nan = r.nextInt(3) == 0;
        ScaledTensor a = Matrices.random(arena, r, layout, DType.F8_E4M3, rows, k, PAIRS_A[pair]);
        List<ScaledTensor> b = new ArrayList<>();
        for (int g = 0; g < groups; g++) {
            b.add(Matrices.random(arena, r, layoutB, format, n, k, PAIRS_B[pair]));
            if (nan && g % 3 == 1) {
                spoil(b.get(g), r);
            }
        }
        if (nan) {
            spoil(a, r);
        }
        return new Operands(a, b);
    }

    /** What each group gives alone, in an output of the same layout that is otherwise untouched. */
    private Layout.Placed dense(Fp8 fp8, Operands x, long[] begins, long[] ends, Layout layout, DType dtype, long n) {
        Layout.Placed d = layout.place(arena, dtype, x.a.rows(), n);
        for (int g = 0; g < begins.length; g++) {
            fp8.gemm(x.a.sliceRows(begins[g], ends[g]), x.b.get(g), d.view().slice(0, begins[g], ends[g]),
                    Epilogue.NONE);
        }
        return d;
    }

    private static long[] offsets(int[] counts) {
        long[] offsets = new long[counts.length + 1];
        for (int g = 0; g < counts.length; g++) {
            offsets[g + 1] = offsets[g] + counts[g];
        }
        return offsets;
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24})
    void contiguousSegments(int seed) {
        SplittableRandom r = new SplittableRandom(seed);
        int groups = 1 + r.nextInt(9);
        int[] counts = IntStream.range(0, groups).map(g -> COUNTS[r.nextInt(COUNTS.length)]).toArray();
        long[] offsets = offsets(counts);
        long n = new long[] {1, 100, 130, 257, 400}[r.nextInt(5)];
        long k = new long[] {0, 1, 100, 128, 300, 512}[r.nextInt(6)];
        Operands x = operands(r, offsets[groups] + r.nextInt(3), groups, n, k);
        DType dtype = r.nextBoolean() ? DType.F32 : DType.BF16;
        Layout layout = Layout.values()[r.nextInt(Layout.values().length)];
        everywhere(x, offsets, layout, dtype, n, () -> Arrays.toString(counts) + " " + n + "x" + k);
    }

    private void everywhere(Operands x, long[] offsets, Layout layout, DType dtype, long n,
            Supplier<String> message) {
        long[] begins = Arrays.copyOf(offsets, offsets.length - 1);
        long[] ends = Arrays.copyOfRange(offsets, 1, offsets.length);
        for (String backend : TestedBackends.names().toList()) {
            Fp8 fp8 = Fp8.on(backend);
            byte[] expected = bytes(dense(fp8, x, begins, ends, layout, dtype, n).memory());
            for (int threads : new int[] {1, 2, 3}) {
                try (CpuPool pool = new CpuPool(threads)) {
                    Layout.Placed d = layout.place(arena, dtype, x.a.rows(), n);
                    fp8.with(pool).groupedGemm(x.a, offsets, x.b, d.view());
                    assertArrayEquals(expected, bytes(d.memory()), () -> backend + " " + threads + " threads "
                            + message.get());
                }
            }
        }
    }

    /** Packed rows of all groups together are more than is packed at a time; one group alone is, too. */
    @Test
    void batches() {
        for (int[] counts : new int[][] {{17, 20, 3, 30, 17, 1, 0, 25, 8, 17}, {9, 530, 4, 0, 12}}) {
            SplittableRandom r = new SplittableRandom(counts.length);
            long[] offsets = offsets(counts);
            long k = counts[1] > 512 ? 130 : 8192;
            ScaledTensor a = Matrices.random(arena, r, Layout.CONTIGUOUS, DType.F8_E4M3, offsets[counts.length], k,
                    Scaling.ACTIVATION);
            List<ScaledTensor> b = new ArrayList<>();
            for (int g = 0; g < counts.length; g++) {
                b.add(Matrices.random(arena, r, Layout.CONTIGUOUS, DType.F8_E4M3, 33, k, Scaling.WEIGHT));
            }
            everywhere(new Operands(a, b), offsets, Layout.CONTIGUOUS, DType.F32, 33, () -> Arrays.toString(counts));
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8})
    void maskedSegments(int seed) {
        SplittableRandom r = new SplittableRandom(100 + seed);
        int groups = 1 + r.nextInt(7);
        int place = new int[] {1, 9, 40}[r.nextInt(3)];
        long[] counts = r.longs(groups, 0, place + 1).toArray();
        long[] begins = IntStream.range(0, groups).mapToLong(g -> (long) g * place).toArray();
        long[] ends = IntStream.range(0, groups).mapToLong(g -> begins[g] + counts[g]).toArray();
        Operands x = operands(r, (long) groups * place, groups, 200, 260);
        for (String backend : TestedBackends.names().toList()) {
            Fp8 fp8 = Fp8.on(backend);
            byte[] expected = bytes(dense(fp8, x, begins, ends, Layout.CONTIGUOUS, DType.F32, 200).memory());
            Layout.Placed d = Layout.CONTIGUOUS.place(arena, DType.F32, (long) groups * place, 200);
            fp8.maskedGroupedGemm(x.a, counts, x.b, d.view());
            assertArrayEquals(expected, bytes(d.memory()), backend);
        }
    }

    /** NaN where no group is must not be seen. */
    @ParameterizedTest
    @MethodSource("dev.octet.fp8.TestedBackends#names")
    void otherRowsAreNotRead(String backend) {
        SplittableRandom r = new SplittableRandom(7);
        ScaledTensor a = Matrices.random(arena, r, Layout.CONTIGUOUS, DType.F8_E4M3, 30, 256, Scaling.ACTIVATION);
        List<ScaledTensor> b = List.of(
                Matrices.random(arena, r, Layout.CONTIGUOUS, DType.F8_E4M3, 5, 256, Scaling.WEIGHT),
                Matrices.random(arena, r, Layout.CONTIGUOUS, DType.F8_E4M3, 5, 256, Scaling.WEIGHT));
        a.codes().slice(0, 12, 15).segment().fill((byte) 0x7F);
        a.codes().slice(0, 16, 30).segment().fill((byte) 0x7F);
        Layout.Placed d = Layout.CONTIGUOUS.place(arena, DType.F32, 30, 5);
        Fp8.on(backend).maskedGroupedGemm(a, new long[] {12, 1}, b, d.view());
        for (int m = 0; m < 30; m++) {
            for (int n = 0; n < 5; n++) {
                int bits = Float.floatToRawIntBits(d.view().getFloat(m, n));
                if (m < 12 || m == 15) {
                    assertEquals(true, Float.isFinite(Float.intBitsToFloat(bits)), m + ", " + n);
                } else {
                    assertEquals(-1, bits, m + ", " + n);
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("dev.octet.fp8.TestedBackends#names")
    void stackedWeights(String backend) {
        SplittableRandom r = new SplittableRandom(8);
        ScaledTensor a = Matrices.random(arena, r, Layout.CONTIGUOUS, DType.F8_E4M3, 20, 200, Scaling.ACTIVATION);
        ScaledTensor b = Matrices.random(arena, r, Layout.ROW_GAPS, DType.F8_E4M3, 512, 200, Scaling.WEIGHT);
        Fp8 fp8 = Fp8.on(backend);
        try (Tensor whole = fp8.gemm(a, b, DType.F32); Tensor d = Tensor.allocate(DType.F32, Shape.of(20, 256))) {
            fp8.groupedGemm(a, new long[] {0, 9, 20}, b.split(2), d);
            for (int m = 0; m < 20; m++) {
                for (int n = 0; n < 256; n++) {
                    assertEquals(whole.getFloat(m, m < 9 ? n : 256 + n), d.getFloat(m, n));
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"none", "F32", "BF16", "output"})
    void groupsAlongK(String addend) {
        SplittableRandom r = new SplittableRandom(9);
        long[] offsets = {0, 128, 128, 640, 768, 768, 1000, 1000};
        int groups = offsets.length - 1;
        Scaling scaling = new Scaling(Granularity.BLOCK_128X1, ScaleFormat.F32);
        for (Layout layout : Layout.values()) {
            ScaledTensor dy = Matrices.random(arena, r, layout, DType.F8_E4M3, 1003, 70, scaling);
            ScaledTensor x = Matrices.random(arena, r, layout, DType.F8_E4M3, 1003, 130, scaling);
            long[] ends = offsets.clone();
            ends[6] = 1003;
            ends[7] = 1003;
            for (String backend : TestedBackends.names().toList()) {
                Fp8 fp8 = Fp8.on(backend);
                Tensor before = Matrices.gaussian(arena, new SplittableRandom(10), Layout.CONTIGUOUS,
                        addend.equals("BF16") ? DType.BF16 : DType.F32, groups * 70L, 130, 3).reshape(groups, 70, 130);
                Tensor d = Layout.CONTIGUOUS.place(arena, DType.F32, groups * 70L, 130).view().reshape(groups, 70, 130);
                Tensor c = switch (addend) {
                    case "none" -> null;
                    case "output" -> d;
                    default -> before;
                };
                if (c == d) {
                    d.copyFrom(before);
                }
                fp8.kGroupedGemm(dy.transpose(), x.transpose(), ends, d, c);
                for (int g = 0; g < groups; g++) {
                    Tensor expected = Layout.CONTIGUOUS.place(arena, DType.F32, 70, 130).view();
                    Epilogue e = c == null ? Epilogue.NONE
                            : Epilogue.NONE.withAddend(before.slice(0, g, g + 1).reshape(70, 130));
                    fp8.gemm(dy.transpose().sliceColumns(ends[g], ends[g + 1]),
                            x.transpose().sliceColumns(ends[g], ends[g + 1]), expected, e);
                    Tensor actual = d.slice(0, g, g + 1).reshape(70, 130);
                    assertArrayEquals(expected.toFloatArray(), actual.toFloatArray(), backend + " group " + g);
                    if (ends[g] == ends[g + 1]) {
                        assertArrayEquals(c == null ? new float[70 * 130]
                                : before.slice(0, g, g + 1).toFloatArray(), actual.toFloatArray(), "empty " + g);
                    } else {
                        assertNotEquals(0f, actual.getFloat(0, 0));
                    }
                }
            }
        }
    }

    /** What a group has does not depend on who else is there, nor on where it lies. */
    @ParameterizedTest
    @MethodSource("dev.octet.fp8.TestedBackends#names")
    void orderOfGroups(String backend) {
        SplittableRandom r = new SplittableRandom(11);
        int[] counts = {12, 3, 1, 40};
        long[] offsets = offsets(counts);
        Operands x = new Operands(Matrices.random(arena, r, Layout.CONTIGUOUS, DType.F8_E4M3, 56, 300,
                Scaling.ACTIVATION), List.of(weights(r), weights(r), weights(r), weights(r)));
        try (Tensor d = Tensor.allocate(DType.F32, Shape.of(56, 200));
                Tensor last = Tensor.allocate(DType.F32, Shape.of(40, 200))) {
            Fp8.on(backend).groupedGemm(x.a, offsets, x.b, d);
            Fp8.on(backend).groupedGemm(x.a.sliceRows(16, 56), new long[] {0, 0, 40},
                    List.of(x.b.get(0), x.b.get(3)), last);
            assertArrayEquals(d.slice(0, 16, 56).toFloatArray(), last.toFloatArray());
        }
    }

    private ScaledTensor weights(SplittableRandom r) {
        return Matrices.random(arena, r, Layout.CONTIGUOUS, DType.F8_E4M3, 200, 300, Scaling.WEIGHT);
    }
}
