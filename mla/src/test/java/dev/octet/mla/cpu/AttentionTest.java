package dev.octet.mla.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Execution;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.mla.AttentionOptions;
import dev.octet.mla.CacheFormat;
import dev.octet.mla.Ragged;
import dev.octet.mla.spi.MlaBackend;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The attention of both CPU backends against loops in FP64, within the bounds of {@link ExactAttention}. */
@Tag("backend")
class AttentionTest {
    private static final float SCALE = 0.0721688f;

    static Stream<MlaBackend> backends() {
        return Cases.backends();
    }

    @ParameterizedTest
    @MethodSource("backends")
    void decodeAtDeepSeekDimensions(MlaBackend backend) {
        Random random = new Random(1);
        for (CacheFormat format : CacheFormat.values()) {
            decode(backend, random, format, 512, 64, 64, 16, DType.BF16, AttentionOptions.causal(SCALE),
                    new int[] {0, 1, 63, 64, 65, 700}, 1, 1, 1, 1, 1, 1);
        }
        decode(backend, random, CacheFormat.BF16, 512, 64, 64, 128, DType.F32, AttentionOptions.causal(SCALE),
                new int[] {1100}, 1);
        decode(backend, random, CacheFormat.FP8, 512, 64, 64, 128, DType.F32, AttentionOptions.causal(SCALE),
                new int[] {130}, 2);
    }

    @ParameterizedTest
    @MethodSource("backends")
    void decodeAtOtherDimensions(MlaBackend backend) {
        Random random = new Random(2);
        for (int heads : new int[] {1, 3, 33, 63}) {
            decode(backend, random, CacheFormat.BF16, 100, 13, 7, heads, DType.F32, AttentionOptions.causal(SCALE),
                    new int[] {5, 97, 2, 0, 200}, 1, 4, 5, 2, 0);
        }
        decode(backend, random, CacheFormat.BF16, 1, 0, 1, 5, DType.F32, AttentionOptions.bidirectional(SCALE),
                new int[] {9, 0}, 3, 2);
        decode(backend, random, CacheFormat.FP8_FP32_SCALE, 128, 7, 16, 5, DType.BF16,
                AttentionOptions.causal(SCALE).withWindow(20), new int[] {90, 300, 19}, 3, 40, 1);
        decode(backend, random, CacheFormat.FP8, 256, 64, 3, 16, DType.F32, AttentionOptions.causal(1).withWindow(1),
                new int[] {600}, 100);
    }

    private static void decode(MlaBackend backend, Random random, CacheFormat format, int rank, int ropeDim,
            int pageSize, int heads, DType type, AttentionOptions options, int[] lengths, int... queries) {
        int tokens = Arrays.stream(queries).sum();
        int dims = rank + ropeDim;
        try (Cases.Cache cache = new Cases.Cache(random, format, rank, ropeDim, pageSize, lengths);
                Tensor query = Tensor.allocate(type, Shape.of(tokens, heads, dims));
                Tensor out = Tensor.allocate(type, Shape.of(tokens, heads, rank));
                Tensor lse = Tensor.allocate(DType.F32, Shape.of(tokens, heads));
                CpuPool one = new CpuPool(1);
                CpuPool three = new CpuPool(3)) {
            query.copyFrom(Cases.gaussian(random, tokens * heads * dims, 1));
            float[] q = query.toFloatArray();
            backend.decode(query, cache.latents, queries, options, out, lse, new Execution(three));
            float[] result = out.toFloatArray();
            float[] logs = lse.toFloatArray();
            String what = backend.name() + " " + format + " " + heads + " heads";
            for (int s = 0, row = 0; s < lengths.length; s++) {
                for (int i = 0; i < queries[s]; i++) {
                    for (int h = 0; h < heads; h++, row++) {
                        new ExactAttention(Cases.row(q, row, dims), cache.keys[s], cache.keys[s], rank,
                                lengths[s] - queries[s] + i, options).check(what + ", length " + lengths[s] + ", query " + i
                                + ", head " + h, result, row * rank, logs[row], type == DType.BF16 ? 0x1p-8 : 0);
                    }
                }
            }
            try (Tensor stridedQuery = Cases.strided(query); Tensor stridedOut = Cases.strided(out);
                    Tensor stridedLse = Cases.strided(lse)) {
                backend.decode(stridedQuery, cache.latents, queries, options, stridedOut, stridedLse,
                        new Execution(one));
                assertArrayEquals(result, stridedOut.toFloatArray(), what + ": strides and threads");
                assertArrayEquals(logs, stridedLse.toFloatArray(), what + ": strides and threads");
            }
        }
    }

