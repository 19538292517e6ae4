package dev.octet.benchmarks.jmh;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaleFormat;
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

/** Quantising, dequantising and casting matrices larger than the caches. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class QuantizeBenchmark {
    /** The implementation's name. */
    @Param("cpu")
    public String backend;
    /** How many threads work. */
    @Param("1")
    public int threads;
    /** Which elements share a scale. */
    @Param("BLOCK_1X128")
    public Granularity granularity;
    /** The float type read, or written when dequantising. */
    @Param("BF16")
    public DType dtype;
    /** Rows. */
    @Param("4096")
    public long rows;
    /** Columns. */
    @Param("7168")
    public long columns;

    private CpuPool pool;
    private Fp8 fp8;
    private Tensor floats;
    private Tensor codes;
    private ScaledTensor scaled;

    /** Makes the operands. */
    @Setup
    public void make() {
        pool = new CpuPool(threads);
        fp8 = Fp8.on(backend).with(pool);
        floats = RandomCodes.normal(dtype, rows, columns, 1);
        scaled = RandomCodes.scaled(rows, columns, new Scaling(granularity, ScaleFormat.F32), 2);
        codes = Tensor.allocate(DType.F8_E4M3, Shape.of(rows, columns));
    }

    /** Ends the threads and frees the operands. */
    @TearDown
    public void close() {
        pool.close();
        floats.close();
        scaled.close();
        codes.close();
    }

    /**
     * {@return codes and scales of a float matrix}
     */
    @Benchmark
    public ScaledTensor quantize() {
        fp8.quantize(floats, scaled);
        return scaled;
    }

    /**
     * {@return the float matrix of codes and scales}
     */
    @Benchmark
    public Tensor dequantize() {
        fp8.dequantize(scaled, floats);
        return floats;
    }

    /**
     * {@return the codes of a float matrix, without scales}
     */
    @Benchmark
    public Tensor cast() {
        fp8.cast(floats, codes, Overflow.SATURATE);
        return codes;
    }
}
