package dev.octet.fp8.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The tiles of {@link GemmTiles} for vectors of 256 bits and less, on machines with 16 vector registers. Arguments are
 * those of {@link GemmTiles#sweep}, with {@code bi} where the first column of B begins.
 *
 * <p>Two vectors of rows take 4 columns: 8 accumulators, as many as two FMAs a cycle of four cycles each need. With 6
 * columns 12 accumulators, 2 vectors of A and 1 of B would fit, but C2 loads the values of four columns before the first
 * product and keeps two accumulators in memory, which must be stored and loaded again in every step: 0.40 of the FMA peak
 * on a Zen 3, where this has 0.93.
 */
final class GemmNarrowTiles {
    private static final VectorSpecies<Float> F = Lanes.F;
    private static final int L = Lanes.COUNT;
    private static final int BLOCK = 128;

    private GemmNarrowTiles() {}

    /** 2 vectors of rows by 4 columns. */
    static void tile2x4(float[] a, int ai, float[] b, int bi, float[] sums, int at, float[] scalesA, int si,
            float[] scalesB, int n) {
        FloatVector c00 = FloatVector.zero(F);
        FloatVector c10 = FloatVector.zero(F);
        FloatVector c01 = FloatVector.zero(F);
        FloatVector c11 = FloatVector.zero(F);
        FloatVector c02 = FloatVector.zero(F);
        FloatVector c12 = FloatVector.zero(F);
        FloatVector c03 = FloatVector.zero(F);
        FloatVector c13 = FloatVector.zero(F);
        for (int k = 0; k < BLOCK; k++) {
            FloatVector a0 = FloatVector.fromArray(F, a, ai + k * (2 * L));
            FloatVector a1 = FloatVector.fromArray(F, a, ai + k * (2 * L) + L);
            FloatVector b0 = FloatVector.broadcast(F, b[bi + k]);
            c00 = a0.fma(b0, c00);
            c10 = a1.fma(b0, c10);
            FloatVector b1 = FloatVector.broadcast(F, b[bi + k + BLOCK]);
            c01 = a0.fma(b1, c01);
            c11 = a1.fma(b1, c11);
            FloatVector b2 = FloatVector.broadcast(F, b[bi + k + 2 * BLOCK]);
            c02 = a0.fma(b2, c02);
            c12 = a1.fma(b2, c12);
            FloatVector b3 = FloatVector.broadcast(F, b[bi + k + 3 * BLOCK]);
            c03 = a0.fma(b3, c03);
            c13 = a1.fma(b3, c13);
        }
        FloatVector s0 = FloatVector.fromArray(F, scalesA, si);
        FloatVector s1 = FloatVector.fromArray(F, scalesA, si + L);
        float t0 = scalesB[n];
        c00.fma(s0.mul(t0), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c10.fma(s1.mul(t0), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        at += 2 * L;
        float t1 = scalesB[n + 1];
        c01.fma(s0.mul(t1), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c11.fma(s1.mul(t1), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        at += 2 * L;
        float t2 = scalesB[n + 2];
        c02.fma(s0.mul(t2), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c12.fma(s1.mul(t2), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        at += 2 * L;
        float t3 = scalesB[n + 3];
        c03.fma(s0.mul(t3), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c13.fma(s1.mul(t3), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
    }

    /** 1 vector of rows by 12 columns. */
    static void tile1x12(float[] a, int ai, float[] b, int bi, float[] sums, int at, float[] scalesA, int si,
            float[] scalesB, int n) {
        FloatVector c0_0 = FloatVector.zero(F);
        FloatVector c0_1 = FloatVector.zero(F);
        FloatVector c0_2 = FloatVector.zero(F);
        FloatVector c0_3 = FloatVector.zero(F);
        FloatVector c0_4 = FloatVector.zero(F);
        FloatVector c0_5 = FloatVector.zero(F);
        FloatVector c0_6 = FloatVector.zero(F);
        FloatVector c0_7 = FloatVector.zero(F);
        FloatVector c0_8 = FloatVector.zero(F);
        FloatVector c0_9 = FloatVector.zero(F);
        FloatVector c0_10 = FloatVector.zero(F);
        FloatVector c0_11 = FloatVector.zero(F);
        for (int k = 0; k < BLOCK; k++) {
            FloatVector a0 = FloatVector.fromArray(F, a, ai + k * L);
            FloatVector b0 = FloatVector.broadcast(F, b[bi + k]);
            c0_0 = a0.fma(b0, c0_0);
            FloatVector b1 = FloatVector.broadcast(F, b[bi + k + BLOCK]);
            c0_1 = a0.fma(b1, c0_1);
            FloatVector b2 = FloatVector.broadcast(F, b[bi + k + 2 * BLOCK]);
            c0_2 = a0.fma(b2, c0_2);
            FloatVector b3 = FloatVector.broadcast(F, b[bi + k + 3 * BLOCK]);
            c0_3 = a0.fma(b3, c0_3);
            FloatVector b4 = FloatVector.broadcast(F, b[bi + k + 4 * BLOCK]);
            c0_4 = a0.fma(b4, c0_4);
            FloatVector b5 = FloatVector.broadcast(F, b[bi + k + 5 * BLOCK]);
            c0_5 = a0.fma(b5, c0_5);
            FloatVector b6 = FloatVector.broadcast(F, b[bi + k + 6 * BLOCK]);
            c0_6 = a0.fma(b6, c0_6);
            FloatVector b7 = FloatVector.broadcast(F, b[bi + k + 7 * BLOCK]);
            c0_7 = a0.fma(b7, c0_7);
            FloatVector b8 = FloatVector.broadcast(F, b[bi + k + 8 * BLOCK]);
            c0_8 = a0.fma(b8, c0_8);
            FloatVector b9 = FloatVector.broadcast(F, b[bi + k + 9 * BLOCK]);
            c0_9 = a0.fma(b9, c0_9);
            FloatVector b10 = FloatVector.broadcast(F, b[bi + k + 10 * BLOCK]);
            c0_10 = a0.fma(b10, c0_10);
            FloatVector b11 = FloatVector.broadcast(F, b[bi + k + 11 * BLOCK]);
            c0_11 = a0.fma(b11, c0_11);
        }
        FloatVector s0 = FloatVector.fromArray(F, scalesA, si);
        float t0 = scalesB[n];
        c0_0.fma(s0.mul(t0), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t1 = scalesB[n + 1];
        c0_1.fma(s0.mul(t1), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t2 = scalesB[n + 2];
        c0_2.fma(s0.mul(t2), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t3 = scalesB[n + 3];
        c0_3.fma(s0.mul(t3), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t4 = scalesB[n + 4];
        c0_4.fma(s0.mul(t4), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t5 = scalesB[n + 5];
        c0_5.fma(s0.mul(t5), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t6 = scalesB[n + 6];
        c0_6.fma(s0.mul(t6), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t7 = scalesB[n + 7];
        c0_7.fma(s0.mul(t7), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t8 = scalesB[n + 8];
        c0_8.fma(s0.mul(t8), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t9 = scalesB[n + 9];
        c0_9.fma(s0.mul(t9), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t10 = scalesB[n + 10];
        c0_10.fma(s0.mul(t10), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t11 = scalesB[n + 11];
        c0_11.fma(s0.mul(t11), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
    }
}
