package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.octet.core.DType;
import dev.octet.core.GuardedMemory;
import dev.octet.core.Octet;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import dev.octet.moe.ffm.NativeBackend;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * Native code through the public operations, with whatever they take: any extents, none at all, more slots than there are
 * kernels for, odd addresses, gaps, transposed and sparse views, each in memory that ends or begins at a page nobody may
 * touch. Results are the scalar backend's, to the bit where the operation prescribes them, and not a byte beside them is
 * written; what does not fit, or is closed, is refused before anything is written. A failure names its seed;
 * {@code -Doctet.test.seed=N} runs it alone, {@code -Doctet.test.rounds=N} more.
 */
@Tag("backend")
class NativeFuzzTest {
    private static final int[] COLUMNS = {0, 1, 2, 7, 15, 16, 31, 32, 33, 63, 64, 65, 127, 128, 129, 257, 300};

    @BeforeAll
    static void isThere() {
        assumeTrue(new NativeBackend().unavailable().isEmpty(), "needs the native library");
        assumeTrue(GuardedMemory.isThere(), "memory between pages that can't be touched is made on Linux alone");
    }

    private record Placed(Tensor view, MemorySegment memory) {
        /** Whether all memory but the tensor's own elements is as it was; erases the tensor. */
        boolean surroundingsUntouched() {
            try (Tensor ones = Tensor.allocate(view.dtype(), view.shape())) {
                ones.segment().fill((byte) 0xFF);
                view.copyFrom(ones);
            }
            byte[] expected = new byte[Math.toIntExact(memory.byteSize())];
            Arrays.fill(expected, (byte) 0xFF);
            return Arrays.equals(expected, memory.toArray(ValueLayout.JAVA_BYTE));
        }
    }

    /** One round's random choices and memory. */
    private static final class Round {
        final SplittableRandom random;
        final GuardedMemory memory;
        final CpuPool pool;
        final Moe scalar = Moe.on("scalar");
        final Moe tested;

        Round(long seed, GuardedMemory memory, CpuPool pool) {
            random = new SplittableRandom(seed);
            this.memory = memory;
            this.pool = pool;
            tested = Moe.on("native").with(pool);
        }

        int any(int... of) {
            return of[random.nextInt(of.length)];
        }

        DType type() {
            return random.nextBoolean() ? DType.F32 : DType.BF16;
        }

        /** A matrix of all ones, which is NaN: in most rounds row by row, with gaps or from an odd address. */
        Placed place(DType type, long rows, long columns) {
            int layout = random.nextInt(8);
            long gap = layout < 4 ? random.nextInt(3) : 0;
            long pitch = columns + gap;
            long odd = layout == 4 ? 1 : 0;
            long elements = switch (layout) {
                case 0, 1, 2, 3 -> rows * pitch;
                case 7 -> 2 * rows * columns;
                default -> rows * columns;
            };
            MemorySegment s = memory.allocate(elements * type.byteSize() + odd, random.nextBoolean());
            s.fill((byte) 0xFF);
            Tensor t = switch (layout) {
                case 0, 1, 2, 3 -> Tensor.wrap(s, type, Shape.of(rows, pitch)).slice(1, 0, columns);
                case 6 -> Tensor.wrap(s, type, Shape.of(columns, rows)).transpose();
                case 7 -> Tensor.wrap(s, type, Shape.of(rows, columns, 2)).slice(2, 1, 2).reshape(rows, columns);
                default -> Tensor.wrap(s.asSlice(odd), type, Shape.of(rows, columns));
            };
            return new Placed(t, s);
        }

        Tensor filled(DType type, long rows, long columns) {
            Tensor t = place(type, rows, columns).view();
            float[] values = new float[Math.toIntExact(t.shape().elements())];
            for (int i = 0; i < values.length; i++) {
                values[i] = (float) random.nextDouble(-1, 1);
            }
            t.copyFrom(values);
            return t;
        }

