package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.safetensors.Safetensors;
import dev.octet.core.safetensors.SafetensorsWriter;
import dev.octet.mla.LatentKvCache.Sequence;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Caches in files: the same content back, the file untouched, and every contradiction refused. */
class CacheFileTest {
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final int LAYERS = 3;
    private static final int RANK = 128;
    private static final int ROPE = 4;

    @TempDir
    private Path folder;

    // ---------------------------------------------------------------------------------------------- round trip

    @ParameterizedTest
    @EnumSource(CacheFormat.class)
    void comesBackAsItWas(CacheFormat format) throws IOException {
        Path file = folder.resolve("cache.safetensors");
        try (LatentKvCache cache = filled(format, 0); LatentKvCache saved = saved(cache, file)) {
            assertEquals(format, saved.format());
            assertEquals(RANK, saved.kvLoraRank());
            assertEquals(ROPE, saved.ropeDim());
            assertEquals(LAYERS, saved.layers());
            assertEquals(4, saved.pageSize());
            assertEquals(5, saved.pages(), "those in use, shared ones once");
            assertEquals(0, saved.freePages());
            assertSame(cache, saved);
            // Three sequences share their first page, and two of them the second.
            int[][] tables = saved.sequences().stream().map(s -> s.table).toArray(int[][]::new);
            assertEquals(tables[0][0], tables[1][0]);
            assertEquals(tables[0][0], tables[2][0]);
            assertEquals(tables[0][1], tables[2][1]);
            assertNotEquals(tables[0][1], tables[1][1]);
            saved.sequences().get(0).close();
            assertEquals(0, saved.freePages());
            saved.sequences().forEach(Sequence::close);
            assertEquals(5, saved.freePages());
        }
    }

    @ParameterizedTest
    @EnumSource(CacheFormat.class)
    void growsInPagesOfItsOwn(CacheFormat format) throws IOException {
        Path file = folder.resolve("cache.safetensors");
        for (int extra : new int[] {1, 3, 5, 6, 40}) { // up to all layers are copied
            try (LatentKvCache cache = filled(format, 50); LatentKvCache saved = saved(cache, file)) {
                byte[] before = Files.readAllBytes(file);
                try (LatentKvCache grown = LatentKvCache.map(file, extra)) {
                    assertEquals(5 + extra, grown.pages());
                    assertEquals(extra, grown.freePages());
                    assertSame(cache, grown);
                    Sequence fork = grown.sequences().get(2);
                    Sequence original = cache.sequences().get(2);
                    append(grown, fork, 4 * extra - 3, 77);
                    append(cache, original, 4 * extra - 3, 77);
                    assertEquals(0, grown.freePages());
                    assertThrows(OutOfPagesException.class, () -> grown.extend(List.of(fork), 2));
                    assertSame(cache, grown);
                }
                assertArrayEquals(before, Files.readAllBytes(file), "extra " + extra);
                assertThrows(OutOfPagesException.class, () -> saved.extend(saved.sequences(), 1, 1, 1, 0, 1));
            }
        }
    }

    /** The last page of a sequence of its own may have room. */
    @Test
    void writesGoIntoPrivateCopies() throws IOException {
        Path file = folder.resolve("cache.safetensors");
        try (LatentKvCache cache = filled(CacheFormat.BF16, 0); LatentKvCache one = saved(cache, file);
                LatentKvCache two = LatentKvCache.map(file)) {
            byte[] before = Files.readAllBytes(file);
            append(one, one.sequences().get(4), 1, 55);
            append(cache, cache.sequences().get(4), 1, 55);
            assertSame(cache, one);
            append(two, two.sequences().get(4), 1, 66);
            assertSame(cache, one);
            assertArrayEquals(before, Files.readAllBytes(file));

            one.save(file, one.sequences()); // over the file that both map
            try (LatentKvCache again = LatentKvCache.map(file)) {
                assertSame(one, again);
            }
            assertSame(cache, one);
            assertFalse(Arrays.equals(before, Files.readAllBytes(file)));
        }
    }

