package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.mla.LatentKvCache.Sequence;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.junit.jupiter.api.Test;

/** Several threads on one cache. */
class CacheThreadsTest {
    private static final int THREADS = 6;
    private static final int STEPS = 4000;
    private static final int LAYERS = 2;

    /** Work of one of several threads. */
    private interface Work {
        void run(int thread) throws Exception;
    }

    private static void inThreads(int threads, Work work) throws Exception {
        try (ExecutorService pool = Executors.newFixedThreadPool(threads)) {
            List<Future<?>> all = new ArrayList<>();
            for (int t = 0; t < threads; t++) {
                int thread = t;
                all.add(pool.submit(() -> {
                    work.run(thread);
                    return null;
                }));
            }
            try {
                for (Future<?> f : all) {
                    f.get(60, TimeUnit.SECONDS);
                }
            } catch (ExecutionException | TimeoutException e) {
                pool.shutdownNow();
                throw e;
            }
        }
    }

    /**
     * Each thread has sequences of its own, all of them forks of one prefix that ends within a page: so that all share
     * pages with others, copy them while others do too, and run out of them.
     */
    @Test
    void forksOfOnePrefix() throws Exception {
        long seed = 7;
        int prefix = 10;
        AtomicInteger outOfPages = new AtomicInteger();
        try (LatentKvCache cache = LatentKvCache.allocate(128, 3, CacheFormat.FP8, LAYERS, 60, 4)) {
            Sequence source = cache.open();
            List<Integer> common = new ArrayList<>();
            append(cache, source, common, prefix, 1);
            List<Sequence> first = new ArrayList<>();
            for (int t = 0; t < THREADS; t++) {
                first.add(source.fork());
            }
            inThreads(THREADS, thread -> {
                SplittableRandom random = new SplittableRandom(seed + thread);
                Sequence one = first.get(thread);
                List<Integer> tokens = new ArrayList<>(common);
                int number = 1000 * (thread + 1);
                for (int step = 0; step < STEPS; step++) {
                    String what = "seed " + seed + ", thread " + thread + ", step " + step;
                    switch (random.nextInt(8)) {
                        case 0 -> {
                            int keep = random.nextInt(prefix / 2, tokens.size() + 1);
                            one.truncate(keep);
                            tokens.subList(keep, tokens.size()).clear();
                        }
                        case 1 -> { // the fork lives on, and shares its last page with nobody then
                            Sequence fork = one.fork();
                            one.close();
                            one = fork;
                        }
                        case 2 -> {
                            check(cache, one, tokens, what);
                            try (Sequence fork = one.fork(random.nextInt(tokens.size() + 1))) {
                                List<Integer> same = new ArrayList<>(tokens.subList(0, fork.length()));
                                number += append(cache, fork, same, random.nextInt(4), number);
                                check(cache, fork, same, what);
                            } catch (OutOfPagesException e) {
                                outOfPages.incrementAndGet();
                            }
                            check(cache, one, tokens, what);
                        }
                        default -> {
                            try {
                                number += append(cache, one, tokens, random.nextInt(1, 6), number);
                            } catch (OutOfPagesException e) {
                                outOfPages.incrementAndGet();
                                assertEquals(tokens.size(), one.length(), what);
                                one.truncate(prefix / 2);
                                tokens.subList(prefix / 2, tokens.size()).clear();
                            }
                        }
                    }
                    if (step % 16 == 0) {
                        check(cache, one, tokens, what);
                    }
                }
                check(cache, one, tokens, "thread " + thread);
                one.close();
            });
            check(cache, source, common, "the source");
            assertEquals(List.of(source), cache.sequences());
            assertEquals(57, cache.freePages());
            source.close();
            assertEquals(60, cache.freePages());
            assertTrue(outOfPages.get() > 20, outOfPages + " times out of pages");
        }
    }

    /** Reserves and writes, or throws and has not extended: returns how many numbers were used. */
    private static int append(LatentKvCache cache, Sequence s, List<Integer> tokens, int count, int first) {
        cache.extend(List.of(s), count);
        try (Tensor latent = Tensor.allocate(DType.F32, Shape.of(count, 128));
                Tensor keys = Tensor.allocate(DType.F32, Shape.of(count, 3))) {
            float[] values = new float[count * 3];
            for (int i = 0; i < values.length; i++) {
                values[i] = first + i / 3 >> 8 * (i % 3) & 0xFF;
            }
            keys.copyFrom(values);
            for (int layer = 0; layer < LAYERS; layer++) {
                cache.write(layer, List.of(s), new int[] {count}, latent, keys);
            }
        }
        for (int i = 0; i < count; i++) {
            tokens.add(first + i);
        }
        return count;
    }