        void rows() {
            int tokens = any(0, 1, 2, 5, 17, 40, 70);
            int topK = random.nextInt(8) == 0 ? any(64, 65) : 1 + random.nextInt(8);
            int experts = 1 + random.nextInt(9);
            int h = any(COLUMNS);
            DType type = type();
            try (Routing routing = TokenPermutationTest.random(random, tokens, topK, experts)) {
                TokenPermutation p = TokenPermutation.of(routing, experts, any(1, 1, 16, 128));
                Tensor weights = random.nextBoolean() ? null : filled(DType.F32, tokens, topK);
                Tensor x = filled(type, tokens, h);
                Placed rows = place(type, p.positions(), h);
                Tensor expected = Tensor.allocate(type, rows.view().shape());
                scalar.expand(p, x, weights, expected);
                tested.expand(p, x, weights, rows.view());
                same(expected, rows);
                Tensor y = filled(type(), p.positions(), h);
                Placed sums = place(type(), tokens, h);
                Tensor expectedSums = Tensor.allocate(sums.view().dtype(), sums.view().shape());
                scalar.reduce(p, y, weights, expectedSums);
                tested.reduce(p, y, weights, sums.view());
                same(expectedSums, sums);
                Tensor larger = filled(type, tokens, h + 1);
                refused(() -> tested.expand(p, larger, weights, rows.view()));
                refused(() -> tested.reduce(p, larger, weights, sums.view()));
                refused(() -> tested.reduce(p, y, filled(DType.F32, tokens, topK + 1), sums.view()));
                Tensor closed = Tensor.allocate(type, x.shape());
                closed.close();
                assertThrows(IllegalStateException.class, () -> tested.expand(p, closed, weights, rows.view()));
                assertTrue(rows.surroundingsUntouched() && sums.surroundingsUntouched(), "written though refused");
                expected.close();
                expectedSums.close();
            }
        }

        void codes() {
            int tokens = any(1, 3, 20, 70);
            int experts = 1 + random.nextInt(5);
            int h = any(COLUMNS);
            Scaling scaling = new Scaling(random.nextBoolean() ? Granularity.BLOCK_1X128 : Granularity.ROW,
                    random.nextBoolean() ? ScaleFormat.F32 : ScaleFormat.E8M0);
            try (Routing routing = TokenPermutationTest.random(random, tokens, 1 + random.nextInt(6), experts);
                    ScaledTensor x = ScaledTensor.allocate(DType.F8_E4M3, tokens, h, scaling)) {
                TokenPermutation p = TokenPermutation.of(routing, experts, any(1, 16));
                for (Tensor t : new Tensor[] {x.codes(), x.scales()}) {
                    for (long i = 0; i < t.segment().byteSize(); i++) {
                        t.segment().set(ValueLayout.JAVA_BYTE, i, (byte) random.nextInt(1, 120));
                    }
                }
                try (ScaledTensor expected = ScaledTensor.allocate(DType.F8_E4M3, p.positions(), h, scaling)) {
                    scalar.expand(p, x, expected);
                    boolean atEnd = random.nextBoolean();
                    ScaledTensor guarded = new ScaledTensor(memory.copy(x.codes(), atEnd),
                            memory.copy(x.scales(), atEnd), scaling);
                    ScaledTensor out = new ScaledTensor(memory.copy(expected.codes(), atEnd),
                            memory.copy(expected.scales(), atEnd), scaling);
                    out.codes().segment().fill((byte) 0xFF);
                    out.scales().segment().fill((byte) 0xFF);
                    tested.expand(p, guarded, out);
                    assertBytes(expected.codes(), out.codes());
                    assertBytes(expected.scales(), out.scales());
                }
            }
        }

        void router() {
            int tokens = any(0, 1, 1, 2, 3, 7, 8, 9, 50, 97);
            int experts = any(1, 2, 3, 5, 8, 9, 16, 63, 70);
            int d = random.nextInt(12) == 0 ? 4096 + any(COLUMNS) : any(COLUMNS);
            Tensor hidden = filled(type(), tokens, d);
            Tensor weight = filled(type(), experts, d);
            Placed out = place(DType.F32, tokens, experts);
            tested.routerLogits(hidden, weight, out.view());
            float[] x = hidden.toFloatArray();
            float[] w = weight.toFloatArray();
            float[] got = out.view().toFloatArray();
            for (int t = 0; t < tokens; t++) {
                for (int e = 0; e < experts; e++) {
                    double sum = 0;
                    double magnitude = 0;
                    for (int i = 0; i < d; i++) {
                        double product = (double) x[t * d + i] * w[e * d + i];
                        sum += product;
                        magnitude += Math.abs(product);
                    }
                    assertEquals(sum, got[t * experts + e], (d + 1) * 0x1p-24 * magnitude, "token " + t + " expert " + e);
                }
            }
            if (tokens > 8) {
                Tensor few = place(DType.F32, 8, experts).view();
                tested.routerLogits(hidden.slice(0, tokens - 8, tokens), weight, few);
                assertArrayEquals(Arrays.copyOfRange(got, (tokens - 8) * experts, got.length), few.toFloatArray());
            }
            refused(() -> tested.routerLogits(hidden, filled(DType.F32, experts, d + 1), out.view()));
            assertTrue(out.surroundingsUntouched(), "memory around out was written");
        }

