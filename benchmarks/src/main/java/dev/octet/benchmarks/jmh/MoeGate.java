package dev.octet.benchmarks.jmh;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.moe.GateConfig;
import dev.octet.moe.GateOptions;
import dev.octet.moe.Moe;
import dev.octet.moe.Routing;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** DeepSeek-V3's gate from logits: 256 experts in 8 groups, of which 4 are kept, and the best 8. */
@State(Scope.Benchmark)
public class MoeGate {
    /** The implementation's name. */
    @Param("cpu")
    public String backend;
    /** How many threads work. */
    @Param("1")
    public int threads;
    /** Tokens. */
    @Param("4096")
    public int tokens;

    private CpuPool pool;
    private Moe moe;
    private Tensor logits;
    private Tensor bias;
    private Routing out;

    /** Makes the operands. */
    @Setup
    public void make() {
        pool = new CpuPool(threads);
        moe = Moe.on(backend).with(pool);
        GateConfig config = GateConfig.V3;
        logits = RandomCodes.normal(DType.F32, Shape.of(tokens, config.experts()), 1);
        bias = RandomCodes.normal(DType.F32, Shape.of(config.experts()), 2);
        float[] values = bias.toFloatArray();
        for (int e = 0; e < values.length; e++) {
            values[e] *= 0.05f;
        }
        bias.copyFrom(values);
        out = Routing.allocate(tokens, config.topK());
    }

    /** Ends the threads and frees the operands. */
    @TearDown
    public void close() {
        pool.close();
        logits.close();
        bias.close();
        out.close();
    }

    Routing run() {
        moe.gate(logits, bias, GateConfig.V3, GateOptions.NONE, out);
        return out;
    }
}
