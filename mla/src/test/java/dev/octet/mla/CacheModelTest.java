package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Random operations on a cache and on lists that hold what it should. The model knows which pages are shared, and so
 * says exactly when pages run out, how many are needed, and how many are free.
 */
class CacheModelTest {
    private static final int STEPS = 6000;
    /** Values of the rotary key, which every format keeps exactly: the digits of a token's number. */
    private static final int DIGITS = 3;

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
    void randomOperations(long seed) {
        try (Model model = new Model(seed)) {
            for (int step = 0; step < STEPS; step++) {
                model.what = "seed " + seed + ", step " + step + ", " + model.cache;
                model.step();
            }
            assertTrue(model.outOfPages > 100, model.what + ": out of pages " + model.outOfPages + " times");
            assertTrue(model.copies > 30, model.what + ": " + model.copies + " pages copied");
        } catch (Throwable t) {
            System.out.println("CacheModelTest failed with seed " + seed);
            throw t;
        }
    }

    private static final class Model implements AutoCloseable {
        private final SplittableRandom random;
        private final LatentKvCache cache;
        private final int layers;
        private final int pageSize;
        private final int pages;
        private final int rank;
        private final List<Entry> entries = new ArrayList<>();
        private int numbers;
        private int outOfPages;
        private int copies;
        private String what = "";

        /** One sequence: for each token the number that each layer has, 0 for none; and its pages, as identities. */
        private record Entry(LatentKvCache.Sequence sequence, List<int[]> tokens, List<Object> pages) {}

        Model(long seed) {
            random = new SplittableRandom(seed);
            CacheFormat format = CacheFormat.values()[(int) (seed % 3)];
            layers = seed % 4 == 0 ? 1 : random.nextInt(1, 4);
            pageSize = random.nextInt(1, 9);
            pages = random.nextInt(10, 25);
            rank = format == CacheFormat.BF16 ? random.nextInt(1, 20) : 128;
            cache = LatentKvCache.allocate(rank, DIGITS, format, layers, pages, pageSize);
        }

        void step() {
            int op = random.nextInt(100);
            if (entries.isEmpty() || op < 6 && entries.size() < 12) {
                entries.add(new Entry(cache.open(), new ArrayList<>(), new ArrayList<>()));
            } else if (op < 36) {
                extend(some());
            } else if (op < 66) {
                write(some());
            } else if (op < 76 && layers == 1) {
                append(one());
            } else if (op < 82) {
                truncate(one());
            } else if (op < 90 && entries.size() < 12) {
                fork(one());
            } else if (op < 93) {
                Entry e = one();
                e.sequence().close();
                e.sequence().close();
                entries.remove(e);
            } else {
                check(one());
            }
            invariants();
            if (random.nextInt(100) == 0) {
                entries.forEach(this::check);
            }
        }

        private Entry one() {
            return entries.get(random.nextInt(entries.size()));
        }

        private List<Entry> some() {
            List<Entry> some = new ArrayList<>(entries);
            Collections.shuffle(some, new java.util.Random(random.nextLong()));
            return some.subList(0, Math.min(some.size(), random.nextInt(1, 4)));
        }

        private static List<LatentKvCache.Sequence> sequences(List<Entry> some) {
            return some.stream().map(Entry::sequence).toList();
        }

        private Map<Object, Integer> references() {
            Map<Object, Integer> references = new IdentityHashMap<>();
            entries.forEach(e -> e.pages().forEach(p -> references.merge(p, 1, Integer::sum)));
            return references;
        }

        /** Runs what claims pages for tokens from {@code from}, and claims them in the model; false if they run out. */
        private boolean claim(List<Entry> some, int[] from, int[] to, Runnable operation) {
            Map<Object, Integer> references = references();
            int free = pages - references.size();
            List<List<Object>> after = new ArrayList<>();
            int needed = 0;
            int copied = 0;
            for (int i = 0; i < some.size(); i++) {
                List<Object> table = new ArrayList<>(some.get(i).pages());
                for (int p = from[i] / pageSize; from[i] < to[i] && p * pageSize < to[i]; p++) {
                    if (p == table.size()) {
                        table.add(new Object());
                        needed++;
                    } else if (references.get(table.get(p)) > 1) {
                        references.merge(table.get(p), -1, Integer::sum);
                        table.set(p, new Object());
                        needed++;
                        copied++;
                    }
                }
                after.add(table);
            }
            if (needed > free) {
                OutOfPagesException e = assertThrows(OutOfPagesException.class, operation::run, what);
                assertEquals(needed, e.needed(), what);
                assertEquals(free, e.free(), what);
                outOfPages++;
                return false;
            }
            operation.run();
            copies += copied;
            for (int i = 0; i < some.size(); i++) {
                some.get(i).pages().clear();
                some.get(i).pages().addAll(after.get(i));
            }
            return true;
        }

        private void extend(List<Entry> some) {
            int[] from = some.stream().mapToInt(e -> e.tokens().size()).toArray();
            int[] count = from.clone();
            Arrays.setAll(count, i -> random.nextInt(5) == 0 ? random.nextInt(2 * pageSize + 2) : random.nextInt(2));
            int[] to = from.clone();
            Arrays.setAll(to, i -> from[i] + count[i]);
            if (claim(some, from, to, () -> cache.extend(sequences(some), count))) {
                for (int i = 0; i < count.length; i++) {
                    for (int t = 0; t < count[i]; t++) {
                        some.get(i).tokens().add(new int[layers]);
                    }
                }
            }
        }