    @Test
    void aFileThatCantBeWritten() throws IOException {
        Path file = folder.resolve("cache.safetensors");
        try (LatentKvCache cache = filled(CacheFormat.FP8, 0); LatentKvCache saved = saved(cache, file);
                LatentKvCache readOnly = CacheFile.map(file, 0, false)) {
            assertSame(saved, readOnly);
            Sequence s = readOnly.sequences().get(4);
            IllegalStateException e =
                    assertThrows(IllegalStateException.class, () -> readOnly.extend(List.of(s), 1));
            assertTrue(e.getMessage().contains("mapped read-only, since " + file), e.getMessage());
            assertThrows(IllegalStateException.class, () -> append(readOnly, s, 1, 1));
            readOnly.extend(List.of(s), 0);
            s.truncate(1);
            assertEquals(1, s.fork().length());
            assertTrue(assertThrows(IOException.class, () -> CacheFile.map(file, 1, false)).getMessage()
                    .startsWith(file + ": the file can't be opened for writing"));
            assertThrows(IllegalArgumentException.class, () -> LatentKvCache.map(file, -1));
            assertThrows(IllegalArgumentException.class, () -> LatentKvCache.map(file, Integer.MAX_VALUE));
        }
    }

    /** What was in the pages before, and which pages they were, does not show. */
    @Test
    void theSameContentMakesTheSameBytes() throws IOException {
        Path a = folder.resolve("a.safetensors");
        Path b = folder.resolve("b.safetensors");
        try (LatentKvCache one = filled(CacheFormat.FP8, 0); LatentKvCache two = filled(CacheFormat.FP8, 31)) {
            one.save(a, one.sequences());
            two.save(b, two.sequences());
            assertArrayEquals(Files.readAllBytes(a), Files.readAllBytes(b));
        }
    }

    @Test
    void nothingToSave() throws IOException {
        Path file = folder.resolve("empty.safetensors");
        try (LatentKvCache cache = filled(CacheFormat.BF16, 0)) {
            cache.save(file, List.of());
            try (LatentKvCache empty = LatentKvCache.map(file)) {
                assertEquals(List.of(), empty.sequences());
                assertEquals(0, empty.pages());
                Sequence s = empty.open();
                assertThrows(OutOfPagesException.class, () -> empty.extend(List.of(s), 1));
            }
            Sequence nothing = cache.open();
            cache.save(file, List.of(nothing));
            try (LatentKvCache empty = LatentKvCache.map(file, 2)) {
                assertEquals(0, empty.sequences().getFirst().length());
                append(empty, empty.sequences().getFirst(), 5, 3);
                assertEquals(0, empty.freePages());
            }
            refused(IllegalArgumentException.class, "comes twice", () -> cache.save(file, List.of(nothing, nothing)));
            nothing.close();
            refused(IllegalStateException.class, "is closed", () -> cache.save(file, List.of(nothing)));
        }
    }

    /** Nothing is copied: the mapping is of the file itself, and gone when the cache is closed. */
    @Test
    void isMapped() throws IOException {
        Path maps = Path.of("/proc/self/maps");
        if (!Files.exists(maps)) {
            System.out.println("CacheFileTest.isMapped skipped: no " + maps + " on this system");
            return;
        }
        Path file = folder.resolve("mapped.safetensors");
        try (LatentKvCache cache = filled(CacheFormat.BF16, 0)) {
            LatentKvCache saved = saved(cache, file);
            assertEquals(LAYERS, lines(maps, file));
            saved.close();
            assertEquals(0, lines(maps, file));
            assertThrows(IOException.class, () -> LatentKvCache.map(folder.resolve("none")));
        }
    }

    private static long lines(Path maps, Path file) throws IOException {
        try (Stream<String> lines = Files.lines(maps)) {
            return lines.filter(l -> l.endsWith(file.getFileName().toString())).count();
        }
    }

    // ---------------------------------------------------------------------------------------------- malformed files

