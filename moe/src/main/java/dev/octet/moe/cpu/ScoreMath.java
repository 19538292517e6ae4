package dev.octet.moe.cpu;

import dev.octet.moe.ScoreFunction;

/**
 * Scores in FP32, one value at a time, and the constants of the vector kernels, which do the same operations in the
 * same order: which experts win depends on every bit of a score, so all of them must agree.
 *
 * <p>{@code exp(y)} for {@code y <= 0} is {@code 2^n * exp(r)} with {@code y = n ln 2 + r}, {@code |r| <= ln 2 / 2}. n
 * comes of adding a number so large that its unit is 1. {@code n * LN2_HIGH} is exact, and so is its difference to y.
 * The series of {@code exp(r)} breaks off at r^7: the rest is below 0.1 * 2^-24. {@code 2^n} is multiplied in two
 * halves, of which only the second one rounds, and only when the result is subnormal. All in all 2 * 2^-24.
 *
 * <p>{@code ln(1 + t)} for t in 0..1 is {@code 2 atanh(v)}, {@code v = t / (2 + t) <= 1/3}, by its series up to v^17:
 * the rest is below 0.003 * 2^-24.
 */
final class ScoreMath {
    /** Bits of 104, beyond which exp(-y) rounds to 0. */
    static final int LIMIT_BITS = 0x42D0_0000;
    static final int SIGN = 0x8000_0000;
    static final int MAGNITUDE = 0x7FFF_FFFF;
    static final float LOG2_E = 1.44269504f;
    /** 1.5 * 2^23. */
    static final float SHIFTER = 12582912f;
    static final int SHIFTER_BITS = 0x4B40_0000;
    /** 355/512, of 9 bits. */
    static final float LN2_HIGH = 0.693359375f;
    static final float LN2_LOW = -2.12194440e-4f;
    static final float E7 = 1f / 5040;
    static final float E6 = 1f / 720;
    static final float E5 = 1f / 120;
    static final float E4 = 1f / 24;
    static final float E3 = 1f / 6;
    static final float E2 = 0.5f;
    static final float A17 = 1f / 17;
    static final float A15 = 1f / 15;
    static final float A13 = 1f / 13;
    static final float A11 = 1f / 11;
    static final float A9 = 1f / 9;
    static final float A7 = 1f / 7;
    static final float A5 = 1f / 5;
    static final float A3 = 1f / 3;
    /** What the sum of the weights is never below, as in the published code. */
    static final float TINY = 1e-20f;
    /** Below every key of a number. */
    static final int NEVER = Integer.MIN_VALUE;

    private ScoreMath() {}

    /** {@return an int that is ordered as the floats are, NaN and -0 left aside; its own reverse} */
    static int key(int bits) {
        return bits ^ bits >> 31 & MAGNITUDE;
    }

    /** {@return exp(-|x|)} */
    static float expOfMinus(float x) {
        float y = Float.intBitsToFloat(Math.min(Float.floatToRawIntBits(x) & MAGNITUDE, LIMIT_BITS) | SIGN);
        float shifted = Math.fma(y, LOG2_E, SHIFTER);
        float n = shifted - SHIFTER;
        float r = Math.fma(n, -LN2_LOW, Math.fma(n, -LN2_HIGH, y));
        float p = Math.fma(E7, r, E6);
        p = Math.fma(p, r, E5);
        p = Math.fma(p, r, E4);
        p = Math.fma(p, r, E3);
        p = Math.fma(p, r, E2);
        p = Math.fma(p, r, 1);
        p = Math.fma(p, r, 1);
        int exponent = Float.floatToRawIntBits(shifted) - SHIFTER_BITS;
        int half = exponent >> 1;
        return p * Float.intBitsToFloat(half + 127 << 23) * Float.intBitsToFloat(exponent - half + 127 << 23);
    }

    static float sigmoid(float x) {
        float t = expOfMinus(x);
        return (x < 0 ? t : 1) / (1 + t);
    }

    static float sqrtSoftplus(float x) {
        float t = expOfMinus(x);
        float v = t / (2 + t);
        float w = v * v;
        float p = Math.fma(A17, w, A15);
        p = Math.fma(p, w, A13);
        p = Math.fma(p, w, A11);
        p = Math.fma(p, w, A9);
        p = Math.fma(p, w, A7);
        p = Math.fma(p, w, A5);
        p = Math.fma(p, w, A3);
        p = Math.fma(p, w, 1);
        return (float) Math.sqrt((x < 0 ? 0 : x) + (v + v) * p);
    }

    /** Makes scores of the first {@code count} logits. */
    static void scores(ScoreFunction function, float[] x, int count) {
        switch (function) {
            case SIGMOID -> {
                for (int i = 0; i < count; i++) {
                    x[i] = sigmoid(x[i]);
                }
            }
            case SQRT_SOFTPLUS -> {
                for (int i = 0; i < count; i++) {
                    x[i] = sqrtSoftplus(x[i]);
                }
            }
            case SOFTMAX -> {
                float max = -Float.MAX_VALUE;
                for (int i = 0; i < count; i++) {
                    max = x[i] > max ? x[i] : max;
                }
                float sum = 0;
                for (int i = 0; i < count; i++) {
                    x[i] = expOfMinus(x[i] - max);
                    sum += x[i];
                }
                sum = sum > 1 ? sum : 1; // the largest one adds 1, unless all are negative infinity
                for (int i = 0; i < count; i++) {
                    x[i] /= sum;
                }
            }
        }
    }
}
