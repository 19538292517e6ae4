package dev.octet.fp8.reference;

import dev.octet.core.DType;
import dev.octet.fp8.Overflow;

/**
 * Casts to FP8 by looking for the nearest value: every code is decoded by the formula of the OCP 8-bit floating point
 * specification, and the closest one wins, the even code of two that are equally close. Nothing is shared with the bit
 * tricks of the fast casts.
 */
final class NearestCode {
    private static final NearestCode E4M3 = new NearestCode(3, 7, 0x7F, 0x7F, 0x7F);
    private static final NearestCode E5M2 = new NearestCode(2, 15, 0x7C, 0x7C, 0x7E);

    /** values[c] is the value of code c. The last one is what the first code that overflows would stand for. */
    private final double[] values;
    private final int overflowed;
    private final int nan;

    private NearestCode(int mantissaBits, int bias, int firstNotFinite, int overflowed, int nan) {
        values = new double[firstNotFinite + 1];
        int one = 1 << mantissaBits;
        for (int c = 0; c < values.length; c++) {
            int exponent = c >> mantissaBits;
            int mantissa = c & one - 1;
            values[c] = exponent == 0
                    ? (double) mantissa / one * Math.pow(2, 1 - bias)
                    : (1 + (double) mantissa / one) * Math.pow(2, exponent - bias);
        }
        this.overflowed = overflowed;
        this.nan = nan;
    }

    private static NearestCode of(DType format) {
        return format == DType.F8_E4M3 ? E4M3 : E5M2;
    }

    static byte encode(DType format, float value, Overflow overflow) {
        NearestCode table = of(format);
        int sign = Float.floatToRawIntBits(value) < 0 ? 0x80 : 0;
        return (byte) (sign | (Float.isNaN(value) ? table.nan : table.magnitude(Math.abs((double) value), overflow)));
    }

    private int magnitude(double x, Overflow overflow) {
        int last = values.length - 1;
        int low = last;
        if (x < values[last]) {
            low = 0;
            int high = last; // values[low] <= x < values[high]
            while (high - low > 1) {
                int middle = low + high >>> 1;
                if (values[middle] <= x) {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            double below = x - values[low];
            double above = values[high] - x;
            if (above < below || above == below && high % 2 == 0) {
                low = high;
            }
            // In E4M3 464 lies as far from 448 (code 0x7E, even) as from the 480 that code 0x7F would be.
        }
        if (low < last) {
            return low;
        }
        return overflow == Overflow.SATURATE ? last - 1 : overflowed;
    }

    static float decode(DType format, byte code) {
        NearestCode table = of(format);
        int magnitude = code & 0x7F;
        double value;
        if (magnitude < table.values.length - 1) {
            value = table.values[magnitude];
        } else {
            value = format == DType.F8_E5M2 && magnitude == 0x7C ? Double.POSITIVE_INFINITY : Double.NaN;
        }
        return (float) (code < 0 ? -value : value);
    }
}