        private void refused(Runnable call) {
            assertThrows(IllegalArgumentException.class, call::run);
        }
    }

    private static void same(Tensor expected, Placed actual) {
        int[] e = bits(expected);
        assertArrayEquals(e, bits(actual.view()), expected.toString());
        assertTrue(actual.surroundingsUntouched(), "memory around was written");
        actual.view().copyFrom(expected);
    }

    private static int[] bits(Tensor t) {
        float[] values = t.toFloatArray();
        int[] bits = new int[values.length];
        for (int i = 0; i < bits.length; i++) {
            bits[i] = Float.floatToRawIntBits(values[i]);
        }
        return bits;
    }

    private static void assertBytes(Tensor expected, Tensor actual) {
        assertArrayEquals(expected.segment().toArray(ValueLayout.JAVA_BYTE),
                actual.segment().toArray(ValueLayout.JAVA_BYTE), expected.toString());
    }

    @Test
    void whateverTheOperationsTake() {
        Long only = Long.getLong("octet.test.seed");
        long rounds = only != null ? only + 1 : Long.getLong("octet.test.rounds", 90);
        try (CpuPool pool = new CpuPool(2)) {
            for (long seed = only != null ? only : 0; seed < rounds; seed++) {
                try (GuardedMemory memory = new GuardedMemory()) {
                    Round round = new Round(seed, memory, pool);
                    switch ((int) (seed % 3)) {
                        case 0 -> round.rows();
                        case 1 -> round.codes();
                        default -> round.router();
                    }
                } catch (RuntimeException | Error e) {
                    throw new AssertionError("seed " + seed, e);
                }
            }
        }
    }

    /** So many rows that they are written past the caches: lines that are whole, and ends of rows that are not. */
    @Test
    void rowsPastTheCachesHaveTheBitsOfOthers() {
        SplittableRandom random = new SplittableRandom(5);
        int tokens = 106; // of 160 KiB each
        try (Routing routing = TokenPermutationTest.random(random, tokens, 2, 5)) {
            TokenPermutation p = TokenPermutation.of(routing, 5, 16);
            for (DType type : new DType[] {DType.F32, DType.BF16}) {
                int columns = (160 << 10) / type.byteSize();
                try (Tensor x = Tensor.allocate(type, Shape.of(tokens, columns));
                        Tensor rows = Tensor.allocate(type, Shape.of(p.positions(), columns));
                        Tensor plain = Tensor.allocate(type, Shape.of(p.positions(), columns));
                        Tensor sums = Tensor.allocate(type, Shape.of(tokens, columns));
                        Tensor plainSums = Tensor.allocate(type, Shape.of(tokens, columns))) {
                    MemorySegment all = x.segment();
                    long pattern = 20_009; // numbers near 1 in either type, then the same again and again
                    for (long i = 0; i < pattern; i++) {
                        all.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (0x3F00 + random.nextInt(256)));
                    }
                    for (long at = 2 * pattern; at < all.byteSize(); at += 2 * pattern) {
                        long bytes = Math.min(2 * pattern, all.byteSize() - at);
                        MemorySegment.copy(all, 0, all, at, bytes);
                    }
                    Tensor cut = x.slice(1, 0, columns - 3);
                    Tensor weights = type == DType.F32 ? null : routing.weights();
                    Moe.on("native").expand(p, cut, weights, rows.slice(1, 0, columns - 3));
                    Moe.on("scalar").expand(p, cut, weights, plain.slice(1, 0, columns - 3));
                    assertEquals(-1, rows.segment().mismatch(plain.segment()));
                    Moe.on("native").reduce(p, rows, routing.weights(), sums);
                    Moe.on("scalar").reduce(p, plain, routing.weights(), plainSums);
                    assertEquals(-1, sums.segment().mismatch(plainSums.segment()));
                }
            }
        }
    }

    @Test
    void tellsWhoDoesWhat() {
        assumeTrue("native".equals(System.getProperty("octet.test.require")), "native code is what is taken");
        String all = Octet.describe().toString();
        for (String operation : new String[] {"moe.expand", "moe.reduce"}) {
            assertTrue(all.lines().anyMatch(l -> l.matches(operation + " +native,.*")), all);
        }
        assertTrue(all.lines().noneMatch(l -> l.matches("moe.gate +native,.*")), all);
    }
}
