package dev.octet.benchmarks.peer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.mla.AttentionOptions;
import dev.octet.mla.CacheFormat;
import dev.octet.mla.LatentKvCache;
import dev.octet.mla.Mla;
import dev.octet.mla.Ragged;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The peer computes what Octet computes, in each of its forms. */
class TorchAttentionTest {
    private static final int HEADS = 3;
    private static final int ROPE = 64;
    private static final int NOPE = TorchAttention.QUERY_DIM - ROPE;
    private static final float SCALE = 0.07f;

    @BeforeAll
    static void thereIsAPeer() {
        assumeTrue(LibTorch.unavailable().isEmpty(), () -> "without LibTorch: " + LibTorch.unavailable());
    }

    @ParameterizedTest
    @CsvSource({"SDPA,F32", "SDPA,BF16", "PADDED_SDPA,F32", "PADDED_SDPA,BF16", "MATMULS,F32", "MATMULS,BF16"})
    void aPeerAnswersAsOctetDoes(TorchAttention.Form form, DType dtype) {
        compare(form, dtype, 1, 37);
        compare(form, dtype, 13, 13);
    }

    /** Rotary keys are shared by Octet's heads and copied to each of the peer's. */
    private static void compare(TorchAttention.Form form, DType dtype, int queries, int keys) {
        long seed = queries * 100L + keys;
        SplittableRandom random = new SplittableRandom(seed);
        try (Tensor query = random(random, dtype, queries, HEADS, TorchAttention.QUERY_DIM);
                Tensor nope = random(random, dtype, keys, HEADS, NOPE);
                Tensor rope = random(random, dtype, keys, ROPE);
                Tensor values = random(random, dtype, keys, HEADS, TorchAttention.VALUE_DIM);
                Tensor out = Tensor.allocate(DType.F32, Shape.of(queries, HEADS, TorchAttention.VALUE_DIM))) {
            Mla.on("reference").prefill(query, nope, rope, values, new Ragged(new int[] {queries}, new int[] {keys}),
                    AttentionOptions.causal(SCALE), out, null);
            float[] scaled = byHead(query, null);
            for (int i = 0; i < scaled.length; i++) {
                scaled[i] *= SCALE;
            }
            try (TorchAttention peer = TorchAttention.of(form, dtype, 1, HEADS, scaled, byHead(nope, rope),
                    byHead(values, null))) {
                float[] expected = byHead(out, null);
                float[] actual = peer.result();
                assertEquals(expected.length, actual.length);
                // Weights and values of at most 3 in BF16 keep 8 bits.
                double bound = dtype == DType.F32 ? 1e-5 : 3 * 3.0 / 256;
                for (int i = 0; i < expected.length; i++) {
                    assertEquals(expected[i], actual[i], bound, "seed " + seed + ", " + queries + " queries, " + i);
                }
            }
        }
    }

