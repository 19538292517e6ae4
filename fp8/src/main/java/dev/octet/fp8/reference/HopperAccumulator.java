package dev.octet.fp8.reference;

import java.util.Objects;

/**
 * An emulation of how the FP8 tensor cores of NVIDIA's Hopper GPUs add up, with its assumptions as parameters
 * (DeepSeek-V3 &sect;3.3.2 and &sect;3.5.2; "Insights into DeepSeek-V3", &sect;3.1.1). The products of one step are
 * shifted right to the largest exponent among them, cut off below {@code fractionBits} bits after the leading one,
 * added as integers, and the sum goes to a register with as many fraction bits ("FP22": sign, 8 exponent bits, 13
 * fraction bits). NVIDIA has not published the details; this is the model that the papers describe, not measured
 * hardware.
 *
 * <p>A term's exponent is that of the normalised product, {@code floor(log2 |a*b|)}. Operands are FP8 values, whose
 * products are exact in double. A step with an infinity or NaN gives what IEEE addition gives.
 *
 * @param fractionBits bits after the leading one that take part in a step and stay in the register; 13 in the papers
 * @param group products of one step; 32 for FP8
 * @param truncation what cutting off does to negative numbers
 * @param accumulatorAligned whether the register takes part in the alignment and is cut off with the products, or the
 *     step's sum is made first and then added to it
 */
public record HopperAccumulator(int fractionBits, int group, Truncation truncation, boolean accumulatorAligned) {
    /** How bits below the last one kept are dropped. */
    public enum Truncation {
        /** Sign and magnitude: toward zero. */
        TOWARD_ZERO,
        /** Two's complement with a sign-filling shift: toward minus infinity. */
        FLOOR
    }

    /** The parameters of the papers: 13 fraction bits, 32 products a step, toward zero, register aligned. */
    public static final HopperAccumulator PAPER = new HopperAccumulator(13, 32, Truncation.TOWARD_ZERO, true);

    /**
     * Checks the parameters.
     *
     * @throws IllegalArgumentException if {@code fractionBits} is not in 1..40 or {@code group} not in 1..128
     */
    public HopperAccumulator {
        Objects.requireNonNull(truncation, "truncation");
        if (fractionBits < 1 || fractionBits > 40) {
            throw new IllegalArgumentException("fractionBits is " + fractionBits + ", it must be 1 to 40");
        }
        if (group < 1 || group > 128) {
            throw new IllegalArgumentException("group is " + group + ", it must be 1 to 128");
        }
    }

    /**
     * Does one step.
     *
     * @param register what was added up so far
     * @param a FP8 values
     * @param b FP8 values
     * @param from the first pair
     * @param to one past the last pair, at most {@code group} of them
     * @return the new register
     */
    public double step(double register, double[] a, double[] b, int from, int to) {
        int exponent = accumulatorAligned ? exponent(register) : Integer.MIN_VALUE;
        double plain = register;
        for (int k = from; k < to; k++) {
            double product = a[k] * b[k];
            exponent = Math.max(exponent, exponent(product));
            plain += product;
        }
        if (!Double.isFinite(plain) || exponent == Integer.MIN_VALUE) {
            return plain; // an infinity or NaN is among the terms; or all are zero
        }
        int unit = exponent - fractionBits;
        double sum = accumulatorAligned ? cut(register, unit) : 0;
        for (int k = from; k < to; k++) {
            sum += cut(a[k] * b[k], unit); // below 2^(fractionBits + 8) units: exact
        }
        if (!accumulatorAligned) {
            sum = register + sum;
        }
        return sum == 0 ? 0 : cut(sum, Math.getExponent(sum) - fractionBits);
    }

    private static int exponent(double x) {
        return x == 0 ? Integer.MIN_VALUE : Math.getExponent(x);
    }

    /** The multiple of {@code 2^unit} next to {@code x}. */
    private double cut(double x, int unit) {
        double units = Math.scalb(x, -unit);
        double whole = truncation == Truncation.FLOOR || units > 0 ? Math.floor(units) : Math.ceil(units);
        return Math.scalb(whole, unit);
    }
}
