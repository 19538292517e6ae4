package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.mla.LatentKvCache.Sequence;
import dev.octet.mla.spi.PagedLatents;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** What the cache promises, case by case, and what it refuses. */
class LatentKvCacheTest {
    @Test
    void sizesOfDeepSeeksModels() {
        assertEquals(1152, CacheFormat.BF16.bytesPerToken(512, 64));
        assertEquals(656, CacheFormat.FP8.bytesPerToken(512, 64));
        assertEquals(656, CacheFormat.FP8_FP32_SCALE.bytesPerToken(512, 64));
        assertEquals(512, CacheFormat.FP8.scalesOffset(512));
        assertEquals(528, CacheFormat.FP8.ropeKeyOffset(512));
        assertEquals(1024, CacheFormat.BF16.ropeKeyOffset(512));
        try (LatentKvCache cache = LatentKvCache.allocate(MlaConfig.V3, CacheFormat.BF16, 61, 3, 64)) {
            assertEquals(512, cache.kvLoraRank());
            assertEquals(64, cache.ropeDim());
            assertEquals(61, cache.layers());
            assertEquals(3, cache.pages());
            assertEquals(64, cache.pageSize());
            assertEquals(1152, cache.bytesPerToken());
            assertEquals(70_272L * 3 * 64, cache.memoryBytes());
            assertEquals(3, cache.freePages());
            assertEquals("BF16 cache of 61 layers, 3 pages of 64 tokens", cache.toString());
        }
    }

    @Test
    void dimensionsThatDoNotFit() {
        refused("layers is 0, it must be positive", () -> allocate(512, CacheFormat.FP8, 0, 1, 1));
        refused("pages is -1, it must be positive", () -> allocate(512, CacheFormat.FP8, 1, -1, 1));
        refused("pageSize is 0, it must be positive", () -> allocate(512, CacheFormat.FP8, 1, 1, 0));
        refused("kvLoraRank is 100, format FP8 takes multiples of 128", () -> allocate(100, CacheFormat.FP8, 1, 1, 1));
        refused("kvLoraRank is 0 and", () -> allocate(0, CacheFormat.BF16, 1, 1, 1));
        refused("more than 2^63-1", () -> allocate(512, CacheFormat.BF16, Integer.MAX_VALUE, Integer.MAX_VALUE,
                Integer.MAX_VALUE));
        refused("more than 2^31-1", () -> CacheFormat.BF16.bytesPerToken(Integer.MAX_VALUE, 5));
    }

    private static LatentKvCache allocate(int rank, CacheFormat format, int layers, int pages, int pageSize) {
        return LatentKvCache.allocate(rank, 64, format, layers, pages, pageSize);
    }

    /** The module's page has this, and the picture of its pages. */
    @Test
    void theExample() {
        int tokens = 6;
        try (LatentKvCache cache = LatentKvCache.allocate(MlaConfig.V3, CacheFormat.FP8, 2, 4, 4);
                Tensor latent = tensor(tokens, 512, 1); Tensor ropeKeys = tensor(tokens, 64, 1)) {
            LatentKvCache.Sequence a = cache.open();
            cache.extend(List.of(a), tokens);
            for (int layer = 0; layer < cache.layers(); layer++) {
                cache.write(layer, List.of(a), new int[] {tokens}, latent, ropeKeys);
            }
            LatentKvCache.Sequence b = a.fork();
            cache.extend(List.of(b), 1);
            assertArrayEquals(new int[] {0, 1}, Arrays.copyOf(a.table, 2));
            assertArrayEquals(new int[] {0, 2}, Arrays.copyOf(b.table, 2));
            assertEquals(1, cache.freePages());
        }
    }

    // ---------------------------------------------------------------------------------------------- pages