    /** What a file consists of, so that one thing at a time can be wrong. */
    private static final class Parts {
        private final Map<String, String> metadata = new HashMap<>();
        private final Map<String, Tensor> tensors = new HashMap<>();

        Parts() {
            metadata.put("octet.cache.version", "1");
            metadata.put("octet.cache.format", "BF16");
            metadata.put("octet.cache.kvLoraRank", "3");
            metadata.put("octet.cache.ropeDim", "2");
            records(DType.U8, 2, 4, 8, 10);
            lengths(9, 0, 17);
            tables(0, 1, 0, 2, 3);
        }

        void records(DType dtype, long... dims) {
            tensors.put("records", Tensor.allocate(dtype, Shape.of(dims)));
        }

        void lengths(int... values) {
            tensors.put("lengths", ints(values));
        }

        void tables(int... values) {
            tensors.put("tables", ints(values));
        }

        private static Tensor ints(int... values) {
            Tensor t = Tensor.allocate(DType.I32, Shape.of(values.length));
            for (int i = 0; i < values.length; i++) {
                t.segment().set(I32, 4L * i, values[i]);
            }
            return t;
        }
    }

    private interface Fault {
        void make(Parts parts);
    }

    @Test
    void aFileByHand() throws IOException {
        Path file = folder.resolve("fine.safetensors");
        Parts parts = new Parts();
        SafetensorsWriter.write(file, parts.tensors, parts.metadata);
        try (LatentKvCache cache = LatentKvCache.map(file)) {
            assertEquals(List.of(9, 0, 17), cache.sequences().stream().map(Sequence::length).toList());
            assertEquals(0, cache.freePages());
        }
        parts.lengths(9, 0);
        parts.tables(3, 3); // one page twice in one sequence is sharing too
        SafetensorsWriter.write(file, parts.tensors, parts.metadata);
        try (LatentKvCache cache = LatentKvCache.map(file)) {
            assertEquals(3, cache.freePages());
            Sequence s = cache.sequences().getFirst();
            cache.extend(List.of(s), 1);
            assertEquals(2, cache.freePages(), "and written in a copy");
            cache.sequences().forEach(Sequence::close);
            assertEquals(4, cache.freePages());
        }
    }

