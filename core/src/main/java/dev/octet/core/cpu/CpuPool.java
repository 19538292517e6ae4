package dev.octet.core.cpu;

import java.util.concurrent.atomic.AtomicInteger;
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
 * spin for a moment after a loop, then park.
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

    private final Worker[] workers;
    private final ReentrantLock busy = new ReentrantLock();
    private final AtomicInteger next = new AtomicInteger();
    private final AtomicInteger running = new AtomicInteger();
    private volatile @Nullable Task task;
    private volatile int count;
    private volatile int epoch;
    private volatile @Nullable Throwable failure;
    private volatile boolean closed;

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
     * @param count how many tasks
     * @param task what to do for each
     * @throws IllegalStateException if the pool is closed
     * @throws RuntimeException whatever a task threw first; the tasks not yet begun are skipped then
     */
    public void run(int count, Task task) {
        if (closed) {
            throw new IllegalStateException("the pool is closed");
        }
        if (count <= 1 || workers.length == 0 || Thread.currentThread() instanceof Worker
                || busy.isHeldByCurrentThread() || !busy.tryLock()) {
            for (int i = 0; i < count; i++) {
                task.run(i);
            }
            return;
        }
        try {
            failure = null;
            this.task = task;
            this.count = count;
            next.set(0);
            running.set(workers.length);
            epoch++; // the volatile write that publishes all of the above; only the holder of the lock writes it
            for (Worker w : workers) {
                if (w.parked) {
                    LockSupport.unpark(w);
                }
            }
            work(task, count);
            while (running.get() != 0) {
                Thread.onSpinWait();
            }
            this.task = null;
            Throwable t = failure;
            if (t instanceof RuntimeException e) {
                throw e;
            } else if (t instanceof Error e) {
                throw e;
            }
        } finally {
            busy.unlock();
        }
    }

    private void work(Task t, int n) {
        try {
            for (int i = next.getAndIncrement(); i < n; i = next.getAndIncrement()) {
                t.run(i);
            }
        } catch (RuntimeException | Error e) {
            next.set(n);
            if (failure == null) {
                failure = e;
            }
        }
    }

    /** Ends the threads. A loop that runs is finished first; closing again does nothing. */
    @Override
    public void close() {
        if (this == Shared.POOL) {
            throw new IllegalStateException("the shared pool is never closed");
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

        Worker(int number) {
            super("octet-cpu-" + number);
            setDaemon(true);
        }

        @Override
        public void run() {
            int seen = 0;
            while (true) {
                seen = await(seen);
                if (closed) {
                    return;
                }
                Task t = task;
                if (t != null) {
                    work(t, count);
                }
                running.decrementAndGet();
            }
        }

        private int await(int seen) {
            long deadline = System.nanoTime() + SPIN_NANOS;
            while (epoch == seen && !closed) {
                if (System.nanoTime() < deadline) {
                    Thread.onSpinWait();
                    continue;
                }
                parked = true;
                if (epoch == seen && !closed) {
                    LockSupport.park(CpuPool.this);
                }
                parked = false;
            }
            return epoch;
        }
    }
}