    @ParameterizedTest
    @MethodSource("backends")
    void prefill(MlaBackend backend) {
        Random random = new Random(3);
        AttentionOptions causal = AttentionOptions.causal(SCALE);
        prefill(backend, random, 2, 128, 64, 128, DType.F32, causal, Ragged.self(200));
        prefill(backend, random, 3, 40, 0, 33, DType.BF16, causal, new Ragged(new int[] {5, 0, 70, 1}, new int[] {9, 4, 70, 0}));
        prefill(backend, random, 1, 13, 7, 1, DType.F32, causal.withWindow(9), Ragged.self(1, 127, 30));
        prefill(backend, random, 1, 64, 64, 64, DType.F32, AttentionOptions.bidirectional(SCALE),
                new Ragged(new int[] {20, 9}, new int[] {3000, 0}));
        prefill(backend, random, 2, 0, 8, 8, DType.F32, causal, new Ragged(new int[] {40}, new int[] {30}));
    }

    private static void prefill(MlaBackend backend, Random random, int heads, int dims, int ropeDims, int valueDims,
            DType type, AttentionOptions options, Ragged lengths) {
        long queries = lengths.totalQueries();
        long keys = lengths.totalKeys();
        int all = dims + ropeDims;
        try (Tensor query = Tensor.allocate(type, Shape.of(queries, heads, all));
                Tensor key = Tensor.allocate(type, Shape.of(keys, heads, dims));
                Tensor rope = Tensor.allocate(DType.BF16, Shape.of(keys, ropeDims));
                Tensor value = Tensor.allocate(type, Shape.of(keys, heads, valueDims));
                Tensor out = Tensor.allocate(type, Shape.of(queries, heads, valueDims));
                Tensor lse = Tensor.allocate(DType.F32, Shape.of(queries, heads));
                CpuPool two = new CpuPool(2);
                CpuPool one = new CpuPool(1)) {
            for (Tensor t : new Tensor[] {query, key, rope, value}) {
                t.copyFrom(Cases.gaussian(random, (int) t.shape().elements(), 1));
            }
            backend.prefill(query, key, ropeDims == 0 ? null : rope, value, lengths, options, out, lse,
                    new Execution(two));
            float[] q = query.toFloatArray();
            float[] k = key.toFloatArray();
            float[] r = rope.toFloatArray();
            float[] v = value.toFloatArray();
            float[] result = out.toFloatArray();
            float[] logs = lse.toFloatArray();
            for (int s = 0, q0 = 0, k0 = 0; s < lengths.sequences(); s++) {
                int n = lengths.keys()[s];
                int m = lengths.queries()[s];
                for (int h = 0; h < heads; h++) {
                    float[][] headKeys = new float[n][all];
                    float[][] headValues = new float[n][];
                    for (int j = 0; j < n; j++) {
                        System.arraycopy(k, ((k0 + j) * heads + h) * dims, headKeys[j], 0, dims);
                        System.arraycopy(r, (k0 + j) * ropeDims, headKeys[j], dims, ropeDims);
                        headValues[j] = Cases.row(v, (long) (k0 + j) * heads + h, valueDims);
                    }
                    for (int i = 0; i < m; i++) {
                        int row = (q0 + i) * heads + h;
                        new ExactAttention(Cases.row(q, row, all), headKeys, headValues, valueDims, n - m + i, options)
                                .check(backend.name() + " sequence " + s + ", query " + i + ", head " + h, result,
                                        row * valueDims, logs[row], type == DType.BF16 ? 0x1p-8 : 0);
                    }
                }
                q0 += m;
                k0 += n;
            }
            try (Tensor q2 = Cases.strided(query); Tensor k2 = Cases.strided(key); Tensor r2 = Cases.strided(rope);
                    Tensor v2 = Cases.strided(value); Tensor o2 = Cases.strided(out)) {
                backend.prefill(q2, k2, ropeDims == 0 ? null : r2, v2, lengths, options, o2, null,
                        new Execution(one));
                assertArrayEquals(result, o2.toFloatArray(), "strides and threads");
            }
        }
    }

