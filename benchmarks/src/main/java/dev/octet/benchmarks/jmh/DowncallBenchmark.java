package dev.octet.benchmarks.jmh;

import dev.octet.benchmarks.probe.DotProbe;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;

/** What it costs to call a native function that does nothing. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class DowncallBenchmark {
    /** The implementation's name, which is native. */
    @Param("native")
    public String backend;
    /** How many threads call. */
    @Param("1")
    public int threads;

    private long next;

    /**
     * {@return what the function returned, called as all kernels are}
     */
    @Benchmark
    public long ordinary() {
        return next = DotProbe.call(next + 1);
    }

    /**
     * {@return the same as a critical call}
     */
    @Benchmark
    public long critical() {
        return next = DotProbe.criticalCall(next + 1);
    }
}
