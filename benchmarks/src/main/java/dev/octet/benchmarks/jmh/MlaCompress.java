package dev.octet.benchmarks.jmh;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import dev.octet.mla.CacheFormat;
import dev.octet.mla.LatentKvCache;
import dev.octet.mla.Mla;
import dev.octet.mla.MlaConfig;
import dev.octet.mla.Rope;
import java.util.List;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * What a layer does with one token before attention: quantises its hidden state, multiplies it with the fused
 * projections to both latents and the rotary key, normalises the latents, turns the key and writes the cache. Each
 * operation takes the weights and the cache of the next layer, from memory.
 */
@State(Scope.Benchmark)
public class MlaCompress {
    private static final MlaConfig DIMS = MlaConfig.V3;
    private static final int PAGE_SIZE = 64;

    /** The implementation's name. */
    @Param("cpu")
    public String backend;
    /** How many threads work. */
    @Param("1")
    public int threads;
    /** Rows of the fused projections: the query's latent, the cached latent and the rotary key. */
    @Param("2112")
    public int n;
    /** Values of the hidden state. */
    @Param("7168")
    public int k;

    private final int[] one = {1};
    private final int[] positions = {1000};
    private CpuPool pool;
    private Fp8 fp8;
    private Mla mla;
    private Rope rope;
    private LatentKvCache cache;
    private List<LatentKvCache.Sequence> sequence;
    private Tensor hidden;
    private ScaledTensor quantized;
    private ScaledTensor[] weights;
    private Tensor fused;
    private Tensor queryLatent;
    private Tensor latent;
    private Tensor ropeKey;
    private Tensor turned;
    private Tensor queryNorm;
    private Tensor latentNorm;
    private int next;

    /** Makes the operands. */
    @Setup
    public void make() {
        pool = new CpuPool(threads);
        fp8 = Fp8.on(backend).with(pool);
        mla = Mla.on(backend).with(pool);
        rope = Rope.of(DIMS);
        int queryRank = n - DIMS.latentDim();
        weights = new ScaledTensor[ColdWeights.copies(1, (long) n * k)];
        for (int i = 0; i < weights.length; i++) {
            weights[i] = RandomCodes.scaled(n, k, Scaling.WEIGHT, i);
        }
        cache = LatentKvCache.allocate(DIMS, CacheFormat.BF16, weights.length, 1, PAGE_SIZE);
        sequence = List.of(cache.open());
        cache.extend(sequence, one);
        hidden = RandomCodes.normal(DType.BF16, 1, k, -1);
        quantized = ScaledTensor.allocate(DType.F8_E4M3, 1, k, Scaling.ACTIVATION);
        fused = Tensor.allocate(DType.F32, Shape.of(1, n));
        queryLatent = fused.slice(1, 0, queryRank);
        latent = fused.slice(1, queryRank, queryRank + DIMS.kvLoraRank());
        ropeKey = fused.slice(1, queryRank + DIMS.kvLoraRank(), n);
        turned = ropeKey.reshape(1, 1, DIMS.qkRopeHeadDim());
        queryNorm = RandomCodes.normal(DType.BF16, Shape.of(queryRank), -2);
        latentNorm = RandomCodes.normal(DType.BF16, Shape.of(DIMS.kvLoraRank()), -3);
    }

    /** Ends the threads and frees everything. */
    @TearDown
    public void close() {
        pool.close();
        cache.close();
        hidden.close();
        quantized.close();
        fused.close();
        queryNorm.close();
        latentNorm.close();
        for (ScaledTensor w : weights) {
            w.close();
        }
    }

    Tensor run() {
        int layer = next;
        next = layer + 1 < weights.length ? layer + 1 : 0;
        fp8.quantize(hidden, quantized);
        fp8.gemm(quantized, weights[layer], fused, Epilogue.NONE);
        mla.rmsNorm(queryLatent, queryNorm, DIMS.rmsNormEps(), queryLatent);
        mla.rmsNorm(latent, latentNorm, DIMS.rmsNormEps(), latent);
        mla.rope(turned, positions, rope, turned);
        cache.write(layer, sequence, one, latent, ropeKey);
        return queryLatent;
    }
}
