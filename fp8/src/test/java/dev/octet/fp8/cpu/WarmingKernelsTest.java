package dev.octet.fp8.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.fp8.Overflow;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The switch from plain loops to vector kernels: never seen in the results, made when it pays and only then. */
class WarmingKernelsTest {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED;

    /** The time, which passes in kernels alone. */
    private long now;

    /** Plain kernels that take a given time for each element, and count what they are asked. */
    private final class Timed extends ScalarKernels {
        private final long picosPerElement;
        private long nanos;
        private long elements;

        Timed(long picosPerElement) {
            this.picosPerElement = picosPerElement;
        }

        @Override
        public void encodeBlocks(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
                MemorySegment factors, long factorsRowBytes, FloatFormat format, MemorySegment codes, long codesAt,
                long codesRowBytes) {
            super.encodeBlocks(x, bf16, at, rowBytes, rows, columns, factors, factorsRowBytes, format, codes, codesAt,
                    codesRowBytes);
            elements += rows * columns;
            long took = rows * columns * picosPerElement / 1000;
            now += took;
            nanos += took;
        }
    }

    private static void encode(TileKernels kernels, Arena arena, int rows, int columns, int calls) {
        MemorySegment x = arena.allocate(4L * rows * columns);
        MemorySegment factors = arena.allocate(4L * rows * TileKernels.blocks(columns));
        MemorySegment codes = arena.allocate((long) rows * columns);
        for (int i = 0; i < calls; i++) {
            kernels.encodeBlocks(x, false, 0, 4L * columns, rows, columns, factors, 4 * TileKernels.blocks(columns),
                    FloatFormat.E4M3, codes, 0, columns);
        }
    }

    @Test
    void fasterKernelTakesOver() {
        Timed plain = new Timed(100_000);
        Timed vector = new Timed(20_000);
        WarmingKernels kernels = new WarmingKernels(plain, vector, () -> now);
        try (Arena arena = Arena.ofConfined()) {
            assertFalse(kernels.isWarm(false, FloatFormat.E4M3));
            encode(kernels, arena, 16, 512, 40);
            assertTrue(kernels.isWarm(false, FloatFormat.E4M3));
            assertFalse(kernels.isWarm(true, FloatFormat.E4M3), "another source type is another kernel");
            assertFalse(kernels.isWarm(false, FloatFormat.E5M2), "another format is another kernel");
            long before = plain.elements;
            encode(kernels, arena, 16, 512, 5);
            assertEquals(before, plain.elements, "elements that the plain loops still did");
        }
    }

    @Test
    void slowerKernelTakesHalfOfTheTimeAtMost() {
        Timed plain = new Timed(10_000);
        Timed vector = new Timed(500_000);
        WarmingKernels kernels = new WarmingKernels(plain, vector, () -> now);
        try (Arena arena = Arena.ofConfined()) {
            encode(kernels, arena, 64, 512, 200);
            assertFalse(kernels.isWarm(false, FloatFormat.E4M3));
            assertTrue(vector.elements > 0, "it is tried");
            // One trial more than the share allows, of 4 rows of 512 elements at 500 ns.
            assertTrue(vector.nanos <= plain.nanos + 4 * 512 * 500, vector.nanos + " ns of " + plain.nanos);
            assertTrue(vector.nanos > plain.nanos / 2, "it goes on being tried: " + vector.nanos);
        }
    }

    @Test
    void singleRowsAreTriedToo() {
        WarmingKernels kernels = new WarmingKernels(new Timed(100_000), new Timed(20_000), () -> now);
        try (Arena arena = Arena.ofConfined()) {
            encode(kernels, arena, 1, 7168, 40);
        }
        assertTrue(kernels.isWarm(false, FloatFormat.E4M3));
    }

