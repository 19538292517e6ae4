package dev.octet.benchmarks.jmh;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.moe.Moe;
import dev.octet.moe.Routing;
import dev.octet.moe.TokenPermutation;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
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

/** The way of tokens to their experts and back, with the dimensions of DeepSeek-V2-Lite. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class PermuteBenchmark {
    private static final int EXPERTS = 64;

    /** The implementation's name. */
    @Param("cpu")
    public String backend;
    /** How many threads work. */
    @Param("1")
    public int threads;
    /** How many tokens. */
    @Param("4096")
    public int tokens;
    /** Experts of each. */
    @Param("6")
    public int topK;
    /** Values of a row. */
    @Param("2048")
    public long hidden;
    /** The type of a value. */
    @Param("BF16")
    public DType dtype;

    private CpuPool pool;
    private Moe moe;
    private Routing routing;
    private TokenPermutation permutation;
    private Tensor x;
    private Tensor rows;

    /** Makes the operands: experts that follow each other from a random one on, so that no token has one twice. */
    @Setup
    public void make() {
        pool = new CpuPool(threads);
        moe = Moe.on(backend).with(pool);
        routing = Routing.allocate(tokens, topK);
        SplittableRandom random = new SplittableRandom(1);
        for (int t = 0; t < tokens; t++) {
            int first = random.nextInt(EXPERTS);
            int step = 1 + 2 * random.nextInt(EXPERTS / 2);
            for (int j = 0; j < topK; j++) {
                long at = (long) t * topK + j;
                routing.experts().segment().setAtIndex(ValueLayout.JAVA_INT, at, (first + j * step) % EXPERTS);
                routing.weights().segment().setAtIndex(ValueLayout.JAVA_FLOAT, at, random.nextFloat());
            }
        }
        permutation = TokenPermutation.of(routing, EXPERTS, 1);
        x = RandomCodes.normal(dtype, tokens, hidden, 2);
        rows = Tensor.allocate(dtype, Shape.of(permutation.positions(), hidden));
        moe.expand(permutation, x, rows);
    }

    /** Ends the threads and frees the operands. */
    @TearDown
    public void close() {
        pool.close();
        routing.close();
        x.close();
        rows.close();
    }

    /**
     * {@return the tokens' rows at their positions}
     */
    @Benchmark
    public Tensor permute() {
        moe.expand(permutation, x, rows);
        return rows;
    }

    /**
     * {@return the weighted sums of the positions' rows}
     */
    @Benchmark
    public Tensor reduce() {
        moe.reduce(permutation, rows, routing.weights(), x);
        return x;
    }
}
