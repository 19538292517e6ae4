package dev.octet.mla;

/**
 * The frequencies of a rotary embedding for one number of dimensions: {@code theta^(-2j/dim)} for pair {@code j},
 * stretched by YaRN if there is one (Peng et al. 2023, as in DeepSeek-V2 &sect;3.1.4 and the published inference code).
 *
 * <p>YaRN divides by {@link RopeConfig.Yarn#factor()} the frequencies of pairs that turn less often than {@code
 * betaSlow} times within the original context, leaves those alone that turn more often than {@code betaFast} times, and
 * mixes both in between, on a ramp that is linear in {@code j}:
 * {@snippet lang=text :
 * turns(b)     = dim * ln(originalMaxPositions / (2 pi b)) / (2 ln theta)
 * low, high    = floor(turns(betaFast)), ceil(turns(betaSlow)), each clamped to 0 .. dim - 1
 * ramp         = clamp((j - low) / (high - low), 0, 1)               0.001 for the width if they are equal
 * frequency[j] = theta^(-2j/dim) * (ramp / factor + 1 - ramp)
 * }
 * All of it is computed in FP64, and each frequency rounded once to FP32. Immutable.
 */
public final class Rope {
    private final int dim;
    private final float[] frequencies;
    private final float factor;

    private Rope(int dim, float[] frequencies, float factor) {
        this.dim = dim;
        this.frequencies = frequencies;
        this.factor = factor;
    }

    /**
     * {@return the embedding of a model's rotary queries and keys}
     *
     * @param config the model
     */
    public static Rope of(MlaConfig config) {
        return of(config.rope(), config.qkRopeHeadDim());
    }

    /**
     * {@return the embedding for a number of dimensions}
     *
     * @param config base and stretching
     * @param dim values of a head that are turned; even
     * @throws IllegalArgumentException if {@code dim} is odd or not positive
     */
    public static Rope of(RopeConfig config, int dim) {
        if (dim < 2 || dim % 2 != 0) {
            throw new IllegalArgumentException("dim is " + dim + ", it must be positive and even");
        }
        RopeConfig.Yarn yarn = config.yarn();
        float[] frequencies = new float[dim / 2];
        for (int j = 0; j < frequencies.length; j++) {
            double plain = Math.pow(config.theta(), -2.0 * j / dim);
            frequencies[j] = (float) (yarn == null ? plain : stretched(plain, j, config.theta(), yarn, dim));
        }
        return new Rope(dim, frequencies, yarn == null ? 1 : (float) yarn.rotationFactor());
    }

    private static double stretched(double plain, int j, double theta, RopeConfig.Yarn yarn, int dim) {
        double low = low(theta, yarn, dim);
        double high = high(theta, yarn, dim);
        double ramp = Math.clamp((j - low) / (low == high ? 0.001 : high - low), 0.0, 1.0);
        return plain / yarn.factor() * ramp + plain * (1 - ramp);
    }

    /** The last pair that keeps its frequency. */
    static int low(double theta, RopeConfig.Yarn yarn, int dim) {
        return (int) Math.clamp(Math.floor(turns(theta, yarn, yarn.betaFast(), dim)), 0.0, dim - 1.0);
    }

    /** The first pair that is slowed down by the whole factor; may lie beyond the last pair there is. */
    static int high(double theta, RopeConfig.Yarn yarn, int dim) {
        return (int) Math.clamp(Math.ceil(turns(theta, yarn, yarn.betaSlow(), dim)), 0.0, dim - 1.0);
    }

    /** Which pair, as a fraction, turns so many times within the original context. */
    private static double turns(double theta, RopeConfig.Yarn yarn, double times, int dim) {
        return dim * Math.log(yarn.originalMaxPositions() / (times * 2 * Math.PI)) / (2 * Math.log(theta));
    }

    /** {@return values of a head that are turned} */
    public int dim() {
        return dim;
    }

    /** {@return the angle that each pair is turned by for one position, {@code dim / 2} of them} */
    public float[] frequencies() {
        return frequencies.clone();
    }

    /** {@return what cosines and sines are multiplied by} */
    public float factor() {
        return factor;
    }
}
