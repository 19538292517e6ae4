package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** What a layer refuses, with nothing written, and what it frees. */
class MlaLayerRefusalTest {
    private static final MlaConfig CONFIG = Configs.tiny(2, 128);

    private final MlaWeights weights = MlaWeights.random(CONFIG, 1);
    private final MlaLayer layer = new MlaLayer(weights);
    private final LatentKvCache cache = LatentKvCache.allocate(CONFIG, CacheFormat.BF16, 1, 8, 4);
    private final LatentKvCache.Sequence sequence = cache.open();
    private final List<LatentKvCache.Sequence> one = List.of(sequence);
    private final Tensor hidden = Tensor.allocate(DType.F32, Shape.of(3, 128));
    private final Tensor out = Tensor.allocate(DType.F32, Shape.of(3, 128));
    private final Tensor queries = Tensor.allocate(DType.F32, Shape.of(3, 2, 96));

    @BeforeEach
    void fill() {
        cache.extend(one, 5);
        cache.write(0, one, new int[] {5}, ones(5, 256), ones(5, 32));
        out.segment().fill((byte) 1);
        queries.segment().fill((byte) 1);
    }

    @AfterEach
    void nothingWasWrittenAndAllIsFreed() {
        for (Tensor t : List.of(out, queries)) {
            for (byte b : t.segment().toArray(ValueLayout.JAVA_BYTE)) {
                assertEquals(1, b);
            }
        }
        if (weights.o().codes().isOpen()) {
            try (Tensor latents = ones(5, 256); Tensor keys = ones(5, 32)) {
                latents.segment().fill((byte) 0);
                cache.read(0, sequence, 0, 5, latents, keys);
                try (Tensor expected = ones(5, 256)) {
                    assertArrayEquals(expected.toFloatArray(), latents.toFloatArray());
                }
            }
        }
        layer.close();
        weights.close();
        cache.close();
    }

    private static Tensor ones(long rows, long columns) {
        Tensor t = Tensor.allocate(DType.F32, Shape.of(rows, columns));
        float[] values = new float[(int) (rows * columns)];
        Arrays.fill(values, 1);
        t.copyFrom(values);
        return t;
    }

    private static void refused(String message, Executable call) {
        String actual = assertThrows(IllegalArgumentException.class, call).getMessage();
        assertTrue(actual.startsWith(message + " "), actual);
    }

    private void bothRefuse(String message, Tensor h, LatentKvCache c, List<LatentKvCache.Sequence> s, int[] counts,
            Tensor o) {
        refused(message, () -> layer.prefill(h, c, 0, s, counts, o));
        refused(message, () -> layer.decode(h, c, 0, s, counts, o));
    }

    @Test
    void shapesAndNumbers() {
        int[] three = {3};
        bothRefuse("hidden", Tensor.allocate(DType.F32, Shape.of(3, 127)), cache, one, three, out);
        bothRefuse("hidden", Tensor.allocate(DType.F32, Shape.of(2, 128)), cache, one, three, out);
        bothRefuse("hidden", Tensor.allocate(DType.F16, Shape.of(3, 128)), cache, one, three, out);
        bothRefuse("out", hidden, cache, one, three, Tensor.allocate(DType.F32, Shape.of(3, 129)));
        bothRefuse("out", hidden, cache, one, three, Tensor.allocate(DType.F16, Shape.of(3, 128)));
        bothRefuse("counts", hidden, cache, one, new int[] {3, 0}, out);
        bothRefuse("counts[0]", hidden, cache, one, new int[] {-3}, out);
        try (Tensor six = ones(6, 128); Tensor outSix = ones(6, 128)) {
            bothRefuse("counts[0]", six, cache, one, new int[] {6}, outSix);
        }
        try (LatentKvCache other = LatentKvCache.allocate(Configs.odd(2, 0), CacheFormat.BF16, 1, 8, 4);
                LatentKvCache same = LatentKvCache.allocate(CONFIG, CacheFormat.BF16, 1, 8, 4);
                LatentKvCache.Sequence s = same.open()) {
            bothRefuse("cache", hidden, other, one, three, out);
            same.extend(List.of(s), 3);
            assertThrows(IllegalArgumentException.class, () -> layer.decode(hidden, cache, 0, List.of(s), three, out));
        }
        assertThrows(IllegalArgumentException.class, () -> layer.prefill(hidden, cache, 1, one, three, out));
        assertThrows(IllegalArgumentException.class, () -> layer.prefill(hidden, cache, 0, List.of(sequence, sequence),
                new int[] {1, 2}, out));
        assertThrows(IllegalArgumentException.class, () -> layer.withWindow(-1));
    }

