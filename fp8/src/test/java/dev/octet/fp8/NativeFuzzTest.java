package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Function;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * Native code through the public operations, with whatever they take: any extents, none at all, odd addresses, gaps,
 * transposed and sparse views, read-only operands. Results are the scalar backend's, to the bit or within the bound of
 * the sums, and not a byte beside them is written; what does not fit, is closed or read-only is refused before anything
 * is written. A failure names its seed; {@code -Doctet.test.seed=N} runs it alone, {@code -Doctet.test.rounds=N} more.
 */
@Tag("backend")
class NativeFuzzTest {
    private static final long[] EXTENTS = {0, 1, 1, 2, 3, 5, 7, 8, 9, 13, 16, 17, 31, 33, 47, 63, 64, 65, 97, 127, 128,
        129, 130, 191, 255, 257, 300};
    private static final DType[] FP8 = {DType.F8_E4M3, DType.F8_E5M2};
    private static final DType[] WIDE = {DType.F32, DType.BF16, DType.F16};
    private static final byte GUARD = 0x5A;
    private static final double U = 0x1p-24;

    private final Fp8 scalar = Fp8.on("scalar");

    /** Memory with guards, and a matrix somewhere in it. */
    private record Placed(MemorySegment memory, Function<MemorySegment, Tensor> matrix, Tensor view) {
        Tensor readOnly() {
            return matrix.apply(memory.asReadOnly());
        }
    }

    /** One round's random choices and memory. */
    private final class Round {
        final SplittableRandom random;
        final Arena arena;
        final Fp8 nativeFp8 = Fp8.on("native");

        Round(long seed, Arena arena) {
            random = new SplittableRandom(seed);
            this.arena = arena;
        }

        <T> T any(T[] all) {
            return all[random.nextInt(all.length)];
        }

        long extent() {
            return EXTENTS[random.nextInt(EXTENTS.length)];
        }

        /** Dense, with gaps between rows, by columns, or with no stride of one; often from an odd address. */
        Placed place(DType dtype, long rows, long columns) {
            long gap = random.nextInt(70);
            Function<MemorySegment, Tensor> matrix;
            long elements;
            switch (random.nextInt(5)) {
                case 0, 1 -> {
                    elements = rows * columns;
                    matrix = m -> Tensor.wrap(m, dtype, Shape.of(rows, columns));
                }
                case 2 -> {
                    elements = rows * (columns + gap);
                    matrix = m -> Tensor.wrap(m, dtype, Shape.of(rows, columns + gap)).slice(1, gap / 2,
                            gap / 2 + columns);
                }
                case 3 -> {
                    elements = columns * (rows + gap);
                    matrix = m -> Tensor.wrap(m, dtype, Shape.of(columns, rows + gap)).slice(1, gap / 2,
                            gap / 2 + rows).transpose();
                }
                default -> {
                    elements = rows * columns * 3;
                    matrix = m -> Tensor.wrap(m, dtype, Shape.of(rows, columns, 3)).slice(2, 1, 2)
                            .reshape(rows, columns);
                }
            }
            long bytes = elements * dtype.byteSize();
            long before = random.nextBoolean() ? 64 : 64 + random.nextInt(9);
            MemorySegment memory = arena.allocate(before + bytes + 64, 64);
            memory.fill(GUARD);
            Function<MemorySegment, Tensor> inside = m -> matrix.apply(m.asSlice(before, bytes));
            return new Placed(memory, inside, inside.apply(memory));
        }

        void fill(Tensor x) {
            for (long i = 0; i < x.dim(0); i++) {
                for (long j = 0; j < x.dim(1); j++) {
                    float v = (float) random.nextDouble(-1, 1);
                    set(x, i, j, switch (random.nextInt(40)) {
                        case 0 -> v * 1000;
                        case 1 -> Math.scalb(v, -20 - random.nextInt(110));
                        case 2 -> random.nextInt(50) == 0 ? Float.NaN : 0f;
                        default -> v;
                    });
                }
            }
        }

        void fillCodes(Tensor x, boolean finite) {
            int limit = finite ? x.dtype() == DType.F8_E4M3 ? 0x7F : 0x7C : 0x80;
            for (long i = 0; i < x.dim(0); i++) {
                for (long j = 0; j < x.dim(1); j++) {
                    byte code = (byte) (random.nextInt(limit) | random.nextInt(2) << 7);
                    x.segment().set(ValueLayout.JAVA_BYTE, i * x.stride(0) + j * x.stride(1), code);
                }
            }
        }

