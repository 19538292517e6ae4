package dev.octet.mla;

import org.jspecify.annotations.Nullable;

/**
 * The rotary position embedding.
 *
 * @param theta the base of the frequencies
 * @param yarn how they are stretched for long contexts, or null if they are not
 */
public record RopeConfig(double theta, @Nullable Yarn yarn) {
    /**
     * Checks the base.
     *
     * @throws IllegalArgumentException if it is not finite and above 1
     */
    public RopeConfig {
        if (!(theta > 1) || theta == Double.POSITIVE_INFINITY) {
            throw new IllegalArgumentException("theta is " + theta + ", it must be finite and above 1");
        }
    }

    /**
     * YaRN (Peng et al. 2023), as DeepSeek-V2 and V3 use it, on the decoupled key alone.
     *
     * @param factor how many times longer the context becomes
     * @param originalMaxPositions the context that the model was trained with first
     * @param betaFast dimensions that turn more often than this within that context keep their frequency
     * @param betaSlow dimensions that turn less often than this are slowed down by the whole factor
     * @param mscale for the factor on cosines and sines, together with the next
     * @param mscaleAllDim for the factor on the softmax's scale; 0 for none
     */
    public record Yarn(double factor, int originalMaxPositions, double betaFast, double betaSlow, double mscale,
            double mscaleAllDim) {
        /**
         * Checks the values.
         *
         * @throws IllegalArgumentException if {@code factor} is below 1, the context or a beta not positive, {@code
         *     betaFast} below {@code betaSlow}, an mscale negative, or anything not finite; the message names it
         */
        public Yarn {
            if (!(factor >= 1) || factor == Double.POSITIVE_INFINITY) {
                throw new IllegalArgumentException("factor is " + factor + ", it must be finite and 1 or more");
            }
            if (originalMaxPositions < 1) {
                throw new IllegalArgumentException(
                        "originalMaxPositions is " + originalMaxPositions + ", it must be positive");
            }
            if (!(betaSlow > 0) || !(betaFast >= betaSlow) || betaFast == Double.POSITIVE_INFINITY) {
                throw new IllegalArgumentException("betaFast is " + betaFast + " and betaSlow " + betaSlow
                        + ", both must be positive and finite, and betaFast not below betaSlow");
            }
            mscale("mscale", mscale);
            mscale("mscaleAllDim", mscaleAllDim);
        }

        private static void mscale(String name, double value) {
            if (!(value >= 0) || value == Double.POSITIVE_INFINITY) {
                throw new IllegalArgumentException(name + " is " + value + ", it must be finite and not negative");
            }
        }

        /** {@return {@code 0.1 * mscaleAllDim * ln(factor) + 1}, whose square multiplies the softmax's scale} */
        public double softmaxFactor() {
            return magnitude(mscaleAllDim);
        }

        /** {@return what cosines and sines are multiplied by: 1 in all DeepSeek models, whose mscales are equal} */
        public double rotationFactor() {
            return magnitude(mscale) / magnitude(mscaleAllDim);
        }

        private double magnitude(double scale) {
            return factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1;
        }
    }

    static RopeConfig deepSeek(double mscale) {
        return new RopeConfig(10000, new Yarn(40, 4096, 32, 1, mscale, mscale));
    }
}
