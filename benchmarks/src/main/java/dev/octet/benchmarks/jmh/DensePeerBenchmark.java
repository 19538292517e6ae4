package dev.octet.benchmarks.jmh;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
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

/** Octet's dense FP8 GEMM, as what its grouped one is compared with: as many rows in all, but a single B. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class DensePeerBenchmark {
    /** The implementation's name. */
    @Param("cpu")
    public String backend;
    /** How many threads work. */
    @Param("1")
    public int threads;
    /** Rows of A and D. */
    @Param("4096")
    public long m;
    /** Rows of B, columns of D. */
    @Param("2816")
    public long n;
    /** Columns of A and B. */
    @Param("2048")
    public long k;

    private CpuPool pool;
    private Fp8 fp8;
    private ScaledTensor a;
    private ScaledTensor b;
    private Tensor d;

    /** Makes the operands. */
    @Setup
    public void make() {
        pool = new CpuPool(threads);
        fp8 = Fp8.on(backend).with(pool);
        a = RandomCodes.scaled(m, k, Scaling.ACTIVATION, -1);
        b = RandomCodes.scaled(n, k, Scaling.WEIGHT, 1);
        d = Tensor.allocate(DType.BF16, Shape.of(m, n));
    }

    /** Ends the threads and frees the operands. */
    @TearDown
    public void close() {
        pool.close();
        a.close();
        b.close();
        d.close();
    }

    /**
     * {@return the product}
     */
    @Benchmark
    public Tensor gemm() {
        fp8.gemm(a, b, d, Epilogue.NONE);
        return d;
    }
}