    @Test
    void allOrNothing() {
        try (LatentKvCache cache = allocate(8, CacheFormat.BF16, 2, 4, 4)) {
            Sequence a = cache.open();
            Sequence b = cache.open();
            cache.extend(List.of(a, b), 3, 5);
            assertEquals(1, cache.freePages());
            OutOfPagesException e =
                    assertThrows(OutOfPagesException.class, () -> cache.extend(List.of(a, b), 2, 4));
            assertEquals("2 pages are needed and 1 is free; no sequence was changed", e.getMessage());
            assertEquals(2, e.needed());
            assertEquals(1, e.free());
            assertEquals(3, a.length());
            assertEquals(5, b.length());
            cache.extend(List.of(a, b), 1, 3); // nothing new is needed
            assertEquals(1, cache.freePages());
            cache.extend(List.of(b, a), 0, 1);
            assertEquals(0, cache.freePages());
            assertEquals(499_999_998, assertThrows(OutOfPagesException.class,
                    () -> cache.extend(List.of(a), 1_999_999_994)).needed());
            refused("more than 2^31-1 tokens", () -> cache.extend(List.of(a), Integer.MAX_VALUE));
            assertEquals(5, a.length());
        }
    }

    @Test
    void truncateAndCloseGivePagesBack() {
        try (LatentKvCache cache = allocate(8, CacheFormat.BF16, 1, 10, 4)) {
            Sequence a = cache.open();
            cache.extend(List.of(a), 17);
            assertEquals(5, cache.freePages());
            a.truncate(16);
            assertEquals(6, cache.freePages());
            a.truncate(16);
            a.truncate(13);
            assertEquals(6, cache.freePages());
            a.truncate(0);
            assertEquals(10, cache.freePages());
            refused("tokens is 1, sequence 0 has 0", () -> a.truncate(1));
            refused("tokens is -1, sequence 0 has 0", () -> a.truncate(-1));
            cache.extend(List.of(a), 1);
            a.close();
            assertEquals(10, cache.freePages());
            a.close();
            assertEquals(10, cache.freePages());
        }
    }

