package dev.octet.benchmarks.jmh;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.moe.ExpertMlp;
import dev.octet.moe.ExpertWeights;
import dev.octet.moe.Routing;
import dev.octet.moe.RoutingWeight;
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
 * What Octet's layer of experts is compared with: a layer with as many parameters as a token meets there, all of them
 * met by all tokens. It is one expert, as wide as all of a token's together.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class DenseLayerPeerBenchmark {
    /** The implementation's name. */
    @Param("cpu")
    public String backend;
    /** How many threads work. */
    @Param("1")
    public int threads;
    /** Tokens. */
    @Param("256")
    public int tokens;

    private CpuPool pool;
    private ExpertWeights weights;
    private ExpertMlp layer;
    private Routing routing;
    private Tensor hidden;
    private Tensor out;

    /** Makes the operands. */
    @Setup
    public void make() {
        pool = new CpuPool(threads);
        weights = ExpertWeights.random(MoeLayer.HIDDEN, MoeLayer.INTER * (MoeLayer.TOP_K + MoeLayer.SHARED), 1, 0, 1);
        layer = new ExpertMlp(weights, RoutingWeight.AFTER_DOWN).on(backend).with(pool);
        routing = Routing.allocate(tokens, 1); // all to expert 0
        hidden = RandomCodes.normal(DType.BF16, tokens, MoeLayer.HIDDEN, 1);
        out = Tensor.allocate(DType.BF16, Shape.of(tokens, MoeLayer.HIDDEN));
    }

    /** Ends the threads and frees the operands. */
    @TearDown
    public void close() {
        pool.close();
        weights.close();
        routing.close();
        hidden.close();
        out.close();
    }

    /**
     * {@return what the layer makes of the tokens}
     */
    @Benchmark
    public Tensor layer() {
        layer.run(hidden, routing, out);
        return out;
    }
}
