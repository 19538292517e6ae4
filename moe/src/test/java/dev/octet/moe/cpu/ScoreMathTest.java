package dev.octet.moe.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.cpu.CpuConfig;
import dev.octet.moe.ScoreFunction;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Scores over the whole range of floats: within their bounds, and the same bits from vectors. */
@Tag("backend")
class ScoreMathTest {
    private static final double U = 0x1p-24;
    /** Every so manieth float; a prime, so that low bits vary. */
    private static final int STEP = 4099;

    private static float[] inputs() {
        float[] all = new float[(int) ((1L << 32) / STEP) / 64 * 64];
        int n = 0;
        for (long bits = 0; n < all.length; bits += STEP) {
            float x = Float.intBitsToFloat((int) bits);
            all[n++] = x < Float.POSITIVE_INFINITY ? x : n % 200 - 100;
        }
        return all;
    }

    @Test
    void withinTheirBounds() {
        for (float x : inputs()) {
            double t = Math.exp(-Math.abs((double) x));
            double sigmoid = (x < 0 ? t : 1) / (1 + t);
            // A subnormal t is off by half of its last place, 2^-150, beside its own error.
            assertEquals(sigmoid, ScoreMath.sigmoid(x), 4 * U * sigmoid + (t < 0x1p-125 ? 0x1p-149 : 0), "" + x);
            double root = Math.sqrt(Math.max(x, 0.0) + Math.log1p(t));
            float got = ScoreMath.sqrtSoftplus(x);
            if (t >= 0x1p-125 || x > 0) {
                assertEquals(root, got, 5 * U * root, "" + x);
            } else {
                assertTrue(Math.abs((double) got * got - root * root) <= 0x1p-148 + 0x1p-20 * root * root,
                        x + ": " + got);
            }
        }
        assertEquals(1, ScoreMath.expOfMinus(0));
        assertEquals(0, ScoreMath.sigmoid(Float.NEGATIVE_INFINITY));
        assertEquals(0, ScoreMath.sqrtSoftplus(Float.NEGATIVE_INFINITY));
    }

    @Test
    void softmaxWithinItsBound() {
        int experts = 64;
        float[] row = new float[experts];
        for (int e = 0; e < experts; e++) {
            row[e] = (float) (40 * Math.sin(e * e));
        }
        float[] got = row.clone();
        ScoreMath.scores(ScoreFunction.SOFTMAX, got, experts);
        double max = Double.NEGATIVE_INFINITY;
        for (float x : row) {
            max = Math.max(max, x);
        }
        double sum = 0;
        for (float x : row) {
            sum += Math.exp(x - max);
        }
        for (int e = 0; e < experts; e++) {
            double exact = Math.exp(row[e] - max) / sum;
            assertEquals(exact, got[e], (2 * experts + max - row[e] + 8) * U * exact, "" + row[e]);
        }
    }

    @Test
    void vectorsGiveTheSameBits() {
        if (CpuConfig.vectorBits() == 0) {
            return; // then no vector kernel runs
        }
        int lanes = VectorGateKernels.KERNELS.lanes();
        float[] inputs = inputs();
        int experts = 64;
        float[] block = new float[experts * lanes];
        float[] lane = new float[experts];
        for (ScoreFunction function : ScoreFunction.values()) {
            for (int from = 0; from + block.length <= inputs.length; from += block.length) {
                System.arraycopy(inputs, from, block, 0, block.length);
                VectorGateKernels.KERNELS.scores(function, block, experts);
                for (int l = 0; l < lanes; l++) {
                    for (int e = 0; e < experts; e++) {
                        lane[e] = inputs[from + e * lanes + l];
                    }
                    ScoreMath.scores(function, lane, experts);
                    for (int e = 0; e < experts; e++) {
                        int expected = Float.floatToRawIntBits(lane[e]);
                        if (expected != Float.floatToRawIntBits(block[e * lanes + l])) {
                            assertEquals(lane[e], block[e * lanes + l],
                                    function + " of " + inputs[from + e * lanes + l]);
                        }
                    }
                }
            }
        }
    }
}
