package dev.octet.benchmarks.jmh;

import dev.octet.core.Tensor;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;

/** Multi-head latent attention: over a compressed cache, over keys and values of each head, and what lies around it. */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class MlaBenchmark {
    /**
     * One token of each sequence, in the absorbed form.
     *
     * @param s the operands
     * @return sums of latents
     */
    @Benchmark
    public Tensor decode(MlaDecode s) {
        return s.run();
    }

    /**
     * A prompt, in the naive form.
     *
     * @param s the operands
     * @return sums of values
     */
    @Benchmark
    public Tensor prefill(MlaPrefill s) {
        return s.run();
    }

    /**
     * One token's way into the cache.
     *
     * @param s the operands
     * @return the query's latent
     */
    @Benchmark
    public Tensor compress(MlaCompress s) {
        return s.run();
    }

    /**
     * The product of each head's values with its own matrix.
     *
     * @param s the operands
     * @return the products
     */
    @Benchmark
    public Tensor absorb(MlaHeads s) {
        return s.run();
    }
}