        /** A scaled matrix whose codes and scales lie anywhere, and the memory of both. */
        ScaledTensor scaled(long rows, long columns, Scaling scaling, List<Placed> memory) {
            Shape s = scaling.granularity().scaleShape(rows, columns);
            Placed codes = place(any(FP8), rows, columns);
            Placed scales = place(scaling.format().dtype(), s.dim(0), s.dim(1));
            memory.add(codes);
            memory.add(scales);
            return new ScaledTensor(codes.view, scales.view, scaling);
        }

        Scaling scaling(Granularity granularity) {
            return new Scaling(granularity, any(ScaleFormat.values()));
        }

        void fill(ScaledTensor t) {
            fillCodes(t.codes(), true);
            for (long i = 0; i < t.scales().dim(0); i++) {
                for (long j = 0; j < t.scales().dim(1); j++) {
                    if (t.scaling().format() == ScaleFormat.E8M0) {
                        t.scales().segment().set(ValueLayout.JAVA_BYTE, i * t.scales().stride(0)
                                + j * t.scales().stride(1), (byte) (120 + random.nextInt(10)));
                    } else {
                        set(t.scales(), i, j, t.scaling().format().isPowerOfTwo()
                                ? Math.scalb(1f, random.nextInt(10) - 8) : (float) random.nextDouble(0.01, 2));
                    }
                }
            }
        }

        void quantize() {
            long rows = extent();
            long columns = extent();
            Placed x = place(any(WIDE), rows, columns);
            fill(x.view);
            List<Placed> memory = new ArrayList<>();
            ScaledTensor t = scaled(rows, columns, scaling(any(Granularity.values())), memory);
            try (ScaledTensor expected = ScaledTensor.allocate(t.format(), rows, columns, t.scaling())) {
                scalar.quantize(x.view, expected);
                nativeFp8.quantize(random.nextBoolean() ? x.readOnly() : x.view, t);
                assertSame(expected.codes(), t.codes());
                assertSame(expected.scales(), t.scales());
            }
            memory.forEach(NativeFuzzTest::assertGuarded);
        }

        void dequantize() {
            long rows = extent();
            long columns = extent();
            List<Placed> memory = new ArrayList<>();
            ScaledTensor t = scaled(rows, columns, scaling(any(Granularity.values())), memory);
            fill(t);
            fillCodes(t.codes(), random.nextBoolean());
            Placed y = place(any(WIDE), rows, columns);
            try (Tensor expected = Tensor.allocate(y.view.dtype(), y.view.shape())) {
                scalar.dequantize(t, expected);
                nativeFp8.dequantize(random.nextBoolean() ? new ScaledTensor(memory.get(0).readOnly(),
                        memory.get(1).readOnly(), t.scaling()) : t, y.view);
                assertSame(expected, y.view);
            }
            assertGuarded(y);
        }

        void requantize() {
            long rows = extent();
            long columns = extent();
            List<Placed> memory = new ArrayList<>();
            ScaledTensor from = scaled(rows, columns, scaling(any(Granularity.values())), new ArrayList<>());
            ScaledTensor to = scaled(rows, columns, scaling(any(Granularity.values())), memory);
            fill(from);
            fillCodes(from.codes(), random.nextBoolean());
            try (ScaledTensor expected = ScaledTensor.allocate(to.format(), rows, columns, to.scaling())) {
                scalar.requantize(from, expected);
                nativeFp8.requantize(from, to);
                assertSame(expected.codes(), to.codes());
                assertSame(expected.scales(), to.scales());
            }
            memory.forEach(NativeFuzzTest::assertGuarded);
        }

        void cast() {
            long rows = extent();
            long columns = extent();
            Placed x = place(any(WIDE), rows, columns);
            Placed c = place(any(FP8), rows, columns);
            fill(x.view);
            Overflow overflow = any(Overflow.values());
            try (Tensor codes = Tensor.allocate(c.view.dtype(), c.view.shape());
                    Tensor back = Tensor.allocate(x.view.dtype(), x.view.shape())) {
                scalar.cast(x.view, codes, overflow);
                nativeFp8.cast(x.readOnly(), c.view, overflow);
                assertSame(codes, c.view);
                assertGuarded(c);
                fillCodes(c.view, false);
                scalar.cast(c.view, back, overflow);
                nativeFp8.cast(c.view, x.view, overflow);
                assertSame(back, x.view);
                assertGuarded(x);
            }
        }

        void gemm() {
            long m = extent();
            long n = extent();
            long k = extent() + 128 * random.nextInt(3);
            List<Placed> memory = new ArrayList<>();
            boolean rows = random.nextInt(4) == 0;
            Scaling sa = scaling(rows ? Granularity.ROW : Granularity.BLOCK_1X128);
            Scaling sb = scaling(rows ? Granularity.ROW : random.nextBoolean() ? Granularity.BLOCK_128X128
                    : Granularity.BLOCK_1X128);
            ScaledTensor a = scaled(m, k, sa, memory);
            ScaledTensor b = scaled(n, k, sb, memory);
            fill(a);
            fill(b);
            Placed d = place(random.nextBoolean() ? DType.F32 : DType.BF16, m, n);
            nativeFp8.gemm(a, b, d.view, Epilogue.NONE);
            assertProduct(a, b, d.view, 0, m);
            assertGuarded(d);
        }