    @Test
    void contradictions() throws IOException {
        fault("metadata octet.cache.version is missing", p -> p.metadata.remove("octet.cache.version"));
        fault("metadata octet.cache.version is '2', only 1", p -> p.metadata.put("octet.cache.version", "2"));
        fault("metadata octet.cache.format is missing", p -> p.metadata.remove("octet.cache.format"));
        fault("metadata octet.cache.format is 'FP4', it must be one of [BF16, FP8, FP8_FP32_SCALE]",
                p -> p.metadata.put("octet.cache.format", "FP4"));
        fault("metadata octet.cache.kvLoraRank is missing", p -> p.metadata.remove("octet.cache.kvLoraRank"));
        fault("metadata octet.cache.kvLoraRank is '-3'", p -> p.metadata.put("octet.cache.kvLoraRank", "-3"));
        fault("metadata octet.cache.ropeDim is '99999999999'",
                p -> p.metadata.put("octet.cache.ropeDim", "99999999999"));
        fault("kvLoraRank is 0 and ropeDim 2", p -> p.metadata.put("octet.cache.kvLoraRank", "0"));
        fault("kvLoraRank is 3, format FP8 takes multiples of 128", p -> p.metadata.put("octet.cache.format", "FP8"));
        fault("tensor 'records': it is missing", p -> p.tensors.remove("records"));
        fault("tensor 'lengths': it is missing", p -> p.tensors.remove("lengths"));
        fault("tensor 'tables': it is missing", p -> p.tensors.remove("tables"));
        fault("tensor 'more': a cache has no such tensor", p -> p.tensors.put("more", Parts.ints(1)));
        fault("tensor 'records': its dtype is F8_E4M3, it must be U8", p -> p.records(DType.F8_E4M3, 2, 4, 8, 10));
        fault("tensor 'records': its shape is [8, 8, 10], it must have 4", p -> p.records(DType.U8, 8, 8, 10));
        fault("tensor 'records': its shape is [0, 4, 8, 10], dimension 0", p -> p.records(DType.U8, 0, 4, 8, 10));
        fault("tensor 'records': its shape is [2147483647, 0, 8, 10], dimension 0 must be 1 to 10000",
                p -> p.records(DType.U8, Integer.MAX_VALUE, 0, 8, 10));
        fault("tensor 'records': its shape is [1, 0, 4294967296, 10], dimension 2",
                p -> p.records(DType.U8, 1, 0, 1L << 32, 10));
        fault("tensor 'records': its shape is [2, 4, 0, 10], dimension 2", p -> p.records(DType.U8, 2, 4, 0, 10));
        fault("tensor 'records': it has 12 bytes for a token, BF16 with kvLoraRank 3 and ropeDim 2 takes 10",
                p -> p.records(DType.U8, 2, 4, 8, 12));
        fault("tensor 'lengths': its dtype is I64, it must be I32",
                p -> p.tensors.put("lengths", Tensor.allocate(DType.I64, Shape.of(3))));
        fault("tensor 'lengths': its shape is [3, 1], it must have 1 dimension",
                p -> p.tensors.put("lengths", Tensor.allocate(DType.I32, Shape.of(3, 1))));
        fault("tensor 'lengths': element 1 is -1, a length can't be negative", p -> p.lengths(9, -1, 17));
        fault("tensor 'tables': its dtype is F32, it must be I32",
                p -> p.tensors.put("tables", Tensor.allocate(DType.F32, Shape.of(5))));
        fault("tensor 'tables': element 3, page 1 of sequence 2, is 4, tensor 'records' has 4 pages",
                p -> p.tables(0, 1, 0, 4, 3));
        fault("tensor 'tables': element 0, page 0 of sequence 0, is -1", p -> p.tables(-1, 1, 0, 2, 3));
        fault("tensor 'tables': it has 5 elements, sequence 2 of 25 tokens takes those from 2 to 6",
                p -> p.lengths(9, 0, 25));
        fault("tensor 'tables': it has 5 elements, sequence 0 of 2147483647 tokens",
                p -> p.lengths(Integer.MAX_VALUE, Integer.MAX_VALUE, Integer.MAX_VALUE));
        fault("tensor 'tables': it has 5 elements, the lengths of all sequences take 4", p -> p.lengths(9, 0, 16));
        fault("tensor 'tables': it has 5 elements, the lengths of all sequences take 0", p -> p.lengths());
    }

    private void fault(String message, Fault fault) throws IOException {
        Path file = folder.resolve("fault.safetensors");
        Parts parts = new Parts();
        fault.make(parts);
        SafetensorsWriter.write(file, parts.tensors, parts.metadata);
        for (int extra = 0; extra < 2; extra++) {
            int pages = extra;
            IOException e = assertThrows(IOException.class, () -> LatentKvCache.map(file, pages), message);
            assertTrue(e.getMessage().startsWith(file + ": ") && e.getMessage().contains(message), e.getMessage());
        }
    }

    /** Any byte of header, lengths and tables may be wrong: it is refused, or what it says is consistent. */
    @Test
    void damagedFiles() throws IOException {
        Path file = folder.resolve("damaged.safetensors");
        Parts parts = new Parts();
        SafetensorsWriter.write(file, parts.tensors, parts.metadata);
        byte[] good = Files.readAllBytes(file);
        long seed = 5;
        SplittableRandom random = new SplittableRandom(seed);
        int until;
        try (Safetensors in = Safetensors.open(file)) {
            until = (int) in.info("records").fileOffset();
        }
        int refused = 0;
        for (int i = 0; i < 1500; i++) {
            byte[] bad = good.clone();
            int at = random.nextInt(until);
            bad[at] = (byte) random.nextInt(256);
            if (random.nextInt(4) == 0) {
                bad = Arrays.copyOf(bad, random.nextInt(bad.length));
            }
            Files.write(file, bad);
            try (LatentKvCache cache = LatentKvCache.map(file, 1)) {
                for (Sequence s : cache.sequences()) {
                    try (Tensor latent = Tensor.allocate(DType.F32, Shape.of(s.length(), cache.kvLoraRank()));
                            Tensor keys = Tensor.allocate(DType.F32, Shape.of(s.length(), cache.ropeDim()))) {
                        cache.read(cache.layers() - 1, s, 0, s.length(), latent, keys);
                    }
                }
            } catch (IOException e) {
                refused++;
            } catch (RuntimeException | Error e) {
                throw new AssertionError("seed " + seed + ", change " + i + " at byte " + at, e);
            }
        }
        assertTrue(refused > 500, refused + " of 1500 were refused");
    }

