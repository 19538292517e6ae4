package dev.octet.core.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class CpuPoolTest {
    private static void assertEachOnce(CpuPool pool, int count) {
        AtomicIntegerArray runs = new AtomicIntegerArray(Math.max(1, count));
        pool.run(count, runs::incrementAndGet);
        for (int i = 0; i < count; i++) {
            assertEquals(1, runs.get(i), "task " + i + " of " + count);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 8, 33})
    void everyTaskRunsOnce(int threads) {
        try (CpuPool pool = new CpuPool(threads)) {
            assertEquals(threads, pool.threads());
            for (int count : new int[] {0, 1, 2, 7, 13, 127, 1021, 100_000}) {
                assertEachOnce(pool, count);
            }
        }
    }

    @Test
    void resultsAreVisibleToTheCaller() {
        try (CpuPool pool = new CpuPool(4)) {
            long[] plain = new long[64]; // neither volatile nor atomic
            for (int round = 1; round <= 20_000; round++) {
                int r = round;
                pool.run(plain.length, i -> plain[i] += r);
            }
            for (long sum : plain) {
                assertEquals(20_000L * 20_001 / 2, sum);
            }
        }
    }

    @Test
    void nothingRunsAfterRunHasReturned() {
        try (CpuPool pool = new CpuPool(8)) {
            AtomicInteger inside = new AtomicInteger();
            Random random = new Random(1);
            for (int round = 0; round < 5_000; round++) {
                if (round % 500 == 0) {
                    pause(1); // workers park and have to be woken
                }
                pool.run(random.nextInt(10), i -> {
                    inside.incrementAndGet();
                    Thread.onSpinWait();
                    inside.decrementAndGet();
                });
                assertEquals(0, inside.get());
            }
        }
    }

    @Test
    void workersTakePart() throws InterruptedException {
        try (CpuPool pool = new CpuPool(2)) {
            pause(5);
            CountDownLatch both = new CountDownLatch(2); // ends only if two threads work at the same time
            Set<Thread> threads = ConcurrentHashMap.newKeySet();
            pool.run(2, i -> {
                threads.add(Thread.currentThread());
                both.countDown();
                await(both);
            });
            assertEquals(2, threads.size());
            assertTrue(threads.contains(Thread.currentThread()));
            for (Thread t : threads) {
                assertTrue(t == Thread.currentThread() || t.isDaemon());
            }
        }
    }

    @Test
    void theFirstExceptionReachesTheCallerAndThePoolGoesOn() {
        try (CpuPool pool = new CpuPool(3)) {
            AtomicInteger begun = new AtomicInteger();
            for (Throwable thrown : List.of(new IllegalStateException("a"), new StackOverflowError("b"),
                    new IOException("c"))) {
                begun.set(0);
                Throwable seen = assertThrows(Throwable.class, () -> pool.run(1_000_000, i -> {
                    begun.incrementAndGet();
                    if (i == 3) {
                        CpuPoolTest.<RuntimeException>sneak(thrown);
                    }
                }));
                assertSame(thrown, seen);
                assertTrue(begun.get() < 1_000_000, "tasks that were not begun are skipped");
                assertEachOnce(pool, 1000);
            }
        }
    }

    @Test
    void everyTaskMayThrow() {
        try (CpuPool pool = new CpuPool(4)) {
            for (int round = 0; round < 1000; round++) {
                assertThrows(ArithmeticException.class, () -> pool.run(16, i -> {
                    throw new ArithmeticException("task " + i);
                }));
            }
            assertEachOnce(pool, 1000);
        }
    }

    @SuppressWarnings("unchecked")
    private static <E extends Throwable> void sneak(Throwable t) throws E {
        throw (E) t;
    }

    @Test
    void nestedLoopsRunOnTheirCaller() {
        try (CpuPool pool = new CpuPool(3); CpuPool other = new CpuPool(2)) {
            AtomicIntegerArray runs = new AtomicIntegerArray(20 * 30);
            pool.run(20, i -> {
                Thread outer = Thread.currentThread();
                pool.run(30, j -> {
                    assertSame(outer, Thread.currentThread());
                    runs.incrementAndGet(30 * i + j);
                });
            });
            for (int i = 0; i < runs.length(); i++) {
                assertEquals(1, runs.get(i));
            }
            pool.run(20, i -> assertEachOnce(other, 100));
        }
    }

    @Test
    void manyCallersShareAPool() throws InterruptedException {
        try (CpuPool pool = new CpuPool(3)) {
            AtomicReference<Throwable> failure = new AtomicReference<>();
            List<Thread> callers = new ArrayList<>();
            for (int c = 0; c < 6; c++) {
                int seed = c;
                Thread caller = seed % 2 == 0 ? Thread.ofPlatform().unstarted(() -> calls(pool, seed, failure))
                        : Thread.ofVirtual().unstarted(() -> calls(pool, seed, failure));
                callers.add(caller);
                caller.start();
            }
            for (Thread caller : callers) {
                caller.join();
            }
            assertEquals(null, failure.get());
        }
    }

    private static void calls(CpuPool pool, int seed, AtomicReference<Throwable> failure) {
        Random random = new Random(seed);
        try {
            for (int i = 0; i < 2000; i++) {
                assertEachOnce(pool, random.nextInt(50));
            }
        } catch (Throwable t) {
            failure.compareAndSet(null, t);
        }
    }

    @Test
    void closedPoolRefuses() throws InterruptedException {
        CpuPool pool = new CpuPool(3);
        Set<Thread> threads = ConcurrentHashMap.newKeySet();
        CountDownLatch all = new CountDownLatch(3);
        pool.run(3, i -> {
            threads.add(Thread.currentThread());
            all.countDown();
            await(all);
        });
        threads.remove(Thread.currentThread());
        pool.close();
        pool.close();
        for (Thread t : threads) {
            t.join(10_000);
            assertTrue(!t.isAlive(), "closing ends the threads");
        }
        assertThrows(IllegalStateException.class, () -> pool.run(1, i -> { }));
        assertThrows(IllegalStateException.class, () -> pool.run(100, i -> { }));
    }

    @Test
    void closingAgainstCallersNeverHangs() throws InterruptedException {
        for (int round = 0; round < 300; round++) {
            CpuPool pool = new CpuPool(3);
            Thread caller = Thread.ofPlatform().start(() -> {
                try {
                    while (true) {
                        assertEachOnce(pool, 20);
                    }
                } catch (IllegalStateException e) {
                    // closed, as it should be
                }
            });
            TimeUnit.MICROSECONDS.sleep(round * 3L);
            pool.close();
            caller.join(20_000);
            assertTrue(!caller.isAlive(), "round " + round);
        }
    }

    @Test
    void closingFromInsideATaskIsRefused() {
        try (CpuPool pool = new CpuPool(2)) {
            CountDownLatch both = new CountDownLatch(2);
            pool.run(2, i -> {
                both.countDown();
                await(both); // so one task runs on a worker
                assertThrows(IllegalStateException.class, pool::close);
            });
            assertEachOnce(pool, 100);
        }
        assertThrows(IllegalStateException.class, () -> CpuPool.shared().close());
    }

    @Test
    void sizesOutOfRangeAreRefused() {
        for (int threads : new int[] {0, -1, 1025}) {
            assertThrows(IllegalArgumentException.class, () -> new CpuPool(threads).close());
        }
        assertThrows(IllegalArgumentException.class, () -> CpuPool.shared().run(-1, i -> { }));
        assertEquals(CpuConfig.threads(), CpuPool.shared().threads());
    }

    private static void await(CountDownLatch latch) {
        try {
            assertTrue(latch.await(30, TimeUnit.SECONDS));
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void pause(int millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