        void groups() {
            int groups = 1 + random.nextInt(4);
            long n = extent();
            long k = extent() + 128 * random.nextInt(2);
            long[] offsets = new long[groups + 1];
            for (int g = 0; g < groups; g++) {
                offsets[g + 1] = offsets[g] + EXTENTS[random.nextInt(12)];
            }
            List<Placed> memory = new ArrayList<>();
            ScaledTensor a = scaled(offsets[groups], k, scaling(Granularity.BLOCK_1X128), memory);
            fill(a);
            List<ScaledTensor> b = new ArrayList<>();
            for (int g = 0; g < groups; g++) {
                ScaledTensor w = scaled(n, k, scaling(Granularity.BLOCK_128X128), memory);
                fill(w);
                b.add(w);
            }
            Placed d = place(random.nextBoolean() ? DType.F32 : DType.BF16, a.rows(), n);
            nativeFp8.groupedGemm(a, offsets, b, d.view);
            for (int g = 0; g < b.size(); g++) {
                assertProduct(a, b.get(g), d.view, offsets[g], offsets[g + 1]);
            }
            assertGuarded(d);
        }

        /** What does not fit, or is closed, or can't be written. */
        void refusals() {
            long rows = 1 + extent();
            long columns = 1 + extent();
            Placed x = place(any(WIDE), rows, columns);
            fill(x.view);
            List<Placed> memory = new ArrayList<>();
            ScaledTensor t = scaled(rows, columns, scaling(any(Granularity.values())), memory);
            Placed other = place(x.view.dtype(), rows + 1, columns);
            assertThrows(IllegalArgumentException.class, () -> nativeFp8.quantize(other.view, t));
            assertThrows(IllegalArgumentException.class, () -> nativeFp8.dequantize(t, other.view));
            assertThrows(IllegalArgumentException.class, () -> nativeFp8.cast(other.view, t.codes(), Overflow.SATURATE));
            assertThrows(IllegalArgumentException.class, () -> nativeFp8.dequantize(t, x.readOnly()));
            assertThrows(IllegalArgumentException.class, () -> nativeFp8.cast(x.view, memory.get(0).readOnly(),
                    Overflow.SATURATE));
            Tensor closed = Tensor.allocate(x.view.dtype(), Shape.of(rows, columns));
            closed.close();
            assertThrows(IllegalStateException.class, () -> nativeFp8.quantize(closed, t));
            assertThrows(IllegalStateException.class, () -> nativeFp8.dequantize(t, closed));
            Arena ended = Arena.ofShared();
            Tensor gone = Tensor.allocate(ended, t.format(), Shape.of(rows, columns));
            ended.close();
            assertThrows(IllegalStateException.class, () -> nativeFp8.cast(x.view, gone, Overflow.SATURATE));
            assertAllGuard(t.codes());
            assertAllGuard(t.scales());
            assertAllGuard(other.view);
        }
    }

    @Test
    void whateverComesIsDoneOrRefused() {
        run(Integer.getInteger("octet.test.rounds", 160));
    }

    @Test
    @Tag("exhaustive")
    void whateverComesIsDoneOrRefusedForLong() {
        run(Integer.getInteger("octet.test.rounds", 30_000));
    }

    private void run(int rounds) {
        assumeTrue("native".equals(System.getProperty("octet.test.require"))
                && Fp8Backends.FOUND.unavailable(Fp8Backends.FOUND.named("native")).isEmpty(),
                "native code is not what is tested here");
        Long alone = Long.getLong("octet.test.seed");
        for (int i = 0; i < rounds; i++) {
            long seed = alone != null ? alone : 20241226L + i;
            try (Arena arena = Arena.ofShared()) {
                Round round = new Round(seed, arena);
                switch ((int) (seed % 9)) {
                    case 0, 1 -> round.quantize();
                    case 2 -> round.dequantize();
                    case 3 -> round.cast();
                    case 4, 5 -> round.gemm();
                    case 6 -> round.groups();
                    case 7 -> round.requantize();
                    default -> round.refusals();
                }
            } catch (RuntimeException | AssertionError e) {
                throw new AssertionError("-Doctet.test.seed=" + seed + ": " + e.getMessage(), e);
            }
            if (alone != null) {
                return;
            }
        }
    }