        private void write(List<Entry> some) {
            int layer = random.nextInt(layers);
            int[] to = some.stream().mapToInt(e -> e.tokens().size()).toArray();
            int[] count = to.clone();
            Arrays.setAll(count, i -> random.nextInt(1 + Math.min(to[i], random.nextBoolean() ? 2 : 3 * pageSize)));
            int[] from = to.clone();
            Arrays.setAll(from, i -> to[i] - count[i]);
            int first = numbers + 1;
            numbers += Arrays.stream(count).sum();
            try (Tensor latent = latent(first, numbers + 1); Tensor keys = keys(first, numbers + 1)) {
                if (claim(some, from, to, () -> cache.write(layer, sequences(some), count, latent, keys))) {
                    int number = first;
                    for (int i = 0; i < count.length; i++) {
                        for (int t = from[i]; t < to[i]; t++) {
                            // Forks share the array of a token until one of them writes.
                            int[] token = some.get(i).tokens().get(t).clone();
                            token[layer] = number++;
                            some.get(i).tokens().set(t, token);
                        }
                    }
                }
            }
        }

        private void append(Entry e) {
            int before = e.tokens().size();
            int count = random.nextInt(pageSize + 2);
            int first = numbers + 1;
            numbers += count;
            try (Tensor latent = latent(first, numbers + 1); Tensor keys = keys(first, numbers + 1)) {
                if (claim(List.of(e), new int[] {before}, new int[] {before + count},
                        () -> cache.append(e.sequence(), latent, keys))) {
                    for (int t = 0; t < count; t++) {
                        e.tokens().add(new int[] {first + t});
                    }
                }
            }
        }

        private void truncate(Entry e) {
            int size = e.tokens().size();
            int keep = random.nextBoolean() ? random.nextInt(size + 1) : Math.max(0, size - random.nextInt(3));
            e.sequence().truncate(keep);
            e.tokens().subList(keep, size).clear();
            e.pages().subList(Math.ceilDiv(keep, pageSize), e.pages().size()).clear();
        }

        private void fork(Entry e) {
            int size = e.tokens().size();
            int keep = random.nextBoolean() ? size : random.nextInt(size + 1);
            LatentKvCache.Sequence fork = keep == size ? e.sequence().fork() : e.sequence().fork(keep);
            entries.add(new Entry(fork, new ArrayList<>(e.tokens().subList(0, keep)),
                    new ArrayList<>(e.pages().subList(0, Math.ceilDiv(keep, pageSize)))));
        }

        private Tensor keys(int from, int to) {
            float[] keys = new float[(to - from) * DIGITS];
            for (int i = 0; i < keys.length; i++) {
                keys[i] = (from + i / DIGITS) >> 8 * (i % DIGITS) & 0xFF;
            }
            return Tensor.of(keys, to - from, DIGITS);
        }

        private Tensor latent(int from, int to) {
            float[] latent = new float[(to - from) * rank];
            for (int i = 0; i < latent.length; i++) {
                latent[i] = value(from + i / rank, i % rank);
            }
            return Tensor.of(latent, to - from, rank);
        }

        /** One of the values 16 to 30, which E4M3 has exactly with the scale 1/8 that the largest of them leads to. */
        private static float value(int number, int column) {
            return column == 0 ? 30 : 16 + 2 * (number * 31 + column * 7 & 7);
        }

        private void check(Entry e) {
            int size = e.tokens().size();
            assertEquals(size, e.sequence().length(), what);
            int from = random.nextInt(size + 1);
            int to = random.nextInt(from, size + 1);
            for (int layer = 0; layer < layers; layer++) {
                try (Tensor latent = Tensor.of(new float[(to - from) * rank], to - from, rank);
                        Tensor keys = Tensor.of(new float[(to - from) * DIGITS], to - from, DIGITS)) {
                    cache.read(layer, e.sequence(), from, to, latent, keys);
                    for (int t = from; t < to; t++) {
                        int number = e.tokens().get(t)[layer];
                        for (int i = 0; number != 0 && i < DIGITS; i++) {
                            assertEquals(number >> 8 * i & 0xFF, keys.getFloat(t - from, i),
                                    what + ", " + e.sequence() + " token " + t + " layer " + layer);
                        }
                        for (int i = 0; number != 0 && i < rank && cache.format() != CacheFormat.FP8_FP32_SCALE; i++) {
                            assertEquals(value(number, i), latent.getFloat(t - from, i), what);
                        }
                    }
                }
            }
        }

        /** Pages are shared where the model shares them, and nowhere else; all others are free. */
        private void invariants() {
            assertEquals(sequences(entries), cache.sequences(), what);
            Map<Object, Integer> known = new IdentityHashMap<>();
            Set<Integer> used = new HashSet<>();
            for (Entry e : entries) {
                assertEquals(Math.ceilDiv(e.tokens().size(), pageSize), e.pages().size(), what);
                for (int i = 0; i < e.pages().size(); i++) {
                    int page = e.sequence().table[i];
                    Integer before = known.put(e.pages().get(i), page);
                    assertTrue(before == null ? used.add(page) : before == page, what + ": page " + page);
                }
            }
            assertEquals(pages - used.size(), cache.freePages(), what);
        }

        @Override
        public void close() {
            entries.forEach(e -> e.sequence().close());
            assertEquals(pages, cache.freePages(), what);
            assertEquals(List.of(), cache.sequences(), what);
            cache.close();
        }
    }
}
