package dev.octet.fp8.cpu;

import dev.octet.core.DType;
import dev.octet.fp8.Fp8Codec;

/**
 * How the missing powers of two of decoded codes are made good. A's values take as much as FP32 holds; what is left,
 * at most 2^9, goes to the scales of B. A scale of B that has no room for it, beyond 2^118, becomes infinite: kernels
 * then treat its row of B like one with a NaN and compute its sums again.
 */
final class GemmScaling {
    /** By the formats of A and of B, E4M3 first. */
    private static final GemmScaling[][] BY_FORMATS = {
            {new GemmScaling(DType.F8_E4M3, DType.F8_E4M3), new GemmScaling(DType.F8_E4M3, DType.F8_E5M2)},
            {new GemmScaling(DType.F8_E5M2, DType.F8_E4M3), new GemmScaling(DType.F8_E5M2, DType.F8_E5M2)}};

    /** Multiplied to A's decoded values, one after the other: the product of both is too large for FP32. */
    final float first;
    final float second;
    private final float rest;
    /** What each code of A is worth, times {@link #second}; a NaN and an infinity are themselves. */
    final float[] values;

    private GemmScaling(DType formatA, DType formatB) {
        int deficitA = deficit(formatA);
        int deficitB = deficit(formatB);
        int onValues = onValues(formatA, deficitB);
        first = Math.scalb(1f, deficitA);
        second = Math.scalb(1f, onValues);
        rest = Math.scalb(1f, deficitB - onValues);
        values = values(formatA, second);
    }

    /** {@return that of two operands} */
    static GemmScaling of(GemmOperand a, GemmOperand b) {
        return BY_FORMATS[a.format == DType.F8_E4M3 ? 0 : 1][b.format == DType.F8_E4M3 ? 0 : 1];
    }

    private static int deficit(DType format) {
        return format == DType.F8_E4M3 ? GemmOperand.E4M3_DEFICIT : GemmOperand.E5M2_DEFICIT;
    }

    /** {@return the exponent of the power of two that A's values take of what B's lack} */
    private static int onValues(DType formatA, int deficitB) {
        int room = 126 - Math.getExponent(Fp8Codec.max(formatA)); // 2^room * max is below 2^127
        return Math.min(room, deficitB);
    }

    private static float[] values(DType formatA, float factor) {
        float[] values = new float[256];
        for (int code = 0; code < values.length; code++) {
            values[code] = Fp8Codec.decode(formatA, (byte) code) * factor;
        }
        return values;
    }

    /** {@return the scale of a row of B in a block, with its part of the missing power} */
    float scaleB(GemmOperand b, long row, long block) {
        return b.scale(row, block) * rest;
    }

    /** {@return whether a finite scale of a row of B has no room for its part of the missing power} */
    boolean overflows(GemmOperand b, long row) {
        for (long block = 0; block < b.blocks(); block++) {
            if (Float.isFinite(b.scale(row, block)) && !Float.isFinite(scaleB(b, row, block))) {
                return true;
            }
        }
        return false;
    }
}
