package dev.octet.benchmarks.jmh;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.util.ArrayList;
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
import org.openjdk.jmh.infra.BenchmarkParams;

/**
 * The FP8 GEMM {@code D[m, n] = A[m, k] * B[n, k]^T}, decoding included, in the pairings of training and inference.
 * With few rows each operation takes another copy of B, from memory.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class GemmBenchmark {
    private static final Scaling ROW = new Scaling(Granularity.ROW, ScaleFormat.F32);
    private static final Scaling TENSOR = new Scaling(Granularity.TENSOR, ScaleFormat.F32);
    private static final Scaling COLUMN = new Scaling(Granularity.BLOCK_128X1, ScaleFormat.F32);

    /** The implementation's name. */
    @Param("cpu")
    public String backend;
    /** How many threads work. */
    @Param("1")
    public int threads;
    /** Rows of A and D. */
    @Param("128")
    public long m;
    /** Rows of B, columns of D. */
    @Param("576")
    public long n;
    /** Columns of A and B. */
    @Param("7168")
    public long k;

    private final List<ScaledTensor> owned = new ArrayList<>();
    private CpuPool pool;
    private Fp8 fp8;
    private ScaledTensor a;
    private ScaledTensor[] b;
    private Tensor d;
    private Epilogue epilogue;
    private int next;

    /**
     * Makes the operands.
     *
     * @param params tells which method they are for
     */
    @Setup
    public void make(BenchmarkParams params) {
        pool = new CpuPool(threads);
        fp8 = Fp8.on(backend).with(pool);
        epilogue = Epilogue.NONE;
        String method = params.getBenchmark().substring(params.getBenchmark().lastIndexOf('.') + 1);
        b = new ScaledTensor[ColdWeights.copies(m, n * k)];
        for (int i = 0; i < b.length; i++) {
            b[i] = weights(method, i);
        }
        a = switch (method) {
            case "fprop", "dgrad" -> random(m, k, Scaling.ACTIVATION, -1);
            case "wgrad" -> random(k, m, COLUMN, -1).transpose();
            case "row" -> random(m, k, ROW, -1);
            default -> random(m, k, TENSOR, -1);
        };
        d = Tensor.allocate(method.equals("wgrad") ? DType.F32 : DType.BF16, Shape.of(m, n));
        if (method.equals("wgrad")) {
            epilogue = epilogue.withAddend(d);
        }
    }

    private ScaledTensor weights(String method, long seed) {
        return switch (method) {
            case "fprop" -> random(n, k, Scaling.WEIGHT, seed);
            case "dgrad" -> random(k, n, Scaling.WEIGHT, seed).transpose();
            case "wgrad" -> random(k, n, COLUMN, seed).transpose();
            case "row" -> random(n, k, ROW, seed);
            default -> random(n, k, TENSOR, seed);
        };
    }

    private ScaledTensor random(long rows, long columns, Scaling scaling, long seed) {
        ScaledTensor t = RandomCodes.scaled(rows, columns, scaling, seed);
        owned.add(t);
        return t;
    }

    /** Ends the threads and frees the operands. */
    @TearDown
    public void close() {
        pool.close();
        d.close();
        owned.forEach(ScaledTensor::close);
    }

    private Tensor multiply() {
        int i = next;
        next = i + 1 < b.length ? i + 1 : 0;
        fp8.gemm(a, b[i], d, epilogue);
        return d;
    }

    /**
     * {@return the forward product: activations 1x128, weights 128x128, BF16 result}
     */
    @Benchmark
    public Tensor fprop() {
        return multiply();
    }

    /**
     * {@return the input gradient: output gradients 1x128, the transposed view of weights 128x128, BF16 result}
     */
    @Benchmark
    public Tensor dgrad() {
        return multiply();
    }

    /**
     * {@return the weight gradient: both operands quantised 128x1 along the tokens and read transposed, added to an
     * FP32 result}
     */
    @Benchmark
    public Tensor wgrad() {
        return multiply();
    }

    /**
     * {@return the product with one scale a row on both sides, BF16 result}
     */
    @Benchmark
    public Tensor row() {
        return multiply();
    }

    /**
     * {@return the product with one scale a matrix on both sides, BF16 result}
     */
    @Benchmark
    public Tensor tensor() {
        return multiply();
    }
}
