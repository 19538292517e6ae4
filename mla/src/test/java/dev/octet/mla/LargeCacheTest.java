package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.mla.LatentKvCache.Sequence;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A layer of more than 2^31 bytes: a mapped file that is mostly a hole, so that it takes neither memory nor disk. */
class LargeCacheTest {
    private static final int PAGES = 30_000;
    private static final int PAGE_SIZE = 64;

    @Test
    void offsetsBeyondTwoToThe31(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("large.safetensors");
        long bytes = (long) PAGES * PAGE_SIZE * 1152;
        assertTrue(bytes > Integer.MAX_VALUE);
        sparse(file, bytes);
        try (LatentKvCache cache = LatentKvCache.map(file)) {
            assertEquals(bytes, cache.memoryBytes());
            assertEquals(1, cache.freePages());
            Sequence s = cache.sequences().getFirst();
            int tokens = (PAGES - 1) * PAGE_SIZE;
            assertEquals(tokens, s.length());
            assertEquals(PAGES - 1, s.table[PAGES - 2]);
            s.truncate(tokens - 10);
            append(cache, s, 3, 1);
            assertArrayEquals(new float[] {0, 0, 1, 2, 3}, read(cache, s, 5));
            Sequence fork = s.fork();
            append(cache, fork, 1, 9); // which copies the last page to the first
            assertEquals(0, cache.freePages());
            append(cache, s, 2, 4);
            assertArrayEquals(new float[] {0, 1, 2, 3, 9}, read(cache, fork, 5));
            assertArrayEquals(new float[] {0, 1, 2, 3, 4, 5}, read(cache, s, 6));
        }
    }

    private static void append(LatentKvCache cache, Sequence s, int tokens, int first) {
        try (Tensor latent = Tensor.allocate(DType.F32, Shape.of(tokens, 512));
                Tensor keys = Tensor.allocate(DType.F32, Shape.of(tokens, 64))) {
            float[] values = new float[tokens * 512];
            for (int t = 0; t < tokens; t++) {
                Arrays.fill(values, t * 512, (t + 1) * 512, first + t);
            }
            latent.copyFrom(values);
            cache.append(s, latent, keys);
        }
    }

    /** The last value of each of the last latents. */
    private static float[] read(LatentKvCache cache, Sequence s, int tokens) {
        try (Tensor latent = Tensor.allocate(DType.F32, Shape.of(tokens, 512));
                Tensor keys = Tensor.allocate(DType.F32, Shape.of(tokens, 64))) {
            cache.read(0, s, s.length() - tokens, s.length(), latent, keys);
            return latent.slice(1, 511, 512).copy().toFloatArray();
        }
    }

    /** One sequence that has all pages but the first. */
    private static void sparse(Path file, long bytes) throws IOException {
        int entries = 4 * (PAGES - 1);
        String json = """
                {"__metadata__":{"octet.cache.version":"1","octet.cache.format":"BF16","octet.cache.kvLoraRank":"512",\
                "octet.cache.ropeDim":"64"},\
                "lengths":{"dtype":"I32","shape":[1],"data_offsets":[0,4]},\
                "tables":{"dtype":"I32","shape":[%d],"data_offsets":[4,%d]},\
                "records":{"dtype":"U8","shape":[1,%d,%d,1152],"data_offsets":[%d,%d]}}""".formatted(PAGES - 1,
                4 + entries, PAGES, PAGE_SIZE, 4 + entries, 4 + entries + bytes);
        ByteBuffer begin = ByteBuffer.allocate(8 + json.length() + 4 + entries).order(ByteOrder.LITTLE_ENDIAN);
        begin.putLong(json.length()).put(json.getBytes(StandardCharsets.US_ASCII)).putInt((PAGES - 1) * PAGE_SIZE);
        for (int page = 1; page < PAGES; page++) {
            begin.putInt(page);
        }
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE,
                StandardOpenOption.SPARSE)) {
            channel.write(begin.flip());
            channel.write(ByteBuffer.allocate(1), begin.limit() + bytes - 1);
        }
    }
}