    /** What decoding is held against is the same model's attention, with keys and values instead of latents. */
    @ParameterizedTest
    @CsvSource({"SDPA", "PADDED_SDPA", "MATMULS"})
    void decodingOverLatentsAnswersAsThePeerOverTheirKeysAndValues(TorchAttention.Form form) {
        int tokens = 70;
        int rank = 512;
        SplittableRandom random = new SplittableRandom(7);
        Mla mla = Mla.on("reference");
        try (Tensor query = random(random, DType.F32, 1, HEADS, TorchAttention.QUERY_DIM);
                Tensor latents = random(random, DType.BF16, tokens, rank);
                Tensor rope = random(random, DType.BF16, tokens, ROPE);
                Tensor uk = random(random, DType.F32, HEADS, NOPE, rank);
                Tensor uv = random(random, DType.F32, HEADS, TorchAttention.VALUE_DIM, rank);
                Tensor shared = repeated(latents);
                Tensor keys = Tensor.allocate(DType.F32, Shape.of(tokens, HEADS, NOPE));
                Tensor values = Tensor.allocate(DType.F32, Shape.of(tokens, HEADS, TorchAttention.VALUE_DIM));
                Tensor absorbed = Tensor.allocate(DType.F32, Shape.of(1, HEADS, rank + ROPE));
                Tensor sums = Tensor.allocate(DType.F32, Shape.of(1, HEADS, rank));
                Tensor out = Tensor.allocate(DType.F32, Shape.of(1, HEADS, TorchAttention.VALUE_DIM));
                LatentKvCache cache = LatentKvCache.allocate(rank, ROPE, CacheFormat.BF16, 1, 2, 64)) {
            mla.projectHeads(shared, uk, keys);
            mla.projectHeads(shared, uv, values);
            LatentKvCache.Sequence sequence = cache.open();
            cache.append(sequence, latents, rope);
            mla.projectHeads(query.slice(2, 0, NOPE), uk.transpose(1, 2), absorbed.slice(2, 0, rank));
            absorbed.slice(2, rank, rank + ROPE).copyFrom(query.slice(2, NOPE, TorchAttention.QUERY_DIM));
            // Keys are long as they are; with this scale no key has all the weight.
            float scale = 0.002f;
            AttentionOptions options = AttentionOptions.causal(scale);
            mla.decode(absorbed, cache, 0, List.of(sequence), new int[] {1}, options, sums, null);
            mla.projectHeads(sums, uv, out);
            float[] scaled = byHead(query, null);
            for (int i = 0; i < scaled.length; i++) {
                scaled[i] *= scale;
            }
            try (TorchAttention peer = TorchAttention.of(form, DType.F32, 1, HEADS, scaled, byHead(keys, rope),
                    byHead(values, null))) {
                assertArrayEquals(byHead(out, null), peer.result(), 2e-4f);
            }
        }
    }

    /** {@code [tokens, HEADS, d]}, for each head the same. */
    private static Tensor repeated(Tensor latents) {
        Tensor all = Tensor.allocate(DType.F32, Shape.of(latents.dim(0), HEADS, latents.dim(1)));
        for (int h = 0; h < HEADS; h++) {
            float[] head = latents.toFloatArray();
            try (Tensor one = Tensor.of(head, latents.dim(0), 1, latents.dim(1))) {
                all.slice(1, h, h + 1).copyFrom(one);
            }
        }
        return all;
    }

    private static Tensor random(SplittableRandom random, DType dtype, long... shape) {
        float[] values = new float[Math.toIntExact(Shape.of(shape).elements())];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) Math.clamp(random.nextGaussian(), -3, 3);
        }
        Tensor t = Tensor.allocate(dtype, Shape.of(shape));
        t.copyFrom(values);
        return t;
    }

    /** Rows of {@code [tokens, heads, dim]} sorted by head, each followed by its token's row of the other. */
    private static float[] byHead(Tensor t, Tensor shared) {
        int tokens = (int) t.dim(0);
        int dim = (int) t.dim(2);
        int more = shared == null ? 0 : (int) shared.dim(1);
        float[] in = t.toFloatArray();
        float[] other = shared == null ? new float[0] : shared.toFloatArray();
        float[] out = new float[HEADS * tokens * (dim + more)];
        for (int h = 0; h < HEADS; h++) {
            for (int i = 0; i < tokens; i++) {
                int to = (h * tokens + i) * (dim + more);
                System.arraycopy(in, (i * HEADS + h) * dim, out, to, dim);
                System.arraycopy(other, i * more, out, to + dim, more);
            }
        }
        return out;
    }

    @Test
    void severalQueriesAreAllTheTokens() {
        float[] query = new float[2 * TorchAttention.QUERY_DIM];
        float[] key = new float[3 * TorchAttention.QUERY_DIM];
        float[] value = new float[3 * TorchAttention.VALUE_DIM];
        assertThrows(IllegalArgumentException.class,
                () -> TorchAttention.of(TorchAttention.Form.SDPA, DType.F32, 1, 1, query, key, value));
    }
}