    private static void check(LatentKvCache cache, Sequence s, List<Integer> tokens, String what) {
        int n = tokens.size();
        assertEquals(n, s.length(), what);
        try (Tensor latent = Tensor.allocate(DType.F32, Shape.of(n, 128));
                Tensor keys = Tensor.allocate(DType.F32, Shape.of(n, 3))) {
            for (int layer = 0; layer < LAYERS; layer++) {
                cache.read(layer, s, 0, n, latent, keys);
                float[] read = keys.toFloatArray();
                for (int t = 0; t < n; t++) {
                    int number = (int) read[3 * t] | (int) read[3 * t + 1] << 8 | (int) read[3 * t + 2] << 16;
                    assertEquals(tokens.get(t), number, what + ", token " + t + " of layer " + layer);
                }
            }
        }
    }

    /** The same sequences in any order: each call has all of them or is refused, and nobody waits for anybody. */
    @Test
    void listsInDifferentOrders() throws Exception {
        int sequences = 4;
        AtomicIntegerArray lengths = new AtomicIntegerArray(sequences);
        AtomicInteger done = new AtomicInteger();
        try (LatentKvCache cache = LatentKvCache.allocate(1, 1, CacheFormat.BF16, 1, 100_000, 1)) {
            List<Sequence> all = new ArrayList<>();
            for (int i = 0; i < sequences; i++) {
                all.add(cache.open());
            }
            inThreads(4, thread -> {
                Random random = new Random(thread);
                for (int step = 0; step < 5000; step++) {
                    List<Integer> order = new ArrayList<>(List.of(0, 1, 2, 3));
                    Collections.shuffle(order, random);
                    List<Integer> some = order.subList(0, 2 + random.nextInt(3));
                    try (LatentKvCache.Lease lease = cache.lease(0, some.stream().map(all::get).toList())) {
                        assertEquals(some.size(), lease.latents().sequences());
                        done.incrementAndGet();
                    } catch (IllegalStateException e) {
                        assertTrue(e.getMessage().matches("sequence [0-3] is in use: thread .* is at work on it"),
                                e.getMessage());
                        Thread.yield();
                    }
                    try {
                        int[] ones = some.stream().mapToInt(i -> 1).toArray();
                        cache.extend(some.stream().map(all::get).toList(), ones);
                        some.forEach(lengths::incrementAndGet);
                        done.incrementAndGet();
                    } catch (IllegalStateException e) {
                        Thread.yield();
                    }
                }
            });
            int total = 0;
            for (int i = 0; i < sequences; i++) {
                assertEquals(lengths.get(i), all.get(i).length());
                total += lengths.get(i);
            }
            assertEquals(100_000 - total, cache.freePages());
            assertTrue(done.get() > 1000, done + " calls went through");
        }
    }

    @Test
    void aSecondThreadIsRefusedByName() throws Exception {
        try (LatentKvCache cache = LatentKvCache.allocate(1, 1, CacheFormat.BF16, 1, 10, 1);
                Tensor latent = Tensor.of(new float[1], 1, 1); Tensor keys = Tensor.of(new float[1], 1, 1)) {
            Sequence a = cache.open();
            Sequence b = cache.open();
            try (LatentKvCache.Lease lease = cache.lease(0, List.of(a))) {
                String holder = Thread.currentThread().getName();
                inThreads(1, thread -> {
                    cache.append(b, latent, keys);
                    for (Runnable r : List.<Runnable>of(() -> cache.append(a, latent, keys), a::close, a::fork,
                            () -> cache.read(0, a, 0, 0, latent, keys), () -> cache.extend(List.of(b, a), 1, 1))) {
                        assertEquals("sequence 0 is in use: thread " + holder + " is at work on it",
                                assertThrows(IllegalStateException.class, r::run).getMessage());
                    }
                    cache.append(b, latent, keys); // which the refused call has let go
                });
                assertEquals(1, lease.latents().sequences());
            }
            cache.append(a, latent, keys);
            assertEquals(1, a.length());
            assertEquals(2, b.length());
        }
    }
}
