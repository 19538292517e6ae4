package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.core.DType;
import dev.octet.core.Execution;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.mla.TestTensor.Layout;
import dev.octet.mla.spi.MlaBackend;
import dev.octet.mla.spi.PagedLatents;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The bytes of records on every backend, against those that {@link CacheRecord} makes. */
@Tag("backend")
class RecordTest {
    private static final long SEED = 20261123;

    private static final int[][] BF16_DIMS =
            {{512, 64}, {1, 0}, {7, 1}, {13, 7}, {31, 33}, {128, 16}, {129, 65}, {576, 2}};
    private static final int[][] FP8_DIMS = {{512, 64}, {128, 0}, {256, 1}, {384, 13}, {1024, 64}};

    /** More than one thread on any machine. */
    private static final CpuPool POOL = new CpuPool(3);

    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void everyDimensionDtypeAndLayout(String name) {
        SplittableRandom random = new SplittableRandom(SEED);
        MlaBackend backend = MlaBackends.FOUND.named(name);
        for (CacheFormat format : CacheFormat.values()) {
            for (int[] dims : format == CacheFormat.BF16 ? BF16_DIMS : FP8_DIMS) {
                for (Layout layout : Layout.values()) {
                    DType latent = random.nextBoolean() ? DType.F32 : DType.BF16;
                    DType rope = random.nextBoolean() ? DType.F32 : DType.BF16;
                    new Case(format, dims[0], dims[1], latent, rope, layout, 5).check(backend, random);
                    new Case(format, dims[0], dims[1], latent == DType.F32 ? DType.BF16 : DType.F32, rope, layout, 1)
                            .check(backend, random);
                }
            }
        }
    }

    /** Several tasks of several threads. */
    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void manyTokens(String name) {
        SplittableRandom random = new SplittableRandom(SEED + 1);
        for (CacheFormat format : CacheFormat.values()) {
            new Case(format, 128, 16, DType.F32, DType.F32, Layout.DENSE, 150).check(MlaBackends.FOUND.named(name),
                    random);
        }
    }

    private record Case(CacheFormat format, int rank, int ropeDim, DType latentType, DType ropeType, Layout layout,
            int tokensAtMost) {
        void check(MlaBackend backend, SplittableRandom random) {
            int bytes = format.bytesPerToken(rank, ropeDim);
            int pageSize = random.nextInt(1, 6);
            int[] lengths = new int[3];
            int[] from = new int[3];
            int total = 0;
            for (int s = 0; s < 3; s++) {
                from[s] = random.nextInt(2 * pageSize);
                int tokens = s == 1 ? 0 : random.nextInt(tokensAtMost) + 1;
                lengths[s] = from[s] + tokens;
                total += tokens;
            }
            int[][] tables = new int[3][];
            int pages = 0;
            for (int s = 0; s < 3; s++) {
                tables[s] = new int[Math.ceilDiv(lengths[s], pageSize) + 1];
                pages += tables[s].length;
            }
            int next = pages - 1;
            for (int i = 0; i < pages; i++) { // no two neighbours of a sequence are neighbours in memory
                for (int s = 0; s < 3; s++) {
                    if (i < tables[s].length) {
                        tables[s][i] = next--;
                    }
                }
            }
            String what = backend.name() + " " + this + ", seed " + SEED;
            try (Tensor memory = Tensor.allocate(DType.U8, Shape.of(pages, pageSize, bytes));
                    TestTensor latent = TestTensor.of(latentType, layout, total, rank);
                    TestTensor ropeKeys = TestTensor.of(ropeType, layout, total, ropeDim);
                    TestTensor latentBack = TestTensor.of(latentType, layout, total, rank);
                    TestTensor ropeBack = TestTensor.of(ropeType, layout, total, ropeDim)) {
                memory.segment().fill((byte) 0xA5);
                fill(latent, random, rank);
                fill(ropeKeys, random, Math.max(1, ropeDim));
                PagedLatents paged = new PagedLatents(format, rank, ropeDim, memory, tables, lengths);
                byte[] expected = memory.segment().toArray(ValueLayout.JAVA_BYTE);
                float[] x = latent.values();
                float[] k = ropeKeys.values();
                float[] y = new float[x.length];
                for (int s = 0, row = 0; s < 3; s++) {
                    for (int t = from[s]; t < lengths[s]; t++, row++) {
                        byte[] record = CacheRecord.of(format, Arrays.copyOfRange(x, row * rank, (row + 1) * rank),
                                Arrays.copyOfRange(k, row * ropeDim, (row + 1) * ropeDim));
                        System.arraycopy(record, 0, expected, (int) paged.offset(s, t), bytes);
                        System.arraycopy(CacheRecord.latent(format, record, rank), 0, y, row * rank, rank);
                    }
                }

                backend.write(latent.view(), ropeKeys.view(), paged, from, new Execution(POOL));
                byte[] written = memory.segment().toArray(ValueLayout.JAVA_BYTE);
                int differ = Arrays.mismatch(expected, written);
                assertEquals(-1, differ, () -> what + ": byte " + differ % bytes + " of a record is " + written[differ]
                        + " instead of " + expected[differ]);
                assertArrayEquals(x, latent.values(), what + ": the input was written");

                backend.read(paged, from, latentBack.view(), ropeBack.view(), new Execution(POOL));
                float[] read = latentBack.values();
                for (int i = 0; i < y.length; i++) {
                    float rounded = latentType == DType.F32 ? y[i] : Float.intBitsToFloat(CacheRecord.bf16(y[i]) << 16);
                    float wanted = Float.isNaN(rounded) && format != CacheFormat.BF16 ? Float.NaN : rounded;
                    assertEquals(Float.floatToRawIntBits(wanted), Float.floatToRawIntBits(read[i]),
                            what + " read " + i);
                }
                float[] keys = ropeBack.values();
                for (int i = 0; i < k.length; i++) {
                    assertEquals(CacheRecord.bf16(k[i]) << 16, Float.floatToRawIntBits(keys[i]), what + " key " + i);
                }
                latentBack.assertSurroundingsUntouched(what);
                ropeBack.assertSurroundingsUntouched(what);
            }
        }
    }

