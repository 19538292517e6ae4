package dev.octet.core.cpu;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Threads that share the tasks of one loop. The calling thread works too, so a pool of size 1 has no threads at all.
 *
 * <p>Tasks are handed out one at a time, in order, to whichever thread is free; they must not depend on each other, and
 * Octet's kernels cut their work so that the result of a task does not depend on who runs it: results are the same, to
 * the bit, for every pool size.
 *
 * <p><b>Threads.</b> Any thread may call {@link #run}. When the pool is busy with another caller's loop, or the caller
 * is itself inside a task, the caller runs its whole loop alone instead of waiting. Workers are daemon threads that
 * spin for a moment after a loop, then park. The caller waits only for workers that have joined its loop: one that is
 * slow to wake up costs nothing.
 */
public final class CpuPool implements AutoCloseable {
    /** One task of a loop. */
    @FunctionalInterface
    public interface Task {
        /**
         * Does one task.
         *
         * @param index which one, from 0
         */
        void run(int index);
    }

    /** Long enough to catch the next layer's GEMM, short enough not to burn a core between requests. */
    private static final long SPIN_NANOS = 50_000;
    /** After so many spins the caller lets others have its core: the thread it waits for may need it. */
    private static final int SPINS_BEFORE_YIELD = 10_000;

    private final Worker[] workers;
    private final ReentrantLock busy = new ReentrantLock();
    private final AtomicLong next = new AtomicLong();
    private final AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();
    private volatile boolean closed;
    private int loops; // guarded by busy

    // The protocol. The holder of the lock sets task, count and next, then opens the loop. A worker first counts itself
    // in, then looks whether a loop is open; the caller first ends the loop, then waits until nobody is inside. All of
    // these are volatile, so one of the two sees the other: no task runs after run() has returned.
    private volatile @Nullable Task task;
    private volatile int count;
    private volatile int open; // the number of the loop that may be joined, 0 if none
    private final AtomicInteger inside = new AtomicInteger();

    private static final class Shared {
        static final CpuPool POOL = new CpuPool(CpuConfig.threads());
    }

    /**
     * {@return the pool that operations use unless told otherwise; it has {@link CpuConfig#threads()} threads and is
     * never closed}
     */
    public static CpuPool shared() {
        return Shared.POOL;
    }

    /**
     * Makes a pool.
     *
     * @param threads how many threads work on a loop, the caller included; 1 to 1024
     * @throws IllegalArgumentException if the number is out of range
     */
    public CpuPool(int threads) {
        if (threads < 1 || threads > 1024) {
            throw new IllegalArgumentException("threads is " + threads + ", a pool has 1 to 1024");
        }
        workers = new Worker[threads - 1];
        for (int i = 0; i < workers.length; i++) {
            workers[i] = new Worker(i + 1);
        }
        for (Worker w : workers) {
            w.start();
        }
    }

    /** {@return how many threads work on a loop, the caller included} */
    public int threads() {
        return workers.length + 1;
    }

    /**
     * Runs {@code task.run(0)} to {@code task.run(count - 1)} and returns when all have returned.
     *
     * @param count how many tasks; not negative
     * @param task what to do for each
     * @throws IllegalArgumentException if the count is negative
     * @throws IllegalStateException if the pool is closed
     * @throws RuntimeException whatever a task threw first; the tasks not yet begun are skipped then
     */
    public void run(int count, Task task) {
        if (count < 0) {
            throw new IllegalArgumentException("count is " + count + ", it can't be negative");
        }
        checkOpen();
        if (count <= 1 || workers.length == 0 || Thread.currentThread() instanceof Worker
                || busy.isHeldByCurrentThread() || !busy.tryLock()) {
            for (int i = 0; i < count; i++) {
                task.run(i);
            }
            return;
        }
        try {
            checkOpen(); // again, now that nobody can close it
            failure.set(null);
            this.task = task;
            this.count = count;
            next.set(0);
            loops = loops == Integer.MAX_VALUE ? 1 : loops + 1;
            open = loops;
            for (Worker w : workers) {
                if (w.parked) {
                    LockSupport.unpark(w);
                }
            }
            work(task, count);
            open = 0;
            for (int spins = 0; inside.get() != 0; spins++) {
                if (spins < SPINS_BEFORE_YIELD) {
                    Thread.onSpinWait();
                } else {
                    Thread.yield();
                }
            }
            this.task = null;
            Throwable thrown = failure.getAndSet(null);
            if (thrown != null) {
                throw CpuPool.<RuntimeException>asIs(thrown);
            }
        } finally {
            busy.unlock();
        }
    }

    /** Lets a checked exception that a task threw all the same through unchanged. */
    @SuppressWarnings("unchecked")
    private static <E extends Throwable> E asIs(Throwable t) throws E {
        throw (E) t;
    }

    private void work(Task t, int n) {
        try {
            for (long i = next.getAndIncrement(); i < n; i = next.getAndIncrement()) {
                t.run((int) i);
            }
        } catch (Throwable e) {
            next.set(n);
            failure.compareAndSet(null, e);
        }
    }

    private void checkOpen() {
        if (closed) {
            throw new IllegalStateException("the pool is closed");
        }
    }

    /**
     * Ends the threads. A loop that runs is finished first; closing again does nothing.
     *
     * @throws IllegalStateException if this is the shared pool, or the caller is inside a task
     */
    @Override
    public void close() {
        if (this == Shared.POOL) {
            throw new IllegalStateException("the shared pool is never closed");
        }
        if (busy.isHeldByCurrentThread() || Thread.currentThread() instanceof Worker) {
            throw new IllegalStateException("a pool can't be closed from inside a task");
        }
        busy.lock();
        try {
            closed = true;
            for (Worker w : workers) {
                LockSupport.unpark(w);
            }
        } finally {
            busy.unlock();
        }
    }

    private final class Worker extends Thread {
        private volatile boolean parked;
        private int seen; // the last loop that was joined

        Worker(int number) {
            super("octet-cpu-" + number);
            setDaemon(true);
        }

        @Override
        public void run() {
            while (await()) {
                inside.incrementAndGet();
                int loop = open;
                Task t = task;
                if (loop != 0 && t != null) {
                    seen = loop;
                    work(t, count);
                }
                inside.decrementAndGet();
            }
        }

        /** Waits for a loop that was not joined before; false when the pool is closed. */
        private boolean await() {
            long deadline = System.nanoTime() + SPIN_NANOS;
            while (isIdle()) {
                if (System.nanoTime() < deadline) {
                    Thread.onSpinWait();
                    continue;
                }
                parked = true;
                if (isIdle()) {
                    LockSupport.park(CpuPool.this);
                }
                parked = false;
            }
            return !closed;
        }

        private boolean isIdle() {
            int loop = open;
            return (loop == 0 || loop == seen) && !closed;
        }
    }
}
