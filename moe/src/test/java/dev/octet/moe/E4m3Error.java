package dev.octet.moe;

import java.util.function.DoubleUnaryOperator;

/**
 * What rounding to E4M3 costs, derived: the energy of the error over the energy of the values, q.
 *
 * <p>Between 2^e and 2^(e+1) codes are 2^(e-3) apart, and the error of a value there has the mean square
 * {@code (2^(e-3))^2 / 12 = 4^e / 768}. A value's own square is {@code 4^e m^2} with a mantissa m in 1..2, so that the
 * error's share of a value's energy is {@code 1 / (768 m^2)}.
 * <ul>
 *   <li>A scale that is a power of two leaves mantissas as they are. If the energy is spread evenly over the logarithm,
 *       the mean of {@code m^-2 = 4^-t} over t in 0..1 is {@code 3 / (4 ln 4)}, and q is {@code 1 / (2048 ln 2)}, which
 *       is 7.04e-4. Any smooth distribution that is wider than a few binades comes within a percent or two of that.
 *   <li>The scale {@code max / 448} has a block's largest value rounded to itself, and the largest, which have much of
 *       the energy, have mantissas just below 1.75 instead of anywhere: q is smaller, the more so the fewer values
 *       share a scale and the heavier the tails are. {@link #ofBlock} integrates that.
 * </ul>
 * Values below 2^-6 after scaling, whose steps no longer shrink, are 2^-14 of the largest and play no part.
 */
final class E4m3Error {
    /** q with scales that are powers of two. */
    private static final double POWER_OF_TWO = 1 / (2048 * Math.log(2));
    /** The calc_diff of one rounding to BF16, which has four bits more. */
    static final double BF16 = POWER_OF_TWO / 256 / 2;

    /** A step of the tables; integrals are sums over it. */
    private static final double STEP = 1.0 / 1024;
    private static final double END = 9;
    private static final double[] NORMAL = normalTable();

    private E4m3Error() {}

    /**
     * What each operand of a layer of experts loses: tokens and projections normally distributed with mean square 1,
     * weights {@link ExpertLayer}'s.
     */
    record Operands(double tokens, double weights, double activations) {
        /** With the scale {@code max / 448}. */
        static final Operands F32 = new Operands(ofBlock(E4m3Error::normal, 8, 128),
                ofBlock(E4m3Error::fourUniform, Math.sqrt(12), 128 * 128), ofBlock(E4m3Error::swiglu, 30, 128));
        /** With that scale rounded up to a power of two. */
        static final Operands POWER_OF_TWO = new Operands(E4m3Error.POWER_OF_TWO, E4m3Error.POWER_OF_TWO,
                E4m3Error.POWER_OF_TWO);
        /** Errors of gate and up projections together, as SwiGLU passes them on. */
        private static final double GATE_UP = 1 + gainOfSilu();

        /**
         * {@return the {@code calc_diff} that one rounding makes} It is half of the error's share of the energy, for
         * {@code 1 - 2xy / (xx + yy)} is {@code ee / (xx + yy)} with {@code e = y - x}. Each error passes through a
         * product with independent values and keeps its share there.
         */
        double calcDiff(RoundedExperts.Rounding one) {
            return switch (one) {
                case TOKENS -> tokens * GATE_UP / 2;
                case GATE_UP -> weights * GATE_UP / 2;
                case ACTIVATIONS -> activations / 2;
                case DOWN -> weights / 2;
                case BF16 -> throw new IllegalArgumentException("of many roundings");
            };
        }

        /** {@return that of both roundings of activations: what a layer loses whose weights are in FP8 already} */
        double ofActivations() {
            return calcDiff(RoundedExperts.Rounding.TOKENS) + calcDiff(RoundedExperts.Rounding.ACTIVATIONS);
        }

        /** {@return that of all four} */
        double ofAll() {
            return ofActivations() + calcDiff(RoundedExperts.Rounding.GATE_UP)
                    + calcDiff(RoundedExperts.Rounding.DOWN);
        }
    }

    private static double density(double x) {
        return Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
    }

    private static double[] normalTable() {
        double[] f = new double[(int) (END / STEP) + 1];
        for (int i = 1; i < f.length; i++) {
            f[i] = f[i - 1] + 2 * STEP * density((i - 0.5) * STEP);
        }
        return f;
    }

    /** {@return the probability that a normally distributed value of mean square 1 has at most a magnitude} */
    private static double normal(double magnitude) {
        double at = Math.min(magnitude, END - STEP) / STEP;
        int i = (int) at;
        return Math.min(1, NORMAL[i] + (at - i) * (NORMAL[Math.min(i + 1, NORMAL.length - 1)] - NORMAL[i]));
    }

    /** {@return the same for the sum of four uniform values, mean square 1: {@link ExpertLayer}'s weights} */
    private static double fourUniform(double magnitude) {
        double x = Math.min(4, 2 + magnitude / Math.sqrt(3));
        double sum = 0;
        for (int k = 0, choose = 1; k <= 4; k++, choose = choose * -(5 - k) / k) {
            sum += choose * Math.pow(Math.max(0, x - k), 4);
        }
        return 2 * sum / 24 - 1;
    }

    /** {@return the same for {@code silu(g) * u}, both normally distributed with mean square 1} */
    private static double swiglu(double magnitude) {
        double sum = 0;
        for (double g = -8 + 0.01; g < 8; g += 0.02) {
            sum += 0.02 * density(g) * normal(magnitude / Math.abs(silu(g)));
        }
        return sum;
    }

    /**
     * {@return q of independent values that share the scale {@code max / 448}}
     *
     * @param probability that a value has at most a magnitude
     * @param largest magnitude that matters
     * @param count how many share a scale
     */
    private static double ofBlock(DoubleUnaryOperator probability, double largest, int count) {
        int n = 4096;
        double[] f = new double[n + 1];
        double energy = 0;
        for (int i = 1; i <= n; i++) {
            f[i] = probability.applyAsDouble(i * largest / n);
            double middle = (i - 0.5) * largest / n;
            energy += (f[i] - f[i - 1]) * middle * middle;
        }
        double error = 0;
        for (int i = 1; i <= n; i++) {
            double max = (i - 0.5) * largest / n;
            double chance = Math.pow(f[i], count) - Math.pow(f[i - 1], count);
            if (chance > 1e-9) {
                // The others are distributed as before, but none is larger. The top binade ends at the largest.
                double sum = 0;
                double top = probability.applyAsDouble(max);
                double above = top;
                for (double from = max / 1.75; from > max / (1 << 14); from /= 2) {
                    double below = probability.applyAsDouble(from);
                    sum += (above - below) / top * from * from / 768;
                    above = below;
                }
                error += chance * sum * (count - 1) / count;
            }
        }
        return error / energy;
    }

    /**
     * {@return what becomes of an error in gate projections of mean square 1: its share of the energy of
     * {@code silu(g)} over its share of that of g, the mean of {@code silu'(g)^2} over that of {@code silu(g)^2}} An
     * error in up projections keeps its share.
     */
    private static double gainOfSilu() {
        double slope = 0;
        double value = 0;
        for (double g = -9; g < 9; g += STEP) {
            double s = 1 / (1 + Math.exp(-g));
            double d = s * (1 + g * (1 - s));
            slope += density(g) * d * d;
            value += density(g) * silu(g) * silu(g);
        }
        return slope / value;
    }

    private static double silu(double g) {
        return g / (1 + Math.exp(-g));
    }
}
