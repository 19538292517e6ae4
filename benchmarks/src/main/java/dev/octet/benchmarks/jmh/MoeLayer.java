package dev.octet.benchmarks.jmh;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.moe.ExpertMlp;
import dev.octet.moe.ExpertWeights;
import dev.octet.moe.Routing;
import dev.octet.moe.RoutingWeight;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * The experts of a layer of DeepSeek-V2-Lite, shared ones included, with the gate's work done: hidden 2048, inter 1408,
 * six of 64 experts and two shared. With few tokens each operation takes another layer, so that weights come from
 * memory, as they do in a model.
 */
@State(Scope.Benchmark)
public class MoeLayer {
    static final int HIDDEN = 2048;
    static final int INTER = 1408;
    static final int EXPERTS = 64;
    static final int TOP_K = 6;
    static final int SHARED = 2;

    /** The implementation's name. */
    @Param("cpu")
    public String backend;
    /** How many threads work. */
    @Param("1")
    public int threads;
    /** Tokens. */
    @Param("1")
    public int tokens;

    private CpuPool pool;
    private ExpertWeights[] weights;
    private ExpertMlp[] layers;
    private Routing[] routings;
    private Tensor hidden;
    private Tensor out;
    private int next;

    /** Makes the operands. */
    @Setup
    public void make() {
        pool = new CpuPool(threads);
        int copies = ColdWeights.copies(tokens, 3L * HIDDEN * INTER * (TOP_K + SHARED));
        weights = new ExpertWeights[copies];
        layers = new ExpertMlp[copies];
        routings = new Routing[copies];
        SplittableRandom random = new SplittableRandom(7);
        for (int i = 0; i < copies; i++) {
            weights[i] = ExpertWeights.random(HIDDEN, INTER, EXPERTS, SHARED * INTER, i);
            layers[i] = new ExpertMlp(weights[i], RoutingWeight.AFTER_DOWN).on(backend).with(pool);
            routings[i] = route(random);
        }
        hidden = RandomCodes.normal(DType.BF16, tokens, HIDDEN, 1);
        out = Tensor.allocate(DType.BF16, Shape.of(tokens, HIDDEN));
    }

    /** Each token goes to different experts, all of them equally likely. */
    private Routing route(SplittableRandom random) {
        Routing routing = Routing.allocate(tokens, TOP_K);
        int[] all = new int[EXPERTS];
        for (int t = 0; t < tokens; t++) {
            for (int e = 0; e < EXPERTS; e++) {
                all[e] = e;
            }
            for (int j = 0; j < TOP_K; j++) {
                int other = random.nextInt(j, EXPERTS);
                int e = all[other];
                all[other] = all[j];
                all[j] = e;
                routing.experts().segment().setAtIndex(ValueLayout.JAVA_INT, (long) t * TOP_K + j, e);
                routing.weights().segment().setAtIndex(ValueLayout.JAVA_FLOAT, (long) t * TOP_K + j, 1f / TOP_K);
            }
        }
        return routing;
    }

    /** Ends the threads and frees the operands. */
    @TearDown
    public void close() {
        pool.close();
        for (int i = 0; i < weights.length; i++) {
            weights[i].close();
            routings[i].close();
        }
        hidden.close();
        out.close();
    }

    Tensor run() {
        int i = next;
        next = i + 1 < layers.length ? i + 1 : 0;
        layers[i].run(hidden, routings[i], out);
        return out;
    }
}
