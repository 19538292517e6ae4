package dev.octet.benchmarks.jmh;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.Overflow;
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

/** Operations on so few elements that what a call costs counts, whose operands stay in the caches. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class SmallBenchmark {
    /** The implementation's name. */
    @Param("cpu")
    public String backend;
    /** How many threads may work. */
    @Param("1")
    public int threads;
    /** Rows of A and D, or of what is converted. */
    @Param("1")
    public long m;
    /** Rows of B, columns of D. */
    @Param("1")
    public long n;
    /** Columns of A and B, or of what is converted. */
    @Param("128")
    public long k;

    private CpuPool pool;
    private Fp8 fp8;
    private ScaledTensor a;
    private ScaledTensor b;
    private Tensor d;
    private Tensor floats;

    /** Makes the operands. */
    @Setup
    public void make() {
        pool = new CpuPool(threads);
        fp8 = Fp8.on(backend).with(pool);
        a = RandomCodes.scaled(m, k, Scaling.ACTIVATION, 1);
        b = RandomCodes.scaled(n, k, Scaling.WEIGHT, 2);
        d = Tensor.allocate(DType.F32, Shape.of(m, n));
        floats = RandomCodes.normal(DType.BF16, m, k, 3);
    }

    /** Ends the threads and frees the operands. */
    @TearDown
    public void close() {
        pool.close();
        a.close();
        b.close();
        d.close();
        floats.close();
    }

    /**
     * {@return the product}
     */
    @Benchmark
    public Tensor gemm() {
        fp8.gemm(a, b, d, Epilogue.NONE);
        return d;
    }

    /**
     * {@return codes and scales}
     */
    @Benchmark
    public ScaledTensor quantize() {
        fp8.quantize(floats, a);
        return a;
    }

    /**
     * {@return the values of codes and scales}
     */
    @Benchmark
    public Tensor dequantize() {
        fp8.dequantize(a, floats);
        return floats;
    }

    /**
     * {@return codes without scales}
     */
    @Benchmark
    public ScaledTensor cast() {
        fp8.cast(floats, a.codes(), Overflow.SATURATE);
        return a;
    }
}
