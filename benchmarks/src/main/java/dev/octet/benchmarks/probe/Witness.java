package dev.octet.benchmarks.probe;

import dev.octet.core.cpu.CpuConfig;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.DoubleAdder;
import java.util.concurrent.atomic.LongAdder;
import org.jspecify.annotations.Nullable;

/**
 * The loops of the probes for some milliseconds, as a witness of what the machine gives at this moment: run right before
 * and right after a measurement, they show whether somebody else used the cores then, and what memory could do.
 *
 * <p>A witness must leave no trace in the JVM that measures. Its loops are native code: written with the Vector API, they
 * made C2 compile a measured kernel so that it boxed its vectors for good, in one JVM of two. Its threads are its own and
 * end with a burst: with those of a {@link dev.octet.core.cpu.CpuPool} its loops would be one more kind of task there. One
 * thread at a time may use a witness.
 */
public final class Witness {
    /** What a burst does. */
    public enum Kind {
        /** FP32 multiply-adds, in GFLOP/s. */
        FMA("GFLOP/s", 2_000_000),
        /** BF16 dot products, in GFLOP/s. */
        DOT("GFLOP/s", 2_000_000),
        /** Reading from memory, in GB/s. */
        READ("GB/s", 10_000_000),
        /** Copying in memory, read and written, in GB/s. */
        COPY("GB/s", 10_000_000);

        private final String unit;
        private final long nanos;

        Kind(String unit, long nanos) {
            this.unit = unit;
            this.nanos = nanos;
        }

        /** {@return the unit of its rate} */
        public String unit() {
            return unit;
        }

        /** {@return the name of the probe that has the same loop} */
        public String probe() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** Some hundred microseconds: short against a burst, long against a call from the interpreter. */
    private static final int STEPS = 1 << 16;
    /** For the same reason twice the probe's. */
    private static final long READ_CHUNK = 2 * ReadProbe.CHUNK;
    private static final int SPINS_BEFORE_YIELD = 10_000;
    private static final long PAGE = 4096;

    private final int threads;
    private final AtomicLong next = new AtomicLong();
    private final LongAdder sink = new LongAdder();
    private @Nullable MemorySegment source;
    private @Nullable MemorySegment target;

    /**
     * Makes a witness.
     *
     * @param threads how many threads the measurement has
     */
    public Witness(int threads) {
        this.threads = threads;
    }

    /** {@return whether there are native loops for this processor} */
    public static boolean isThere() {
        return WitnessLoops.areThere();
    }

    /**
     * Runs a burst. Bursts of arithmetic take all cores, for a single thread may be on any of them; those of memory as
     * many threads as the measurement has.
     *
     * @param kind what to do
     * @return its rate in units of 10<sup>9</sup> a second, the sum of the threads' own
     */
    public double burst(Kind kind) {
        prepare(kind);
        int count = kind == Kind.FMA || kind == Kind.DOT ? Math.max(threads, CpuConfig.threads()) : threads;
        AtomicInteger missing = new AtomicInteger(count);
        AtomicLong end = new AtomicLong();
        DoubleAdder rate = new DoubleAdder();
        Runnable work = () -> rate.add(work(kind, missing, end));
        Thread[] others = new Thread[count - 1];
        for (int i = 0; i < others.length; i++) {
            others[i] = Thread.ofPlatform().name("octet-witness-" + (i + 1)).daemon().start(work);
        }
        work.run();
        boolean interrupted = false;
        for (Thread t : others) {
            while (t.isAlive()) {
                try {
                    t.join();
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        return rate.sum();
    }

    /** One thread's part, which begins when all are there. */
    private double work(Kind kind, AtomicInteger missing, AtomicLong end) {
        if (missing.decrementAndGet() == 0) {
            end.set(System.nanoTime() + kind.nanos);
        }
        for (int spins = 0; end.get() == 0; spins++) {
            if (spins < SPINS_BEFORE_YIELD) {
                Thread.onSpinWait();
            } else {
                Thread.yield();
            }
        }
        long start = System.nanoTime();
        double done = 0;
        long now;
        do {
            done += switch (kind) {
                case FMA -> fma();
                case DOT -> dot();
                case READ -> read();
                case COPY -> copy();
            };
            now = System.nanoTime();
        } while (now - end.get() < 0);
        return done / (now - start);
    }

    private double fma() {
        sink.add(WitnessLoops.fma(STEPS));
        return WitnessLoops.flopsOfStep() * STEPS;
    }

    private double dot() {
        sink.add(DotProbe.chains(STEPS));
        return DotProbe.FLOPS_OF_STEP * STEPS;
    }

    private double read() {
        MemorySegment from = source;
        if (from != null) {
            sink.add(WitnessLoops.read(from.address() + next(ReadProbe.BYTES, READ_CHUNK), READ_CHUNK));
        }
        return READ_CHUNK;
    }

    private double copy() {
        MemorySegment from = source;
        MemorySegment to = target;
        if (from != null && to != null) {
            long at = next(CopyProbe.BYTES, CopyProbe.CHUNK);
            MemorySegment.copy(from, at, to, at, CopyProbe.CHUNK);
        }
        return 2.0 * CopyProbe.CHUNK;
    }

    /** Goes on where the burst before stopped, so that what is read was read longest ago. */
    private long next(long bytes, long chunk) {
        return next.getAndAdd(chunk) % bytes;
    }

    private void prepare(Kind kind) {
        if (source == null && (kind == Kind.READ || kind == Kind.COPY)) {
            source = buffer(ReadProbe.BYTES);
        }
        if (target == null && kind == Kind.COPY) {
            target = buffer(CopyProbe.BYTES);
        }
    }

    /** As large as the probe's, since smaller ones were seen to be faster, and each of its pages there. */
    private static MemorySegment buffer(long bytes) {
        MemorySegment buffer = Arena.ofAuto().allocate(bytes, 64);
        for (long at = 0; at < bytes; at += PAGE) {
            buffer.set(ValueLayout.JAVA_BYTE, at, (byte) 1);
        }
        return buffer;
    }
}