    /** Plain loops that claim to be slow, so that every call is cut between the two kernels until the switch. */
    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"F8_E4M3", "F8_E5M2"})
    void bitsAreThoseOfThePlainLoops(DType dtype) {
        long seed = 7;
        Random random = new Random(seed);
        FloatFormat format = FloatFormat.of(dtype, Overflow.SATURATE);
        TileKernels plain = new ScalarKernels();
        for (int i = 0; i < 150; i++) {
            WarmingKernels kernels = new WarmingKernels(plain, new VectorHalfKernels(), System::nanoTime);
            int rows = 1 + random.nextInt(i % 3 == 0 ? 150 : 5);
            int columns = 1 + random.nextInt(i % 3 == 0 ? 300 : 3000);
            boolean bf16 = random.nextBoolean();
            String what = "seed " + seed + ", step " + i + ", " + rows + "x" + columns + ", bf16 " + bf16;
            try (Arena arena = Arena.ofConfined()) {
                for (int call = 0; call < 6; call++) {
                    compare(plain, kernels, arena, random, rows, columns, bf16, format, what + ", call " + call);
                }
            }
        }
    }

    private static void compare(TileKernels plain, TileKernels tested, Arena arena, Random random, int rows,
            int columns, boolean bf16, FloatFormat format, String what) {
        long blocks = TileKernels.blocks(columns);
        long rowBytes = (bf16 ? 2L : 4L) * columns + 8;
        long codesRowBytes = columns + 3L;
        MemorySegment x = arena.allocate(rows * rowBytes + 64);
        for (int r = 0; r < rows; r++) {
            for (int c = 0; c < columns; c++) {
                float v = (float) (random.nextGaussian() * Math.scalb(1f, random.nextInt(20) - 10));
                if (bf16) {
                    x.set(I16, r * rowBytes + 2L * c, BFloat16.fromFloat(v));
                } else {
                    x.set(F32, r * rowBytes + 4L * c, v);
                }
            }
        }
        MemorySegment factors = arena.allocate(4 * rows * blocks);
        MemorySegment ofColumns = arena.allocate(4L * columns + 64);
        for (long i = 0; i < rows * blocks; i++) {
            factors.set(F32, 4 * i, 0.01f + 0.1f * random.nextFloat());
        }
        for (long i = 0; i < columns; i++) {
            ofColumns.set(F32, 4 * i, 0.01f + 0.1f * random.nextFloat());
        }
        byte[][] expected = new byte[9][];
        byte[][] got = new byte[9][];
        for (TileKernels k : new TileKernels[] {plain, tested}) {
            byte[][] to = k == plain ? expected : got;
            MemorySegment codes = arena.allocate(rows * codesRowBytes + 64);
            MemorySegment y = arena.allocate(rows * (4L * columns + 8) + 64);
            MemorySegment max = arena.allocate(4L * Math.max(rows * blocks, columns) + 64);
            k.maxBitsOfBlocks(x, bf16, 0, rowBytes, rows, columns, max);
            to[0] = bytes(max, 4 * rows * blocks);
            k.maxBitsOfColumns(x, bf16, 0, rowBytes, rows, columns, max);
            to[1] = bytes(max, 4L * columns);
            k.cast(x, bf16, 0, rowBytes, rows, columns, format, codes, 0, codesRowBytes);
            to[2] = bytes(codes, rows * codesRowBytes);
            k.encodeColumns(x, bf16, 0, rowBytes, rows, columns, ofColumns, format, codes, 0, codesRowBytes);
            to[3] = bytes(codes, rows * codesRowBytes);
            k.encodeBlocks(x, bf16, 0, rowBytes, rows, columns, factors, 4 * blocks, format, codes, 0, codesRowBytes);
            to[4] = bytes(codes, rows * codesRowBytes);
            k.decodeBlocks(codes, 0, codesRowBytes, rows, columns, format, factors, 4 * blocks, y, bf16, 0,
                    4L * columns + 8);
            to[5] = bytes(y, rows * (4L * columns + 8));
            k.decodeColumns(codes, 0, codesRowBytes, rows, columns, format, ofColumns, y, bf16, 0, 4L * columns + 8);
            to[6] = bytes(y, rows * (4L * columns + 8));
            k.widen(codes, 0, rows * columns / 2, y, 0);
            to[7] = bytes(y, 4L * (rows * columns / 2));
            k.narrow(ofColumns, 0, columns, max, 0);
            to[8] = bytes(max, 2L * columns);
        }
        for (int i = 0; i < expected.length; i++) {
            assertArrayEquals(expected[i], got[i], what + ", operation " + i);
        }
    }

    private static byte[] bytes(MemorySegment s, long n) {
        return s.asSlice(0, n).toArray(ValueLayout.JAVA_BYTE);
    }
}
