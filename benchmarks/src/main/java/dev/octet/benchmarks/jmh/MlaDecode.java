package dev.octet.benchmarks.jmh;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.mla.AttentionOptions;
import dev.octet.mla.CacheFormat;
import dev.octet.mla.LatentKvCache;
import dev.octet.mla.Mla;
import dev.octet.mla.MlaConfig;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * One token of each sequence of a batch, and their cache. Each operation takes the next of so many layers that the
 * cache's records come from memory, as they do in a model, where the weights and the other layers' records go by in
 * between.
 */
@State(Scope.Benchmark)
public class MlaDecode {
    private static final MlaConfig DIMS = MlaConfig.V3;
    /** What FlashMLA takes, and most servers. */
    private static final int PAGE_SIZE = 64;
    /** Sequences grow in turns by so many tokens at a time, so that none lies in one piece. */
    private static final int CHUNK = 512;

    /** The implementation's name. */
    @Param("cpu")
    public String backend;
    /** How many threads work. */
    @Param("1")
    public int threads;
    /** Query heads. */
    @Param("16")
    public int heads;
    /** Sequences. */
    @Param("1")
    public int batch;
    /** Cached tokens of each sequence, its query's own included. */
    @Param("1024")
    public int context;
    /** How a token lies in the cache. */
    @Param("BF16")
    public CacheFormat cache;

    private final List<LatentKvCache.Sequence> sequences = new ArrayList<>();
    private CpuPool pool;
    private Mla mla;
    private AttentionOptions options;
    private LatentKvCache records;
    private Tensor query;
    private Tensor out;
    private int[] queries;
    private int layers;
    private int next;

    /** Fills the cache. */
    @Setup
    public void make() {
        pool = new CpuPool(threads);
        mla = Mla.on(backend).with(pool);
        options = AttentionOptions.causal(DIMS.softmaxScale());
        int record = cache.bytesPerToken(DIMS.kvLoraRank(), DIMS.qkRopeHeadDim());
        layers = ColdWeights.layers((long) batch * context * record);
        records = LatentKvCache.allocate(DIMS, cache, layers, batch * Math.ceilDiv(context, PAGE_SIZE), PAGE_SIZE);
        for (int i = 0; i < batch; i++) {
            sequences.add(records.open());
        }
        fill();
        query = RandomCodes.normal(DType.F32, Shape.of(batch, heads, DIMS.latentDim()), 3);
        out = Tensor.allocate(DType.F32, Shape.of(batch, heads, DIMS.kvLoraRank()));
        queries = new int[batch];
        Arrays.fill(queries, 1);
    }

    private void fill() {
        int[] tokens = new int[batch];
        try (Tensor latent = RandomCodes.normal(DType.BF16, (long) batch * CHUNK, DIMS.kvLoraRank(), 1);
                Tensor keys = RandomCodes.normal(DType.BF16, (long) batch * CHUNK, DIMS.qkRopeHeadDim(), 2)) {
            for (int done = 0; done < context; done += CHUNK) {
                Arrays.fill(tokens, Math.min(CHUNK, context - done));
                long rows = (long) batch * tokens[0];
                records.extend(sequences, tokens);
                for (int layer = 0; layer < layers; layer++) {
                    records.write(layer, sequences, tokens, latent.slice(0, 0, rows), keys.slice(0, 0, rows));
                }
            }
        }
    }

    /** Ends the threads and frees everything. */
    @TearDown
    public void close() {
        pool.close();
        records.close();
        query.close();
        out.close();
    }

    Tensor run() {
        int layer = next;
        next = layer + 1 < layers ? layer + 1 : 0;
        mla.decode(query, records, layer, sequences, queries, options, out, null);
        return out;
    }
}
