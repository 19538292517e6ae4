package dev.octet.benchmarks.jmh;

import dev.octet.benchmarks.probe.CopyProbe;
import dev.octet.benchmarks.probe.DotProbe;
import dev.octet.benchmarks.probe.FmaProbe;
import dev.octet.benchmarks.probe.ReadProbe;
import dev.octet.core.cpu.CpuPool;
import java.lang.foreign.Arena;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** The machine's limits. */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class ProbeBenchmark {
    /** The threads. */
    @State(Scope.Benchmark)
    public static class Threads {
        /** How many threads work. */
        @Param("1")
        public int threads;

        CpuPool pool;
        Arena arena;

        /** Starts the threads. */
        @Setup
        public void start() {
            pool = new CpuPool(threads);
            arena = Arena.ofShared();
        }

        /** Ends the threads and frees the buffers. */
        @TearDown
        public void stop() {
            pool.close();
            arena.close();
        }
    }

    /** The registers' probe. */
    @State(Scope.Benchmark)
    public static class Fma {
        FmaProbe probe;

        /**
         * Makes the probe.
         *
         * @param t the threads
         */
        @Setup
        public void make(Threads t) {
            probe = new FmaProbe(t.pool);
        }
    }

    /** The same for BF16 dot products. */
    @State(Scope.Benchmark)
    public static class Dot {
        DotProbe probe;

        /**
         * Makes the probe.
         *
         * @param t the threads
         */
        @Setup
        public void make(Threads t) {
            probe = new DotProbe(t.pool);
        }
    }

    /** The reading probe. */
    @State(Scope.Benchmark)
    public static class Read {
        ReadProbe probe;

        /**
         * Makes the probe.
         *
         * @param t the threads
         */
        @Setup
        public void make(Threads t) {
            probe = new ReadProbe(t.pool, t.arena);
        }
    }

    /** The copying probe. */
    @State(Scope.Benchmark)
    public static class Copy {
        CopyProbe probe;

        /**
         * Makes the probe.
         *
         * @param t the threads
         */
        @Setup
        public void make(Threads t) {
            probe = new CopyProbe(t.pool, t.arena);
        }
    }

    /**
     * FP32 multiply-adds.
     *
     * @param s the probe
     * @return the sums
     */
    @Benchmark
    public float fma(Fma s) {
        s.probe.run();
        return s.probe.result();
    }

    /**
     * BF16 dot products.
     *
     * @param s the probe
     * @return the sums
     */
    @Benchmark
    public long dot(Dot s) {
        s.probe.run();
        return s.probe.result();
    }

    /**
     * Reading from memory.
     *
     * @param s the probe
     * @return the sums
     */
    @Benchmark
    public long read(Read s) {
        s.probe.run();
        return s.probe.result();
    }

    /**
     * Copying in memory.
     *
     * @param s the probe
     */
    @Benchmark
    public void copy(Copy s) {
        s.probe.run();
    }
}