    /** Every row, or piece of 128 of it, is of another kind: all that quantisers have got wrong before. */
    private static void fill(TestTensor t, SplittableRandom random, int columns) {
        float[] values = new float[(int) t.view().shape().elements()];
        for (int begin = 0; begin < values.length;) {
            int n = Math.min(values.length - begin, Math.min(128, columns - begin % columns));
            fill(values, begin, begin + n, random);
            begin += n;
        }
        t.view().copyFrom(values);
    }

    private static void fill(float[] x, int from, int to, SplittableRandom random) {
        int kind = random.nextInt(12);
        float scale = (float) Math.pow(2, random.nextInt(-140, 125));
        for (int i = from; i < to; i++) {
            x[i] = switch (kind) {
                case 0 -> random.nextBoolean() ? 0f : -0f;
                case 1 -> Float.intBitsToFloat(random.nextInt() & 0x807F_FFFF); // subnormals
                case 2 -> Float.intBitsToFloat(random.nextInt()); // anything, NaN and infinity included
                case 3 -> (random.nextInt(-8, 9) * 2 + 1) * 0x1p-10f * 0x1p-13f; // ties between subnormal codes
                case 4 -> (random.nextInt(16, 33) * 2 + 1) * (random.nextBoolean() ? 0x1p-3f : -0x1p2f); // ties
                case 5 -> (float) random.nextGaussian() * scale;
                case 6 -> (float) random.nextGaussian() * (float) Math.pow(2, random.nextInt(-20, 0));
                case 7 -> (float) (random.nextDouble() * 0.0896 - 0.0448); // about where FP8's scale is clamped
                default -> (float) random.nextGaussian();
            };
        }
        if (kind >= 8) { // the largest magnitude decides about the scale: a power of two, just below or above one
            float amax = 448f * (float) Math.pow(2, random.nextInt(-14, 8));
            x[random.nextInt(from, to)] = switch (kind) {
                case 8 -> amax;
                case 9 -> Math.nextDown(amax);
                case 10 -> -Math.nextUp(amax);
                default -> 3.4e38f;
            };
        }
        for (int i = from; i < to; i++) {
            // TestTensor's poison and Java's conversions keep no payload of a NaN.
            x[i] = Float.isNaN(x[i]) ? Float.NaN : x[i];
        }
    }

    // ---------------------------------------------------------------------------------------------- by hand

    /** FlashMLA's rule: 1 / 448 is above 2^-9, so the scale is 2^-8 and 1.0 becomes 256. */
    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void fp8ByHand(String name) {
        float[] x = new float[128];
        float[] values = {1f, -0.5f, 0.3f, 0x1p-18f, 0x1.8p-17f, -0f, 0x1p-14f, -0x1.fp-1f};
        // 256, -128, 76.8 (80 is nearest), 2^-10 (a tie, to 0), 1.5 * 2^-9 (a tie, to 2), -0, 2^-6, -248 (a tie, 256)
        System.arraycopy(values, 0, x, 0, values.length);
        float[] k = {1f, -2f, 0x1.01p0f, 0x1.03p0f, 0x1.030002p0f}; // the third and fourth are ties
        assertRecord(name, CacheFormat.FP8, x, k, "78F06A00028008F8" + "00".repeat(120) + "0000803B"
                + "803F" + "00C0" + "803F" + "823F" + "823F");
    }

    /** amax = 448 gives the scale 1 in both FP8 formats, and every code its own value. */
    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void everyCodeByHand(String name) {
        float[] x = new float[256];
        StringBuilder codes = new StringBuilder();
        for (int i = 0; i < 256; i++) {
            int code = i % 128 == 127 ? i - 1 : i; // not the two NaN
            x[i] = (float) CacheRecord.value(code);
            codes.append(HexFormat.of().withUpperCase().toHexDigits((byte) code));
        }
        assertRecord(name, CacheFormat.FP8, x, new float[0], codes + "0000803F0000803F");
        assertRecord(name, CacheFormat.FP8_FP32_SCALE, x, new float[0], codes + "0000803F0000803F");
    }

