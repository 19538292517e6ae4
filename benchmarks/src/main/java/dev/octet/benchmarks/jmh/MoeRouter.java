package dev.octet.benchmarks.jmh;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.moe.Moe;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** The product in front of DeepSeek-V3's gate: tokens of 7,168 values times the centroids of 256 experts. */
@State(Scope.Benchmark)
public class MoeRouter {
    /** The implementation's name. */
    @Param("cpu")
    public String backend;
    /** How many threads work. */
    @Param("1")
    public int threads;
    /** Tokens. */
    @Param("1")
    public long tokens;
    /** Experts. */
    @Param("256")
    public long n;
    /** Values of a token. */
    @Param("7168")
    public long k;
    /** The type of centroids and tokens. */
    @Param("BF16")
    public DType dtype;

    private CpuPool pool;
    private Moe moe;
    private Tensor hidden;
    private Tensor[] weights;
    private Tensor logits;
    private int next;

    /** Makes the operands; of few tokens' weights so many copies that each comes from memory. */
    @Setup
    public void make() {
        pool = new CpuPool(threads);
        moe = Moe.on(backend).with(pool);
        hidden = RandomCodes.normal(dtype, tokens, k, 1);
        weights = new Tensor[ColdWeights.copies(tokens, n * k * dtype.byteSize())];
        for (int i = 0; i < weights.length; i++) {
            weights[i] = RandomCodes.normal(dtype, n, k, 2 + i);
        }
        logits = Tensor.allocate(DType.F32, Shape.of(tokens, n));
    }

    /** Ends the threads and frees the operands. */
    @TearDown
    public void close() {
        pool.close();
        hidden.close();
        for (Tensor w : weights) {
            w.close();
        }
        logits.close();
    }

    Tensor run() {
        next = next + 1 == weights.length ? 0 : next + 1;
        moe.routerLogits(hidden, weights[next], logits);
        return logits;
    }
}
