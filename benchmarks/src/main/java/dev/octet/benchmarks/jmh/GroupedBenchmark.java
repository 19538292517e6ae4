package dev.octet.benchmarks.jmh;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.util.List;
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

/**
 * The grouped FP8 GEMM over the experts of a layer. The weights of all experts are larger than the caches, so they come
 * from memory each time.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class GroupedBenchmark {
    /** The implementation's name. */
    @Param("cpu")
    public String backend;
    /** How many threads work. */
    @Param("1")
    public int threads;
    /** How many experts. */
    @Param("64")
    public int groups;
    /** The most rows that an expert has: with 1 each has one, else they have 1, 3, 5 and so on, in no order. */
    @Param("128")
    public int rows;
    /** Rows of each B, columns of D. */
    @Param("2816")
    public long n;
    /** Columns of A and B. */
    @Param("2048")
    public long k;

    private CpuPool pool;
    private Fp8 fp8;
    private ScaledTensor a;
    private ScaledTensor stacked;
    private List<ScaledTensor> experts;
    private long[] offsets;
    private Tensor d;

    /** Makes the operands. */
    @Setup
    public void make() {
        pool = new CpuPool(threads);
        fp8 = Fp8.on(backend).with(pool);
        offsets = new long[groups + 1];
        for (int g = 0; g < groups; g++) {
            // 37 is prime to the number of groups, so that each number of rows comes up once.
            offsets[g + 1] = offsets[g] + (rows == 1 ? 1 : 2L * (g * 37 % groups) % rows + 1);
        }
        stacked = RandomCodes.scaled(groups * n, k, Scaling.WEIGHT, 1);
        experts = stacked.split(groups);
        a = RandomCodes.scaled(offsets[groups], k, Scaling.ACTIVATION, -1);
        d = Tensor.allocate(DType.BF16, Shape.of(offsets[groups], n));
    }

    /** Ends the threads and frees the operands. */
    @TearDown
    public void close() {
        pool.close();
        d.close();
        a.close();
        stacked.close();
    }

    /**
     * {@return the products of all experts}
     */
    @Benchmark
    public Tensor gemm() {
        fp8.groupedGemm(a, offsets, experts, d);
        return d;
    }
}
