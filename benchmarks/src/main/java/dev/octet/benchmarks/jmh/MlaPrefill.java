package dev.octet.benchmarks.jmh;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.mla.AttentionOptions;
import dev.octet.mla.Mla;
import dev.octet.mla.MlaConfig;
import dev.octet.mla.Ragged;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** A prompt whose keys and values have just been decompressed. */
@State(Scope.Benchmark)
public class MlaPrefill {
    private static final MlaConfig DIMS = MlaConfig.V3;

    /** The implementation's name. */
    @Param("cpu")
    public String backend;
    /** How many threads work. */
    @Param("1")
    public int threads;
    /** Heads of queries, keys and values. */
    @Param("16")
    public int heads;
    /** Tokens of the prompt. */
    @Param("512")
    public int tokens;
    /** The type of inputs and result. */
    @Param("F32")
    public DType dtype;

    private CpuPool pool;
    private Mla mla;
    private AttentionOptions options;
    private Ragged lengths;
    private Tensor query;
    private Tensor keys;
    private Tensor ropeKeys;
    private Tensor values;
    private Tensor out;

    /** Makes the operands. */
    @Setup
    public void make() {
        pool = new CpuPool(threads);
        mla = Mla.on(backend).with(pool);
        options = AttentionOptions.causal(DIMS.softmaxScale());
        lengths = Ragged.self(tokens);
        query = random(DIMS.qkHeadDim(), 1);
        keys = random(DIMS.qkNopeHeadDim(), 2);
        ropeKeys = RandomCodes.normal(dtype, tokens, DIMS.qkRopeHeadDim(), 3);
        values = random(DIMS.vHeadDim(), 4);
        out = random(DIMS.vHeadDim(), 5);
    }

    private Tensor random(int dim, long seed) {
        return RandomCodes.normal(dtype, Shape.of(tokens, heads, dim), seed);
    }

    /** Ends the threads and frees the operands. */
    @TearDown
    public void close() {
        pool.close();
        query.close();
        keys.close();
        ropeKeys.close();
        values.close();
        out.close();
    }

    Tensor run() {
        mla.prefill(query, keys, ropeKeys, values, lengths, options, out, null);
        return out;
    }
}