    @Test
    void steps() {
        int[] three = {3};
        refused("positions", () -> layer.compress(hidden, new int[2], cache, 0, one, three, queries));
        refused("positions[1]", () -> layer.compress(hidden, new int[] {0, -1, 0}, cache, 0, one, three, queries));
        refused("queries", () -> layer.compress(hidden, new int[3], cache, 0, one, three, queries.slice(2, 0, 95)));
        refused("queries", () -> layer.compress(hidden, new int[3], cache, 0, one, three,
                Tensor.allocate(DType.BF16, queries.shape())));
        refused("queries", () -> layer.compress(hidden, new int[3], cache, 0, one, three,
                Tensor.allocate(DType.F32, Shape.of(3, 96, 2)).transpose(1, 2)));
        Tensor latents = Tensor.allocate(DType.F32, Shape.of(3, 256));
        refused("latents", () -> layer.decompress(queries.reshape(3, 192), queries));
        refused("keyValues", () -> layer.decompress(latents, queries));
        refused("keyValues", () -> layer.decompress(latents,
                Tensor.allocate(DType.F32, Shape.of(3, 128, 2)).transpose(1, 2)));
        refused("queries", () -> layer.absorb(latents.reshape(3, 2, 128), queries));
        refused("absorbed", () -> layer.absorb(queries, queries));
        Tensor sums = Tensor.allocate(DType.F32, Shape.of(3, 2, 256));
        refused("latents", () -> layer.values(queries, Tensor.allocate(DType.F32, Shape.of(3, 2, 64))));
        refused("latents", () -> layer.values(sums.slice(1, 0, 1), Tensor.allocate(DType.F32, Shape.of(3, 2, 64))));
        refused("attention", () -> layer.values(sums, queries));
        refused("attention", () -> layer.output(queries, out));
        refused("out", () -> layer.output(Tensor.allocate(DType.F32, Shape.of(3, 2, 64)), queries.reshape(3, 192)));
    }

    @Test
    void whatIsClosed() {
        int[] three = {3};
        LatentKvCache.Sequence closed = cache.open();
        closed.close();
        Tensor nothing = Tensor.allocate(DType.F32, Shape.of(0, 128));
        assertThrows(IllegalStateException.class,
                () -> layer.decode(nothing, cache, 0, List.of(closed), new int[1], nothing));
        hidden.close();
        assertThrows(IllegalStateException.class, () -> layer.prefill(hidden, cache, 0, one, three, out));
    }

    @Test
    void closedWeights() {
        weights.close();
        assertThrows(IllegalStateException.class, () -> layer.prefill(hidden, cache, 0, one, new int[] {3}, out));
    }

    /** The matrices end with the layer that made them, and with what was derived from it; the weights do not. */
    @Test
    void closedLayer() {
        AbsorbedWeights absorbed = layer.withWindow(3).absorbed();
        assertEquals(absorbed, layer.absorbed());
        layer.close();
        layer.close();
        assertThrows(IllegalStateException.class, () -> absorbed.keys().segment());
        assertThrows(IllegalStateException.class, layer::absorbed);
        assertThrows(IllegalStateException.class, () -> layer.withWindow(3).absorbed());
        assertTrue(weights.kvB().codes().isOpen());
    }

    /** Absorbed matrices are looked for first: the new tokens' records stay as they were. */
    @Test
    void decodingWithAClosedLayer() {
        layer.close();
        hidden.copyFrom(random(3 * 128));
        assertThrows(IllegalStateException.class, () -> layer.decode(hidden, cache, 0, one, new int[] {3}, out));
    }

    @Test
    void partsOfTheWeightsThatAreClosed() {
        hidden.copyFrom(random(3 * 128));
        for (Runnable close : List.<Runnable>of(weights.kvB()::close, weights.kvNorm()::close)) {
            close.run();
            String message = assertThrows(IllegalStateException.class,
                    () -> layer.prefill(hidden, cache, 0, one, new int[] {3}, out)).getMessage();
            assertTrue(message.startsWith(weights.kvNorm().isOpen() ? "kvB " : "kvNorm "), message);
        }
    }

    private static float[] random(int count) {
        Random random = new Random(1);
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    @Test
    void noTokens() {
        try (Tensor nothing = Tensor.allocate(DType.F32, Shape.of(0, 128));
                Tensor none = Tensor.allocate(DType.BF16, Shape.of(0, 128))) {
            layer.prefill(nothing, cache, 0, one, new int[1], none);
            layer.decode(nothing, cache, 0, one, new int[1], none);
            layer.decode(nothing, cache, 0, List.of(), new int[0], none);
            layer.prefill(nothing, cache, 0, List.of(), new int[0], none);
        }
    }
}
