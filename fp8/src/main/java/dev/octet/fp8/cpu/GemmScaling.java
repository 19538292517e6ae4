package dev.octet.fp8.cpu;

import dev.octet.fp8.Fp8Codec;

/**
 * How the missing powers of two of decoded codes are made good. A's values take as much as FP32 holds; what is left,
 * at most 2^9, goes to the scales of B. A scale of B that has no room for it, beyond 2^118, becomes infinite: kernels
 * then treat its row of B like one with a NaN and compute its sums again.
 */
final class GemmScaling {
    /** Multiplied to A's decoded values, one after the other: the product of both is too large for FP32. */
    final float first;
    final float second;
    private final float rest;

    GemmScaling(GemmOperand a, GemmOperand b) {
        int room = 126 - Math.getExponent(Fp8Codec.max(a.format)); // 2^room * max is below 2^127
        int onValues = Math.min(room, b.exponentDeficit);
        first = Math.scalb(1f, a.exponentDeficit);
        second = Math.scalb(1f, onValues);
        rest = Math.scalb(1f, b.exponentDeficit - onValues);
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