    /** A NaN reaches the rows that see it, and no other. */
    @ParameterizedTest
    @MethodSource("backends")
    void nans(MlaBackend backend) {
        Random random = new Random(4);
        int length = 150;
        int queries = 9;
        int heads = 5;
        for (float special : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
            try (Cases.Cache cache = new Cases.Cache(random, CacheFormat.BF16, 32, 4, 16, length);
                    Tensor query = Tensor.allocate(DType.F32, Shape.of(queries, heads, 36));
                    Tensor out = Tensor.allocate(DType.F32, Shape.of(queries, heads, 32));
                    Tensor lse = Tensor.allocate(DType.F32, Shape.of(queries, heads))) {
                float[] q = Cases.gaussian(random, queries * heads * 36, 1);
                q[(2 * heads + 3) * 36 + 35] = Float.NaN;
                query.copyFrom(q);
                cache.set(0, length - 4, 7, special); // what queries 5 to 8 see
                backend.decode(query, cache.latents, new int[] {queries}, AttentionOptions.causal(SCALE), out, lse,
                        Execution.shared());
                float[] result = out.toFloatArray();
                for (int row = 0; row < queries * heads; row++) {
                    boolean seen = row >= 5 * heads || row == 2 * heads + 3;
                    for (int d = 0; d < 32; d++) {
                        // A score of -Infinity takes a key with it: but 0 times its value is a NaN.
                        boolean reached = seen && (row < 5 * heads || Float.isNaN(special) || d == 7);
                        if (reached) {
                            assertFalse(Float.isFinite(result[row * 32 + d]), special + " row " + row + " dim " + d);
                        } else if (!seen) {
                            assertTrue(Float.isFinite(result[row * 32 + d]), special + " row " + row + " dim " + d);
                        }
                    }
                    if (Float.isNaN(special)) {
                        assertEquals(seen, Float.isNaN(lse.toFloatArray()[row]), "row " + row);
                    }
                }
            }
        }
    }

    /** E4M3's NaN, and scales that are NaN or so large that they can't be multiplied by 2^120. */
    @ParameterizedTest
    @MethodSource("backends")
    void unusualCodesAndScales(MlaBackend backend) {
        Random random = new Random(5);
        try (Cases.Cache cache = new Cases.Cache(random, CacheFormat.FP8_FP32_SCALE, 128, 2, 4, 3, 3, 3);
                Tensor query = Tensor.allocate(DType.F32, Shape.of(3, 1, 130));
                Tensor out = Tensor.allocate(DType.F32, Shape.of(3, 1, 128))) {
            query.copyFrom(Cases.gaussian(random, 390, 1e-30f));
            var bytes = cache.latents.pages().segment();
            bytes.set(java.lang.foreign.ValueLayout.JAVA_BYTE, cache.latents.offset(0, 1) + 77, (byte) 0xFF);
            bytes.set(java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED, cache.latents.offset(1, 2) + 128, Float.NaN);
            float scale = bytes.get(java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED, cache.latents.offset(2, 0) + 128);
            bytes.set(java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED, cache.latents.offset(2, 0) + 128, 1e20f);
            for (int i = 0; i < 128; i++) {
                cache.keys[2][0][i] = cache.keys[2][0][i] / scale * 1e20f;
            }
            backend.decode(query, cache.latents, new int[] {1, 1, 1}, AttentionOptions.causal(1), out, null,
                    Execution.shared());
            float[] result = out.toFloatArray();
            for (int i = 0; i < 256; i++) {
                assertTrue(Float.isNaN(result[i]), "value " + i);
            }
            double[] expected = new ExactAttention(Cases.row(query.toFloatArray(), 2, 130), cache.keys[2], cache.keys[2],
                    128, 2, AttentionOptions.causal(1)).out;
            for (int i = 0; i < 128; i++) {
                assertEquals(expected[i], result[256 + i], Math.abs(expected[i]) * 1e-5 + 1e13, "value " + i);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("backends")
    void merge(MlaBackend backend) {
        float inf = Float.POSITIVE_INFINITY;
        try (Tensor a = Tensor.of(new float[] {1, 2, 3, 4, 0, 0, 7, 8}, 2, 2, 2);
                Tensor b = Tensor.of(new float[] {5, 6, 0, 0, 0, 0, 9, 10}, 2, 2, 2);
                Tensor lseA = Tensor.of(new float[] {0, 1, inf, 1000}, 2, 2);
                Tensor lseB = Tensor.of(new float[] {(float) Math.log(3), inf, inf, -1000}, 2, 2)) {
            backend.merge(a, lseA, b, lseB, b, lseA, Execution.shared());
            assertArrayEquals(new float[] {4, 5, 3, 4, 0, 0, 7, 8}, b.toFloatArray(), 1e-6f);
            assertArrayEquals(new float[] {(float) Math.log(4), 1, inf, 1000}, lseA.toFloatArray(), 1e-6f);
        }
    }
}