    private static void set(Tensor x, long i, long j, float value) {
        MemorySegment s = x.segment();
        long at = i * x.stride(0) + j * x.stride(1);
        switch (x.dtype()) {
            case F32 -> s.set(ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * at, value);
            case BF16 -> s.set(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * at, BFloat16.fromFloat(value));
            default -> s.set(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * at, Float.floatToFloat16(value));
        }
    }

    /** The bits of an element; a float's NaNs are all the same. */
    private static int bits(MemorySegment s, Tensor x, long i, long j) {
        long at = i * x.stride(0) + j * x.stride(1);
        return switch (x.dtype()) {
            case F32 -> Float.floatToIntBits(s.get(ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * at));
            case BF16 -> Float.floatToIntBits(BFloat16.toFloat(s.get(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * at)));
            case F16 -> Float.floatToIntBits(Float.float16ToFloat(s.get(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * at)));
            default -> s.get(ValueLayout.JAVA_BYTE, at) & 0xFF;
        };
    }

    private static void assertSame(Tensor expected, Tensor actual) {
        MemorySegment e = expected.segment();
        MemorySegment a = actual.segment();
        for (long i = 0; i < expected.dim(0); i++) {
            for (long j = 0; j < expected.dim(1); j++) {
                if (bits(e, expected, i, j) != bits(a, actual, i, j)) {
                    assertEquals(Integer.toHexString(bits(e, expected, i, j)), Integer.toHexString(bits(a, actual, i, j)),
                            actual.dtype() + " " + actual.shape() + " at " + i + "," + j);
                }
            }
        }
    }

    /** Rows of D against the exact sums: each a chain of rounded products and additions, whatever their order. */
    private static void assertProduct(ScaledTensor a, ScaledTensor b, Tensor d, long from, long to) {
        int k = Math.toIntExact(a.columns());
        double[][] x = values(a, from, to);
        double[][] w = values(b, 0, b.rows());
        double unit = d.dtype() == DType.BF16 ? 0x1p-8 : 0;
        for (long i = from; i < to; i++) {
            for (long j = 0; j < b.rows(); j++) {
                double sum = 0;
                double magnitude = 0;
                for (int l = 0; l < k; l++) {
                    double product = x[(int) (i - from)][l] * w[(int) j][l];
                    sum += product;
                    magnitude += Math.abs(product);
                }
                double bound = (128 + k / 128 + 4) * U * magnitude + unit * Math.abs(sum) + 1e-30;
                double value = d.getFloat(i, j);
                assertTrue(Math.abs(value - sum) <= bound * (1 + unit), () -> d.shape() + " of K " + k + ": " + value);
            }
        }
    }

    private static double[][] values(ScaledTensor t, long from, long to) {
        double[][] all = new double[Math.toIntExact(to - from)][Math.toIntExact(t.columns())];
        Granularity g = t.scaling().granularity();
        MemorySegment codes = t.codes().segment();
        for (long i = from; i < to; i++) {
            for (long j = 0; j < t.columns(); j++) {
                all[(int) (i - from)][(int) j] = (double) Fp8Codec.decode(t.format(), codes.get(ValueLayout.JAVA_BYTE,
                        i * t.codes().stride(0) + j * t.codes().stride(1)))
                        * Matrices.getScale(t, i / g.blockRows(), j / g.blockColumns());
            }
        }
        return all;
    }

    /** Writes the guard over the matrix: then all of the memory must hold nothing else. */
    private static void assertGuarded(Placed p) {
        Tensor x = p.view;
        if (x.shape().elements() > 0) {
            MemorySegment s = x.segment();
            int size = x.dtype().byteSize();
            byte[] guards = new byte[size];
            Arrays.fill(guards, GUARD);
            for (long i = 0; i < x.dim(0); i++) {
                for (long j = 0; j < x.dim(1); j++) {
                    MemorySegment.copy(guards, 0, s, ValueLayout.JAVA_BYTE, (i * x.stride(0) + j * x.stride(1)) * size,
                            size);
                }
            }
        }
        for (long i = 0; i < p.memory.byteSize(); i++) {
            if (p.memory.get(ValueLayout.JAVA_BYTE, i) != GUARD) {
                assertEquals(GUARD, p.memory.get(ValueLayout.JAVA_BYTE, i), "byte " + i + " beside the result");
            }
        }
    }

    private static void assertAllGuard(Tensor x) {
        for (long i = 0; i < x.dim(0); i++) {
            for (long j = 0; j < x.dim(1); j++) {
                int size = x.dtype().byteSize();
                for (int n = 0; n < size; n++) {
                    assertEquals(GUARD, x.segment().get(ValueLayout.JAVA_BYTE,
                            (i * x.stride(0) + j * x.stride(1)) * size + n), "written though refused");
                }
            }
        }
    }
}
