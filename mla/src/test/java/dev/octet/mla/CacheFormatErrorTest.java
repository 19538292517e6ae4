package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.reference.GemmError;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.TestReporter;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What a cache in FP8 does to attention, at V3's dimensions, on normally distributed latents and rotary keys: the
 * outputs against those over a BF16 cache of the same tokens. The figures stand in the module's README.
 */
class CacheFormatErrorTest {
    private static final int HEADS = 16;
    private static final int LATENT = 512;
    private static final int ROPE = 64;
    /**
     * The mean square of E4M3's relative rounding error on numbers spread evenly over an octave, in logarithms: steps
     * of 2^-3 give an error of variance 2^-6 / 12, and 1 / x^2 is 3 / (8 ln 2) in the mean.
     */
    private static final double CODE_VARIANCE = 0x1p-6 / 12 * 3 / (8 * Math.log(2));

    /** The variance of scores, half of it from the latent and half from the rotary key. */
    private static final double SCORE_VARIANCE = 1;

    /**
     * Rounding a latent is noise of a relative variance e^2, which comes into the output twice: by the values, and by
     * the scores, of which it is e^2 times the variance that the latent gives them, and changes weights in relation.
     * Either is independent from key to key, so that sums see it times SUM p^2, which for normal scores is
     * exp(variance) / n. The output's square has that same part, of values about 0 that do not quite cancel, and that
     * of its
     * mean, scale * query, since values of a large score lean towards the query. calc_diff is half the noise over both.
     */
    private static double predicted(int context) {
        double sumOfSquares = Math.exp(SCORE_VARIANCE) / context;
        double mean = SCORE_VARIANCE / 2 / LATENT;
        return CODE_VARIANCE * (1 + SCORE_VARIANCE / 2) / 2 * sumOfSquares / (sumOfSquares + mean);
    }

    @ParameterizedTest
    @ValueSource(ints = {256, 1024, 4096, 8192})
    void againstBFloat16(int context, TestReporter reporter) {
        SplittableRandom random = new SplittableRandom(context);
        float scale = MlaConfig.V3.softmaxScale();
        double latentDeviation = Math.sqrt(SCORE_VARIANCE / 2 / LATENT) / scale;
        double ropeDeviation = Math.sqrt(SCORE_VARIANCE / 2 / ROPE) / scale;
        try (Arena arena = Arena.ofShared()) {
            Tensor latent = gaussian(arena, random, 1, context, LATENT);
            Tensor ropeKeys = gaussian(arena, random, 1, context, ROPE);
            Tensor query = Tensor.allocate(arena, DType.F32, Shape.of(1, HEADS, LATENT + ROPE));
            query.slice(2, 0, LATENT).copyFrom(gaussian(arena, random, latentDeviation, HEADS, LATENT)
                    .reshape(1, HEADS, LATENT));
            query.slice(2, LATENT, LATENT + ROPE).copyFrom(gaussian(arena, random, ropeDeviation, HEADS, ROPE)
                    .reshape(1, HEADS, ROPE));
            Tensor half = attend(arena, CacheFormat.BF16, latent, ropeKeys, query, scale);
            double size = 0;
            for (float x : half.toFloatArray()) {
                size = Math.max(size, Math.abs(x));
            }
            for (CacheFormat format : List.of(CacheFormat.FP8, CacheFormat.FP8_FP32_SCALE)) {
                Tensor coarse = attend(arena, format, latent, ropeKeys, query, scale);
                double diff = GemmError.calcDiff(half, coarse);
                double largest = largestDistance(half, coarse);
                reporter.publishEntry(String.format("%d tokens, %s: calc_diff %.2e (predicted %.2e), largest error %.2e"
                        + " of outputs up to %.2e", context, format, diff, predicted(context), largest, size));
                assertTrue(diff > 0.75 * predicted(context) && diff < 1.25 * predicted(context),
                        context + " tokens, " + format + ": calc_diff " + diff + ", predicted " + predicted(context));
                // 16 * 512 values, whose errors are normal: beyond 6 deviations there is one in 500 million.
                double deviation = Math.sqrt(2 * diff * meanSquare(half));
                assertTrue(largest < 6 * deviation,
                        context + " tokens, " + format + ": " + largest + " of " + deviation);
            }
        }
    }

    private static Tensor gaussian(Arena arena, SplittableRandom random, double deviation, long rows, long columns) {
        Tensor t = Tensor.allocate(arena, DType.F32, Shape.of(rows, columns));
        float[] values = new float[(int) (rows * columns)];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (deviation * random.nextGaussian());
        }
        t.copyFrom(values);
        return t;
    }

    private static Tensor attend(Arena arena, CacheFormat format, Tensor latent, Tensor ropeKeys, Tensor query,
            float scale) {
        Tensor out = Tensor.allocate(arena, DType.F32, Shape.of(1, HEADS, LATENT));
        int tokens = (int) latent.dim(0);
        try (LatentKvCache cache = LatentKvCache.allocate(MlaConfig.V3, format, 1, Math.ceilDiv(tokens, 64), 64)) {
            LatentKvCache.Sequence sequence = cache.open();
            cache.append(sequence, latent, ropeKeys);
            Mla.auto().decode(query, cache, 0, List.of(sequence), new int[] {1}, AttentionOptions.causal(scale), out,
                    null);
        }
        return out;
    }

    private static double largestDistance(Tensor x, Tensor y) {
        float[] a = x.toFloatArray();
        float[] b = y.toFloatArray();
        double largest = 0;
        for (int i = 0; i < a.length; i++) {
            largest = Math.max(largest, Math.abs((double) a[i] - b[i]));
        }
        return largest;
    }

    private static double meanSquare(Tensor x) {
        double sum = 0;
        for (float v : x.toFloatArray()) {
            sum += (double) v * v;
        }
        return sum / x.shape().elements();
    }
}
