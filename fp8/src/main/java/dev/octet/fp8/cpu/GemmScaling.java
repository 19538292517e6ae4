package dev.octet.fp8.cpu;

import dev.octet.fp8.Fp8Codec;

/**
 * How the missing powers of two of decoded codes are made good. A's values take as much as FP32 holds; what is left,
 * at most 2^9, goes to the scales of one operand, that one whose scales have room for it.
 */
final class GemmScaling {
    /** Multiplied to A's decoded values, one after the other: the product of both is too large for FP32. */
    final float first;
    final float second;
    private final float onA;
    private final float onB;

    GemmScaling(GemmOperand a, GemmOperand b) {
        int room = 126 - Math.getExponent(Fp8Codec.max(a.format)); // 2^room * max is below 2^127
        int onValues = Math.min(room, b.exponentDeficit);
        first = Math.scalb(1f, a.exponentDeficit);
        second = Math.scalb(1f, onValues);
        float rest = Math.scalb(1f, b.exponentDeficit - onValues);
        boolean roomInA = a.largestScale() < 0x1p118f;
        onA = roomInA ? rest : 1;
        onB = roomInA ? 1 : rest;
    }

    /** {@return the scale of a row of A in a block, with its part of the missing power} */
    float scaleA(GemmOperand a, long row, long block) {
        return a.scale(row, block) * onA;
    }

    /** {@return the scale of a row of B in a block, with its part of the missing power} */
    float scaleB(GemmOperand b, long row, long block) {
        return b.scale(row, block) * onB;
    }
}
