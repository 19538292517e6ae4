package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.ScaleFormat;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The layer against {@link ExpectedLayer}. With the same roundings to FP8 and BF16 only FP32 sums differ, and now and
 * then a value that lies between two codes falls to the other one: then {@link LayerRun#difference} stays below
 * {@link #SAME}. Without any rounding it is what FP8 costs. Dimensions are small, since it takes longer to compile the
 * kernels than to run them; {@link MlaLayerDimensionsTest} has the real ones.
 */
@Tag("backend")
class MlaLayerTest {
    private static final double SAME = 1e-6;
    private static final int TOKENS = 29;

    private record Case(MlaConfig config, ScaleFormat format, int window) {}

    static List<Case> cases() {
        return List.of(new Case(Configs.tiny(2, 128), ScaleFormat.F32, 0),
                new Case(Configs.tiny(3, 0), ScaleFormat.POWER_OF_TWO, 0),
                new Case(Configs.odd(3, 72), ScaleFormat.F32, 0), new Case(Configs.odd(1, 0), ScaleFormat.F32, 0),
                new Case(Configs.odd(2, 40), ScaleFormat.F32, 1), new Case(Configs.odd(2, 40), ScaleFormat.F32, 6));
    }

    private static MlaLayer layer(MlaWeights weights, String backend, int window) {
        return new MlaLayer(weights).on(Fp8.on(backend), Mla.on(backend)).withWindow(window);
    }

    private static MlaWeights weights(MlaConfig config, ScaleFormat format) {
        try (MlaFloatWeights floats = MlaFloatWeights.random(config, 11)) {
            return MlaWeights.quantize(config, floats, format);
        }
    }

    private static void assertClose(float[] expected, float[] actual, String what) {
        double difference = LayerRun.difference(expected, actual);
        assertTrue(difference < SAME, () -> what + ": " + difference);
    }

    /** Both forms, however the tokens come: at once, in chunks, one by one, over slabs of keys and over one. */
    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void isTheLayerInFp64OfTheSameRoundings(String backend) {
        for (Case c : cases()) {
            double[][] hidden = LayerRun.hidden(5, TOKENS, c.config.hiddenSize());
            try (MlaWeights w = weights(c.config, c.format); MlaLayer layer = layer(w, backend, c.window);
                    LayerRun run = new LayerRun(layer, CacheFormat.BF16);
                    LayerRun slabs = new LayerRun(layer.withSlabs(8), CacheFormat.BF16, 64)) {
                ExpectedLayer expected = new ExpectedLayer(w);
                float[] prefill = LayerRun.flat(expected.run(hidden, c.window, ExpectedLayer.Rounding.PREFILL));
                assertClose(prefill, run.inChunks(true, hidden, TOKENS), c + " prefill");
                assertClose(prefill, run.inChunks(true, hidden, 3, 1, 14), c + " prefill in chunks");
                assertClose(prefill, slabs.inChunks(true, hidden, TOKENS), c + " prefill over slabs");
                assertClose(prefill, slabs.inChunks(true, hidden, 5, 9, 2), c + " prefill over slabs in chunks");
                float[] decode = LayerRun.flat(expected.run(hidden, c.window, ExpectedLayer.Rounding.DECODE));
                assertClose(decode, run.inChunks(false, hidden, 1), c + " decode");
                assertClose(decode, run.inChunks(false, hidden, 10, 2), c + " decode several");
            }
        }
    }

    /**
     * What FP8 costs, and what quantising latents for the naive form costs against the absorbed one, which multiplies
     * them as they are. A GEMM of normal variates in FP8 differs by 7e-4; four of them and the softmax, which makes an
     * error of a score a relative one of its weight, come to some 5e-3.
     */
    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void fp8CostsLittle(String backend) {
        for (MlaConfig config : new MlaConfig[] {cases().get(0).config, cases().get(1).config}) {
            double[][] hidden = LayerRun.hidden(6, TOKENS, config.hiddenSize());
            try (MlaFloatWeights floats = MlaFloatWeights.random(config, 12);
                    MlaWeights w = MlaWeights.quantize(config, floats, ScaleFormat.F32);
                    MlaLayer layer = layer(w, backend, 0)) {
                float[] exact = LayerRun.flat(
                        new ExpectedLayer(config, floats).run(hidden, 0, ExpectedLayer.Rounding.NONE));
                for (CacheFormat format : CacheFormat.values()) {
                    try (LayerRun run = new LayerRun(layer, format)) {
                        float[] prefill = run.inChunks(true, hidden, TOKENS);
                        float[] decode = run.inChunks(false, hidden, 1);
                        assertTrue(LayerRun.difference(exact, prefill) < 1e-2, format + " prefill");
                        assertTrue(LayerRun.difference(exact, decode) < 1e-2, format + " decode");
                        assertTrue(LayerRun.difference(prefill, decode) < 2e-3, format + " one against the other");
                    }
                }
            }
        }
    }

    /** Sequences of different pasts in one call, against each alone. */
    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void batchIsEachSequenceAlone(String backend) {
        int[] past = {4, 0, 21, 0, 9, 2};
        int[] counts = {3, 5, 2, 0, 0, 9};
        for (int index : new int[] {0, 1, 5}) {
            Case c = cases().get(index);
            int size = c.config.hiddenSize();
            try (MlaWeights w = weights(c.config, c.format); MlaLayer layer = layer(w, backend, c.window)) {
                for (boolean prefill : new boolean[] {true, false}) {
                    for (int slab : new int[] {1000, 12}) {
                        try (LayerRun run = new LayerRun(layer.withSlabs(slab), CacheFormat.BF16)) {
                            List<LatentKvCache.Sequence> batch = new ArrayList<>();
                            double[][][] next = new double[past.length][][];
                            List<float[]> alone = new ArrayList<>();
                            for (int s = 0; s < past.length; s++) {
                                LatentKvCache.Sequence sequence = run.cache().open();
                                run.step(true, List.of(sequence), LayerRun.hidden(s, past[s], size));
                                batch.add(sequence);
                                next[s] = LayerRun.hidden(100 + s, counts[s], size);
                                try (LatentKvCache.Sequence fork = sequence.fork()) {
                                    alone.add(run.step(prefill, List.of(fork), next[s]));
                                }
                            }
                            float[] together = run.step(prefill, batch, next);
                            float[] expected = new float[together.length];
                            int at = 0;
                            for (float[] one : alone) {
                                System.arraycopy(one, 0, expected, at, one.length);
                                at += one.length;
                            }
                            assertClose(expected, together, c + ", prefill " + prefill + ", slab " + slab);
                        }
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void everyPoolGivesTheSameBits(String backend) {
        Case c = cases().get(0);
        double[][] hidden = LayerRun.hidden(7, 13, c.config.hiddenSize());
        try (MlaWeights w = weights(c.config, c.format); MlaLayer layer = layer(w, backend, 0)) {
            List<float[]> results = new ArrayList<>();
            for (int threads : new int[] {1, 2, 3}) {
                try (CpuPool pool = new CpuPool(threads);
                        LayerRun run = new LayerRun(layer.with(pool).withSlabs(8), CacheFormat.BF16)) {
                    results.add(run.inChunks(true, hidden, 13));
                    results.add(run.inChunks(false, hidden, 2));
                }
            }
            for (int i = 2; i < results.size(); i++) {
                assertArrayEquals(results.get(i % 2), results.get(i));
            }
        }
    }

    /** Threads that decode sequences of their own, through one layer and one cache. */
    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void sequencesInParallelGiveTheBitsOfOneAfterTheOther(String backend) throws Exception {
        Case c = cases().get(2);
        int threads = 4;
        try (MlaWeights w = weights(c.config, c.format); MlaLayer layer = layer(w, backend, 0);
                LayerRun run = new LayerRun(layer, CacheFormat.FP8);
                ExecutorService pool = Executors.newFixedThreadPool(threads)) {
            List<Callable<float[]>> tasks = new ArrayList<>();
            List<float[]> expected = new ArrayList<>();
            for (int i = 0; i < 3 * threads; i++) {
                double[][] hidden = LayerRun.hidden(50 + i, 10 + i, c.config.hiddenSize());
                boolean prefill = i % 3 == 0;
                expected.add(run.inChunks(prefill, hidden, 4, 1));
                tasks.add(() -> run.inChunks(prefill, hidden, 4, 1));
            }
            List<Future<float[]>> results = pool.invokeAll(tasks);
            for (int i = 0; i < results.size(); i++) {
                assertArrayEquals(expected.get(i), results.get(i).get(), "sequence " + i);
            }
        }
    }

    /** The public steps one after the other are the layer. */
    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void stepsGiveTheBitsOfTheLayer(String backend) {
        int tokens = 5;
        int[] positions = {0, 1, 2, 3, 4};
        for (int index : new int[] {0, 3}) {
            Case c = cases().get(index);
            MlaConfig k = c.config;
            double[][] rows = LayerRun.hidden(8, tokens, k.hiddenSize());
            try (MlaWeights w = weights(k, c.format); MlaLayer layer = layer(w, backend, 0);
                    LayerRun run = new LayerRun(layer, CacheFormat.BF16);
                    LatentKvCache.Sequence sequence = run.cache().open();
                    Tensor hidden = Tensor.of(LayerRun.flat(rows), tokens, k.hiddenSize());
                    Tensor queries = Tensor.allocate(DType.F32, Shape.of(tokens, k.heads(), k.qkHeadDim()));
                    Tensor absorbed = Tensor.allocate(DType.F32, Shape.of(tokens, k.heads(), k.latentDim()));
                    Tensor latents = Tensor.allocate(DType.F32, Shape.of(tokens, k.heads(), k.kvLoraRank()));
                    Tensor attention = Tensor.allocate(DType.F32, Shape.of(tokens, k.heads(), k.vHeadDim()));
                    Tensor out = Tensor.allocate(DType.F32, Shape.of(tokens, k.hiddenSize()));
                    Tensor rounded = Tensor.allocate(DType.BF16, out.shape())) {
                Mla mla = Mla.on(backend);
                int[] counts = {tokens};
                List<LatentKvCache.Sequence> one = List.of(sequence);
                run.cache().extend(one, tokens);
                layer.compress(hidden, positions, run.cache(), 0, one, counts, queries);
                layer.absorb(queries, absorbed);
                mla.decode(absorbed, run.cache(), 0, one, counts, layer.options(), latents, null);
                layer.values(latents, attention);
                layer.output(attention, out);
                assertArrayEquals(run.inChunks(false, rows, tokens), out.toFloatArray());

                try (Tensor cached = Tensor.allocate(DType.BF16, Shape.of(tokens, k.kvLoraRank()));
                        Tensor keys = Tensor.allocate(DType.BF16, Shape.of(tokens, k.qkRopeHeadDim()));
                        Tensor kv = Tensor.allocate(DType.BF16,
                                Shape.of(tokens, k.heads(), k.qkNopeHeadDim() + k.vHeadDim()))) {
                    run.cache().read(0, sequence, 0, tokens, cached, keys);
                    layer.decompress(cached, kv);
                    mla.prefill(queries, kv.slice(2, 0, k.qkNopeHeadDim()), keys,
                            kv.slice(2, k.qkNopeHeadDim(), kv.dim(2)), Ragged.self(tokens), layer.options(), attention,
                            null);
                    layer.output(attention, out);
                    float[] whole = run.inChunks(true, rows, tokens);
                    assertArrayEquals(whole, out.toFloatArray());
                    layer.prefill(hidden, run.cache(), 0, one, counts, rounded);
                    for (int i = 0; i < whole.length; i++) {
                        whole[i] = BFloat16.toFloat(BFloat16.fromFloat(whole[i]));
                    }
                    assertArrayEquals(whole, rounded.toFloatArray(), "a result in BF16");
                }
            }
        }
    }
}
