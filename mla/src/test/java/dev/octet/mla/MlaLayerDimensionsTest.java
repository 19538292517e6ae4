package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.ScaleFormat;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The layer at the dimensions of DeepSeek-V3 and V2-Lite, V3 with three of its heads, which are all alike. */
class MlaLayerDimensionsTest {
    private static final MlaConfig V3 = Configs.small(MlaConfig.V3, 3, 7168);

    /**
     * Compression in FP8, {@code [2112, 7168]} for V3 and {@code [3648, 2048]} for V2-Lite, against FP64 on weights in
     * BF16: one GEMM stays below 1e-3, as in DeepGEMM's tests, and so do two after each other below twice that.
     */
    @ParameterizedTest
    @ValueSource(ints = {1, 5, 17})
    void compressionIsThatOfBf16(int tokens) {
        for (MlaConfig config : new MlaConfig[] {V3, MlaConfig.V2_LITE}) {
            double[][] rows = LayerRun.hidden(tokens, tokens, config.hiddenSize());
            try (MlaFloatWeights floats = MlaFloatWeights.random(config, 21);
                    MlaWeights w = MlaWeights.quantize(config, floats, ScaleFormat.F32);
                    MlaLayer layer = new MlaLayer(w);
                    LatentKvCache cache = LatentKvCache.allocate(config, CacheFormat.BF16, 1, 3, 8);
                    LatentKvCache.Sequence sequence = cache.open();
                    Tensor hidden = Tensor.of(LayerRun.flat(rows), tokens, config.hiddenSize());
                    Tensor queries = Tensor.allocate(DType.F32, Shape.of(tokens, config.heads(), config.qkHeadDim()));
                    Tensor latents = Tensor.allocate(DType.F32, Shape.of(tokens, config.kvLoraRank()));
                    Tensor ropeKeys = Tensor.allocate(DType.F32, Shape.of(tokens, config.qkRopeHeadDim()))) {
                cache.extend(List.of(sequence), tokens);
                layer.compress(hidden, IntStream.range(0, tokens).toArray(), cache, 0, List.of(sequence),
                        new int[] {tokens}, queries);
                cache.read(0, sequence, 0, tokens, latents, ropeKeys);
                ExpectedLayer.Compressed expected = new ExpectedLayer(config, floats)
                        .compress(rows, ExpectedLayer.Rounding.NONE);
                assertBelow(1e-3, expected.latents(), latents);
                assertBelow(1e-3, expected.ropeKeys(), ropeKeys);
                assertBelow(config.compressesQueries() ? 2e-3 : 1e-3, expected.queries(), queries);
            }
        }
    }

    private static void assertBelow(double bound, double[][] expected, Tensor actual) {
        double difference = LayerRun.difference(LayerRun.flat(expected), actual.toFloatArray());
        assertTrue(difference < bound, () -> actual + ": " + difference);
    }

    /**
     * A prompt, then tokens one by one. With the same roundings FP32 sums over up to 7,168 products let some more
     * values fall to the next code than at small dimensions; an FP8 cache rounds once more.
     */
    @Test
    void layerIsThatOfFp64() {
        int prompt = 9;
        int tokens = 11;
        for (MlaConfig config : new MlaConfig[] {V3, Configs.small(MlaConfig.V2_LITE, 16, 2048)}) {
            double[][] hidden = LayerRun.hidden(31, tokens, config.hiddenSize());
            try (MlaWeights w = MlaWeights.random(config, 22); MlaLayer layer = new MlaLayer(w)) {
                ExpectedLayer expected = new ExpectedLayer(w);
                float[] prefill = LayerRun.flat(expected.run(hidden, 0, ExpectedLayer.Rounding.PREFILL));
                float[] decode = LayerRun.flat(expected.run(hidden, 0, ExpectedLayer.Rounding.DECODE));
                for (CacheFormat format : new CacheFormat[] {CacheFormat.BF16, CacheFormat.FP8}) {
                    try (LayerRun run = new LayerRun(layer, format); LatentKvCache.Sequence s = run.cache().open()) {
                        float[] first = run.step(true, List.of(s), Arrays.copyOf(hidden, prompt));
                        float[] rest = new float[(tokens - prompt) * config.hiddenSize()];
                        for (int t = prompt; t < tokens; t++) {
                            float[] one = run.step(false, List.of(s), new double[][] {hidden[t]});
                            System.arraycopy(one, 0, rest, (t - prompt) * config.hiddenSize(), one.length);
                        }
                        double bound = format == CacheFormat.BF16 ? 1e-5 : 5e-3;
                        int split = first.length;
                        assertDifference(bound, Arrays.copyOf(prefill, split), first, format + " prefill");
                        assertDifference(bound, Arrays.copyOfRange(decode, split, decode.length), rest,
                                format + " decode");
                    }
                }
            }
        }
    }

    private static void assertDifference(double bound, float[] expected, float[] actual, String what) {
        double difference = LayerRun.difference(expected, actual);
        assertTrue(difference < bound, () -> what + ": " + difference);
    }
}
