package dev.octet.benchmarks.jmh;

import dev.octet.core.Tensor;
import dev.octet.moe.Routing;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;

/** Mixtures of experts. */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class MoeBenchmark {
    /**
     * Experts and weights of all tokens, from logits.
     *
     * @param s the operands
     * @return experts and weights
     */
    @Benchmark
    public Routing gate(MoeGate s) {
        return s.run();
    }

    /**
     * A router's logits.
     *
     * @param s the operands
     * @return the logits
     */
    @Benchmark
    public Tensor router(MoeRouter s) {
        return s.run();
    }

    /**
     * A layer's experts, from hidden states to hidden states.
     *
     * @param s the operands
     * @return what the layer makes of the tokens
     */
    @Benchmark
    public Tensor layer(MoeLayer s) {
        return s.run();
    }
}