    /** A tile of zeros, and amax around 448e-4, where FlashMLA's clamp ends: 2^-13 = 1.22e-4 holds up to 0.0546875. */
    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void smallTiles(String name) {
        assertScale(name, CacheFormat.FP8, 0f, 0x1p-13f, 0x00);
        assertScale(name, CacheFormat.FP8, Float.MIN_VALUE, 0x1p-13f, 0x00);
        assertScale(name, CacheFormat.FP8, 0.0447f, 0x1p-13f, 0x7B);  // 366.2 lies between 352 and 384
        assertScale(name, CacheFormat.FP8, 0.0448f, 0x1p-13f, 0x7B);  // 367.0
        assertScale(name, CacheFormat.FP8, 0.04493f, 0x1p-13f, 0x7C); // 368.1
        assertScale(name, CacheFormat.FP8, 0.0546875f, 0x1p-13f, 0x7E); // 448 * 2^-13
        assertScale(name, CacheFormat.FP8, Math.nextUp(0.0546875f), 0x1p-12f, 0x76); // 224
        assertScale(name, CacheFormat.FP8, 448f, 1f, 0x7E);
        assertScale(name, CacheFormat.FP8, 449f, 2f, 0x76);
        assertScale(name, CacheFormat.FP8, Float.MAX_VALUE, 0x1p120f, 0x78); // 2^128 / 448 is above 2^119: 256
        assertScale(name, CacheFormat.FP8_FP32_SCALE, 0f, 1e-4f / 448f, 0x00);
        assertScale(name, CacheFormat.FP8_FP32_SCALE, 1e-4f, 1e-4f / 448f, 0x7E);
        assertScale(name, CacheFormat.FP8_FP32_SCALE, 0.5e-4f, 1e-4f / 448f, 0x76);
        assertScale(name, CacheFormat.FP8_FP32_SCALE, 0.0448f, 0.0448f / 448f, 0x7E);
        assertScale(name, CacheFormat.FP8_FP32_SCALE, Float.MAX_VALUE, Float.MAX_VALUE / 448f, 0x7E);
    }

    /** A NaN takes its whole tile along, an infinity makes NaN of itself and zeros of the others; other tiles stay. */
    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void notFinite(String name) {
        for (CacheFormat format : new CacheFormat[] {CacheFormat.FP8, CacheFormat.FP8_FP32_SCALE}) {
            float[] x = new float[384];
            Arrays.fill(x, -448f);
            x[5] = Float.intBitsToFloat(0xFFC00001);
            x[6] = Float.POSITIVE_INFINITY;
            x[128] = Float.NEGATIVE_INFINITY;
            x[129] = 1f;
            assertRecord(name, format, x, new float[] {Float.NEGATIVE_INFINITY, 3.4e38f},
                    "7F".repeat(128) + "7F00" + "80".repeat(126) + "FE".repeat(128) + "0000C07F" + "0000807F"
                            + "0000803F" + "80FF" + "807F");
        }
    }

    private static void assertScale(String name, CacheFormat format, float amax, float scale, int code) {
        float[] x = new float[128];
        x[77] = -amax;
        byte[] bytes = new byte[4];
        for (int i = 0; i < 4; i++) {
            bytes[i] = (byte) (Float.floatToRawIntBits(scale) >>> 8 * i);
        }
        assertRecord(name, format, x, new float[0], "00".repeat(77)
                + HexFormat.of().withUpperCase().toHexDigits((byte) (code | 0x80)) + "00".repeat(50)
                + HexFormat.of().withUpperCase().formatHex(bytes));
    }

    private static void assertRecord(String name, CacheFormat format, float[] x, float[] k, String hex) {
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            int bytes = format.bytesPerToken(x.length, k.length);
            try (Tensor memory = Tensor.allocate(DType.U8, Shape.of(1, 1, bytes));
                    Tensor latent = Tensor.allocate(dtype, Shape.of(1, x.length));
                    Tensor ropeKeys = Tensor.of(k, 1, k.length)) {
                latent.copyFrom(x);
                if (dtype == DType.BF16 && !Arrays.equals(x, latent.toFloatArray())) {
                    continue; // no BF16 has these values
                }
                PagedLatents one = new PagedLatents(format, x.length, k.length, memory, new int[][] {{0}},
                        new int[] {1});
                MlaBackends.FOUND.named(name).write(latent, ropeKeys, one, new int[] {0}, Execution.shared());
                MemorySegment s = memory.segment();
                assertEquals(hex, HexFormat.of().withUpperCase().formatHex(s.toArray(ValueLayout.JAVA_BYTE)),
                        name + " " + format + " from " + dtype);
            }
        }
    }
}