    @Test
    void aForkSharesUntilEitherWrites() {
        try (LatentKvCache cache = allocate(4, CacheFormat.BF16, 2, 10, 4)) {
            Sequence a = cache.open();
            cache.extend(List.of(a), 6);
            write(cache, a, 6, 1);
            Sequence b = a.fork();
            Sequence c = a.fork(3);
            assertEquals(8, cache.freePages());
            assertEquals(6, b.length());
            assertEquals(3, c.length());
            cache.extend(List.of(b), 1);
            assertEquals(7, cache.freePages(), "the second page was copied");
            write(cache, b, 1, 100);
            cache.extend(List.of(a), 1);
            assertEquals(7, cache.freePages(), "it has only one owner now");
            write(cache, a, 1, 200);
            cache.extend(List.of(c), 1);
            assertEquals(6, cache.freePages());
            write(cache, c, 1, 300);
            for (int layer = 0; layer < 2; layer++) {
                assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6, 200}, firstValues(cache, layer, a));
                assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6, 100}, firstValues(cache, layer, b));
                assertArrayEquals(new float[] {1, 2, 3, 300}, firstValues(cache, layer, c));
            }
            a.close();
            b.close();
            assertEquals(9, cache.freePages());
            assertArrayEquals(new float[] {1, 2, 3, 300}, firstValues(cache, 1, c));
        }
    }

    /** Places are reserved, then the sequence is forked, then they are written: the fork must not see it. */
    @Test
    void writingAfterAForkCopiesToo() {
        try (LatentKvCache cache = allocate(4, CacheFormat.BF16, 2, 2, 4)) {
            Sequence a = cache.open();
            cache.extend(List.of(a), 2);
            write(cache, a, 2, 1);
            Sequence b = a.fork();
            write(cache, a, 1, 7);
            assertEquals(0, cache.freePages());
            assertArrayEquals(new float[] {1, 7}, firstValues(cache, 0, a));
            assertArrayEquals(new float[] {1, 2}, firstValues(cache, 1, b));
            Sequence c = a.fork();
            try (Tensor latent = tensor(1, 4, 9); Tensor keys = tensor(1, 64, 9)) {
                assertThrows(OutOfPagesException.class,
                        () -> cache.write(0, List.of(c), new int[] {1}, latent, keys));
            }
            assertArrayEquals(new float[] {1, 7}, firstValues(cache, 0, c));
        }
    }

    /** All owners of a page write it in one call: one of them keeps it. */
    @Test
    void theLastOwnerNeedsNoCopy() {
        try (LatentKvCache cache = allocate(4, CacheFormat.BF16, 1, 3, 4)) {
            Sequence a = cache.open();
            cache.extend(List.of(a), 1);
            write(cache, a, 1, 5);
            Sequence b = a.fork();
            Sequence c = a.fork();
            cache.extend(List.of(b, a, c), 1, 1, 1);
            assertEquals(0, cache.freePages());
            write(cache, b, 1, 6);
            write(cache, a, 1, 7);
            write(cache, c, 1, 8);
            assertArrayEquals(new float[] {5, 6}, firstValues(cache, 0, b));
            assertArrayEquals(new float[] {5, 7}, firstValues(cache, 0, a));
            assertArrayEquals(new float[] {5, 8}, firstValues(cache, 0, c));
        }
    }

    @Test
    void pagesAreTakenInOrder() {
        try (LatentKvCache cache = allocate(4, CacheFormat.BF16, 1, 9, 2)) {
            Sequence a = cache.open();
            cache.extend(List.of(a), 11);
            assertArrayEquals(new int[] {0, 1, 2, 3, 4, 5}, Arrays.copyOf(a.table, 6));
            a.truncate(1);
            Sequence b = cache.open();
            cache.extend(List.of(b), 9);
            assertArrayEquals(new int[] {1, 2, 3, 4, 5}, Arrays.copyOf(b.table, 5), "again in the order of memory");
        }
    }

    // ---------------------------------------------------------------------------------------------- tensors

    @Test
    void appendIsForOneLayer() {
        try (LatentKvCache one = allocate(4, CacheFormat.BF16, 1, 4, 2);
                LatentKvCache two = allocate(4, CacheFormat.BF16, 2, 4, 2);
                Tensor latent = tensor(3, 4, 1); Tensor keys = tensor(3, 64, 1); Tensor fewer = tensor(2, 64, 1)) {
            Sequence s = two.open();
            assertEquals("append takes a cache of one layer, this one has 2: extend the sequence once, then write each"
                    + " layer", assertThrows(IllegalStateException.class, () -> two.append(s, latent, keys))
                            .getMessage());
            Sequence t = one.open();
            refused("ropeKeys has shape [2, 64], it must be [3, 64]", () -> one.append(t, latent, fewer));
            assertEquals(0, t.length());
            assertEquals(4, one.freePages());
            one.append(t, latent, keys);
            one.append(t, latent, keys);
            assertArrayEquals(new float[] {1, 2, 3, 1, 2, 3}, firstValues(one, 0, t));
            assertThrows(OutOfPagesException.class, () -> one.append(t, latent, keys));
            assertEquals(6, t.length());
        }
    }

    @Test
    void argumentsThatDoNotFit() {
        try (LatentKvCache cache = allocate(4, CacheFormat.BF16, 2, 4, 2);
                LatentKvCache other = allocate(4, CacheFormat.BF16, 2, 4, 2);
                Tensor latent = tensor(2, 4, 1); Tensor keys = tensor(2, 64, 1); Tensor three = tensor(3, 4, 1);
                Tensor wide = tensor(2, 5, 1); Tensor codes = Tensor.allocate(DType.U8, Shape.of(2, 4));
                Tensor row = Tensor.allocate(DType.F32, Shape.of(4))) {
            Sequence a = cache.open();
            Sequence b = cache.open();
            Sequence foreign = other.open();
            List<Sequence> both = List.of(a, b);
            int[] each = {1, 1};
            cache.extend(both, 1, 1);
            write(cache, a, 1, 1);
            write(cache, b, 1, 1);
            refused("layer is 2, the cache has 2", () -> cache.write(2, both, each, latent, keys));
            refused("layer is -1, the cache has 2", () -> cache.write(-1, both, each, latent, keys));
            refused("tokens has 1 entries, there are 2 sequences", () -> cache.extend(both, 1));
            refused("tokens[1] is -1, it can't be negative", () -> cache.extend(both, 1, -1));
            refused("tokens[0] is 2, sequence 0 has 1; extend reserves places for more",
                    () -> cache.write(0, both, new int[] {2, 0}, latent, keys));
            refused("latent has shape [3, 4], it must be [2, 4]", () -> cache.write(0, both, each, three, keys));
            refused("latent has shape [2, 5], it must be [2, 4]", () -> cache.write(0, both, each, wide, keys));
            refused("latent is U8, it must be F32 or BF16", () -> cache.write(0, both, each, codes, keys));
            refused("latent has shape [4], it must have 2 dimensions", () -> cache.write(0, both, each, row, keys));
            refused("sequence 0 comes twice, as sequences[0] and [2]", () -> cache.extend(List.of(a, b, a), 1, 1, 1));
            refused("sequences[1] is of another cache", () -> cache.extend(List.of(a, foreign), 1, 1));
            refused("sequences[0] is of another cache", () -> cache.read(0, foreign, 0, 0, latent, keys));
            refused("sequence 1 comes twice", () -> cache.lease(0, List.of(b, b)));
            assertThrows(NullPointerException.class, () -> cache.extend(Arrays.asList(a, null), 1, 1));
            assertThrows(IndexOutOfBoundsException.class, () -> cache.read(0, a, 0, 2, latent, keys));
            assertThrows(IndexOutOfBoundsException.class, () -> cache.read(0, a, -1, 1, latent, keys));
            refused("tokens is 2, sequence 0 has 1", () -> a.fork(2));
            refused("tokens is -1", () -> a.fork(-1));
            assertEquals(1, a.length());
            assertEquals(2, cache.freePages());
            // Nothing is held after a refusal, and nothing was written.
            assertArrayEquals(new float[] {1}, firstValues(cache, 0, a));
            cache.extend(both, 1, 1);
        }
    }

    @Test
    void readsIntoMemoryThatCanBeWritten() throws IOException {
        Path file = Files.createTempFile("octet", ".bin");
        try (LatentKvCache cache = allocate(4, CacheFormat.BF16, 1, 1, 2); Arena arena = Arena.ofConfined();
                Tensor keys = tensor(1, 64, 1)) {
            Files.write(file, new byte[16]);
            Tensor mapped = Tensor.map(arena, file, 0, DType.F32, Shape.of(1, 4));
            Sequence s = cache.open();
            cache.append(s, mapped, keys);
            refused("latent is read-only", () -> cache.read(0, s, 0, 1, mapped, keys));
        } finally {
            Files.delete(file);
        }
    }

    @Test
    void memoryOfAnArena() throws InterruptedException {
        LatentKvCache shared;
        try (Arena arena = Arena.ofConfined(); Tensor latent = tensor(1, 4, 1); Tensor keys = tensor(1, 2, 1)) {
            LatentKvCache cache = LatentKvCache.allocate(arena, 4, 2, CacheFormat.BF16, 1, 1, 1);
            shared = cache;
            Sequence s = cache.open();
            Throwable[] thrown = new Throwable[1];
            Thread t = new Thread(() -> thrown[0] =
                    assertThrows(Throwable.class, () -> cache.append(s, latent, keys)));
            t.start();
            t.join();
            assertEquals(WrongThreadException.class, thrown[0].getClass());
            cache.append(s, latent, keys);
            assertArrayEquals(new float[] {1}, firstValues(cache, 0, s));
        }
        assertThrows(IllegalStateException.class, () -> shared.lease(0, shared.sequences()));
    }

    // ---------------------------------------------------------------------------------------------- lifetime

    @Test
    void afterClose() {
        LatentKvCache cache = allocate(4, CacheFormat.BF16, 1, 2, 2);
        Tensor latent = tensor(1, 4, 1);
        Tensor keys = tensor(1, 64, 1);
        Sequence a = cache.open();
        Sequence b = cache.open();
        cache.extend(List.of(a, b), 1, 1);
        a.close();
        for (Executable use : List.<Executable>of(a::length, a::fork, () -> a.fork(0), () -> a.truncate(0),
                () -> cache.extend(List.of(a), 0), () -> cache.append(a, latent, keys),
                () -> cache.read(0, a, 0, 0, latent, keys), () -> cache.lease(0, List.of(b, a)))) {
            assertEquals("sequence 0 is closed", assertThrows(IllegalStateException.class, use).getMessage());
        }
        assertEquals(List.of(b), cache.sequences());
        cache.close();
        cache.close();
        for (Executable use : List.<Executable>of(b::length, b::fork, () -> b.fork(0), () -> b.truncate(0), cache::open,
                cache::freePages, cache::sequences, () -> cache.extend(List.of(b), 0),
                () -> cache.append(b, latent, keys), () -> cache.lease(0, List.of(b)),
                () -> cache.save(Path.of("never"), List.of(b)))) {
            assertEquals("the cache is closed", assertThrows(IllegalStateException.class, use).getMessage());
        }
        assertDoesNotThrow(b::close);
        latent.close();
        assertThrows(IllegalStateException.class, () -> cache.append(b, latent, keys));
        keys.close();
    }

    @Test
    void aLeaseKeepsOthersAway() {
        try (LatentKvCache cache = allocate(4, CacheFormat.BF16, 2, 2, 2)) {
            Sequence a = cache.open();
            cache.extend(List.of(a), 1);
            LatentKvCache.Lease lease = cache.lease(1, List.of(a));
            PagedLatents latents = lease.latents();
            assertEquals(1, latents.sequences());
            assertEquals(2, latents.pageSize());
            assertEquals(136, latents.bytesPerToken());
            assertEquals(0, latents.offset(0, 0));
            String name = Thread.currentThread().getName();
            for (Executable use : List.<Executable>of(a::close, a::fork, () -> a.truncate(0),
                    () -> cache.extend(List.of(a), 1), () -> cache.lease(0, List.of(a)), cache::close)) {
                assertEquals("sequence 0 is in use: thread " + name + " is at work on it",
                        assertThrows(IllegalStateException.class, use).getMessage());
            }
            assertEquals(1, a.length());
            lease.close();
            lease.close();
            a.truncate(0);
            assertTrue(cache.sequences().contains(a));
        }
    }

    // ---------------------------------------------------------------------------------------------- common

    /** Rows that begin with {@code first}, {@code first + 1} and so on. */
    private static Tensor tensor(int rows, int columns, int first) {
        float[] values = new float[rows * columns];
        for (int r = 0; r < rows; r++) {
            Arrays.fill(values, r * columns, (r + 1) * columns, first + r);
        }
        return Tensor.of(values, rows, columns);
    }

    /** Writes the last tokens in all layers. */
    private static void write(LatentKvCache cache, Sequence s, int tokens, int first) {
        try (Tensor latent = tensor(tokens, cache.kvLoraRank(), first);
                Tensor keys = tensor(tokens, cache.ropeDim(), first)) {
            for (int layer = 0; layer < cache.layers(); layer++) {
                cache.write(layer, List.of(s), new int[] {tokens}, latent, keys);
            }
        }
    }

    private static float[] firstValues(LatentKvCache cache, int layer, Sequence s) {
        int n = s.length();
        try (Tensor latent = tensor(n, cache.kvLoraRank(), 0); Tensor keys = tensor(n, cache.ropeDim(), 0)) {
            cache.read(layer, s, 0, n, latent, keys);
            float[] first = new float[n];
            for (int t = 0; t < n; t++) {
                first[t] = latent.getFloat(t, 0);
                assertEquals(first[t], latent.getFloat(t, cache.kvLoraRank() - 1));
                assertEquals(first[t], keys.getFloat(t, cache.ropeDim() - 1));
            }
            return first;
        }
    }

    private static void refused(String message, Executable executable) {
        String actual = assertThrows(IllegalArgumentException.class, executable).getMessage();
        assertTrue(actual.contains(message), actual);
    }
}
