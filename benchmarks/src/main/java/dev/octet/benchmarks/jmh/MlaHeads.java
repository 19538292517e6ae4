package dev.octet.benchmarks.jmh;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.mla.Mla;
import dev.octet.mla.MlaConfig;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** One BF16 matrix for each head, from memory each time, laid out as the absorbed weights of a layer are. */
@State(Scope.Benchmark)
public class MlaHeads {
    private static final MlaConfig DIMS = MlaConfig.V3;

    /** Which of the absorbed matrices. */
    public enum Weight {
        /** Those of the keys, which turn queries into the latents' space: {@code [heads, 512, 128]}, transposed. */
        UK,
        /** Those of the values, which turn sums of latents into values: {@code [heads, 128, 512]}. */
        UV
    }

    /** The implementation's name. */
    @Param("cpu")
    public String backend;
    /** How many threads work. */
    @Param("1")
    public int threads;
    /** Tokens. */
    @Param("1")
    public int tokens;
    /** Heads. */
    @Param("128")
    public int heads;
    /** Which matrices. */
    @Param("UK")
    public Weight weight;

    private CpuPool pool;
    private Mla mla;
    private Tensor[] layers;
    private Tensor[] weights;
    private Tensor x;
    private Tensor out;
    private int next;

    /** Makes the operands. */
    @Setup
    public void make() {
        pool = new CpuPool(threads);
        mla = Mla.on(backend).with(pool);
        // A layer's matrices lie together, of each head first the key's.
        int keyRows = DIMS.qkNopeHeadDim();
        Shape shape = Shape.of(heads, keyRows + DIMS.vHeadDim(), DIMS.kvLoraRank());
        layers = new Tensor[ColdWeights.copies(tokens, shape.elements() * DType.BF16.byteSize() / 2)];
        weights = new Tensor[layers.length];
        for (int i = 0; i < layers.length; i++) {
            layers[i] = RandomCodes.normal(DType.BF16, shape, i);
            weights[i] = weight == Weight.UK ? layers[i].slice(1, 0, keyRows).transpose(1, 2)
                    : layers[i].slice(1, keyRows, shape.dim(1));
        }
        x = RandomCodes.normal(DType.F32, Shape.of(tokens, heads, weights[0].dim(2)), -1);
        out = Tensor.allocate(DType.F32, Shape.of(tokens, heads, weights[0].dim(1)));
    }

    /** Ends the threads and frees the operands. */
    @TearDown
    public void close() {
        pool.close();
        for (Tensor layer : layers) {
            layer.close();
        }
        x.close();
        out.close();
    }

    Tensor run() {
        int i = next;
        next = i + 1 < weights.length ? i + 1 : 0;
        mla.projectHeads(x, weights[i], out);
        return out;
    }
}