    // ---------------------------------------------------------------------------------------------- common

    /** Five sequences: a prefix, two forks of it, an empty one and one by itself, in pages that were used before. */
    private static LatentKvCache filled(CacheFormat format, int usedBefore) {
        LatentKvCache cache = LatentKvCache.allocate(RANK, ROPE, format, LAYERS, 100, 4);
        try (Sequence before = cache.open(); Sequence other = cache.open()) {
            for (int i = 0; i < usedBefore; i++) { // alternating, so that pages come back in another order
                append(cache, i % 2 == 0 ? before : other, 3, 1000 + i);
            }
        }
        Sequence a = cache.open();
        append(cache, a, 7, 1);
        Sequence b = a.fork(5);
        append(cache, b, 1, 20);
        Sequence c = a.fork();
        cache.open();
        Sequence d = cache.open();
        append(cache, d, 6, 40);
        return cache;
    }

    private static LatentKvCache saved(LatentKvCache cache, Path file) throws IOException {
        cache.save(file, cache.sequences());
        return LatentKvCache.map(file);
    }

    private static void append(LatentKvCache cache, Sequence s, int tokens, int seed) {
        cache.extend(List.of(s), tokens);
        SplittableRandom random = new SplittableRandom(seed);
        for (int layer = 0; layer < cache.layers(); layer++) {
            try (Tensor latent = Tensor.allocate(DType.F32, Shape.of(tokens, cache.kvLoraRank()));
                    Tensor keys = Tensor.allocate(DType.F32, Shape.of(tokens, cache.ropeDim()))) {
                fill(latent, random);
                fill(keys, random);
                cache.write(layer, List.of(s), new int[] {tokens}, latent, keys);
            }
        }
    }

    private static void fill(Tensor t, SplittableRandom random) {
        float[] values = new float[(int) t.shape().elements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        t.copyFrom(values);
    }

    private static void assertSame(LatentKvCache expected, LatentKvCache actual) {
        assertEquals(expected.sequences().size(), actual.sequences().size());
        for (int i = 0; i < expected.sequences().size(); i++) {
            Sequence e = expected.sequences().get(i);
            Sequence a = actual.sequences().get(i);
            assertEquals(e.length(), a.length());
            for (int layer = 0; layer < expected.layers(); layer++) {
                assertArrayEquals(values(expected, layer, e), values(actual, layer, a), "sequence " + i);
            }
        }
    }

    private static float[] values(LatentKvCache cache, int layer, Sequence s) {
        int n = s.length();
        try (Tensor latent = Tensor.allocate(DType.F32, Shape.of(n, cache.kvLoraRank()));
                Tensor keys = Tensor.allocate(DType.F32, Shape.of(n, cache.ropeDim()))) {
            cache.read(layer, s, 0, n, latent, keys);
            float[] x = latent.toFloatArray();
            float[] k = keys.toFloatArray();
            float[] both = Arrays.copyOf(x, x.length + k.length);
            System.arraycopy(k, 0, both, x.length, k.length);
            return both;
        }
    }

    private static void refused(Class<? extends RuntimeException> type, String message,
            org.junit.jupiter.api.function.Executable executable) {
        String actual = assertThrows(type, executable).getMessage();
        assertTrue(actual.contains(message), actual);
    }
}
