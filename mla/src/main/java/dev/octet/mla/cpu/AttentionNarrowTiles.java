package dev.octet.mla.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The tiles of {@link AttentionTiles} for vectors of 256 bits and less, on machines with 16 vector registers: 8
 * accumulators, 2 vectors, 1 broadcast.
 */
final class AttentionNarrowTiles {
    private static final VectorSpecies<Float> F = Lanes.F;
    private static final int L = Lanes.COUNT;
    private static final int BLOCK = AttentionKernels.BLOCK;
    /** Floats from one key's scores to the next one's. */
    private static final int WIDTH = VectorAttentionKernels.PANEL;

    private AttentionNarrowTiles() {}

    /** 2 vectors of rows by 4 keys. */
    static void scores2x4(float[] q, int qi, float[] k, int ki, int dims, float[] s, int si) {
        FloatVector c0_0 = FloatVector.zero(F);
        FloatVector c1_0 = FloatVector.zero(F);
        FloatVector c0_1 = FloatVector.zero(F);
        FloatVector c1_1 = FloatVector.zero(F);
        FloatVector c0_2 = FloatVector.zero(F);
        FloatVector c1_2 = FloatVector.zero(F);
        FloatVector c0_3 = FloatVector.zero(F);
        FloatVector c1_3 = FloatVector.zero(F);
        for (int d = 0; d < dims; d++) {
            FloatVector a0 = FloatVector.fromArray(F, q, qi + d * (2 * L));
            FloatVector a1 = FloatVector.fromArray(F, q, qi + d * (2 * L) + L);
            FloatVector b0 = FloatVector.broadcast(F, k[ki + d]);
            c0_0 = a0.fma(b0, c0_0);
            c1_0 = a1.fma(b0, c1_0);
            FloatVector b1 = FloatVector.broadcast(F, k[ki + d + BLOCK]);
            c0_1 = a0.fma(b1, c0_1);
            c1_1 = a1.fma(b1, c1_1);
            FloatVector b2 = FloatVector.broadcast(F, k[ki + d + 2 * BLOCK]);
            c0_2 = a0.fma(b2, c0_2);
            c1_2 = a1.fma(b2, c1_2);
            FloatVector b3 = FloatVector.broadcast(F, k[ki + d + 3 * BLOCK]);
            c0_3 = a0.fma(b3, c0_3);
            c1_3 = a1.fma(b3, c1_3);
        }
        c0_0.add(FloatVector.fromArray(F, s, si)).intoArray(s, si);
        c1_0.add(FloatVector.fromArray(F, s, si + L)).intoArray(s, si + L);
        c0_1.add(FloatVector.fromArray(F, s, si + WIDTH)).intoArray(s, si + WIDTH);
        c1_1.add(FloatVector.fromArray(F, s, si + WIDTH + L)).intoArray(s, si + WIDTH + L);
        c0_2.add(FloatVector.fromArray(F, s, si + 2 * WIDTH)).intoArray(s, si + 2 * WIDTH);
        c1_2.add(FloatVector.fromArray(F, s, si + 2 * WIDTH + L)).intoArray(s, si + 2 * WIDTH + L);
        c0_3.add(FloatVector.fromArray(F, s, si + 3 * WIDTH)).intoArray(s, si + 3 * WIDTH);
        c1_3.add(FloatVector.fromArray(F, s, si + 3 * WIDTH + L)).intoArray(s, si + 3 * WIDTH + L);
    }

    /** 1 vector of rows by 8 keys. */
    static void scores1x8(float[] q, int qi, float[] k, int ki, int dims, float[] s, int si) {
        FloatVector c0_0 = FloatVector.zero(F);
        FloatVector c0_1 = FloatVector.zero(F);
        FloatVector c0_2 = FloatVector.zero(F);
        FloatVector c0_3 = FloatVector.zero(F);
        FloatVector c0_4 = FloatVector.zero(F);
        FloatVector c0_5 = FloatVector.zero(F);
        FloatVector c0_6 = FloatVector.zero(F);
        FloatVector c0_7 = FloatVector.zero(F);
        for (int d = 0; d < dims; d++) {
            FloatVector a0 = FloatVector.fromArray(F, q, qi + d * L);
            FloatVector b0 = FloatVector.broadcast(F, k[ki + d]);
            c0_0 = a0.fma(b0, c0_0);
            FloatVector b1 = FloatVector.broadcast(F, k[ki + d + BLOCK]);
            c0_1 = a0.fma(b1, c0_1);
            FloatVector b2 = FloatVector.broadcast(F, k[ki + d + 2 * BLOCK]);
            c0_2 = a0.fma(b2, c0_2);
            FloatVector b3 = FloatVector.broadcast(F, k[ki + d + 3 * BLOCK]);
            c0_3 = a0.fma(b3, c0_3);
            FloatVector b4 = FloatVector.broadcast(F, k[ki + d + 4 * BLOCK]);
            c0_4 = a0.fma(b4, c0_4);
            FloatVector b5 = FloatVector.broadcast(F, k[ki + d + 5 * BLOCK]);
            c0_5 = a0.fma(b5, c0_5);
            FloatVector b6 = FloatVector.broadcast(F, k[ki + d + 6 * BLOCK]);
            c0_6 = a0.fma(b6, c0_6);
            FloatVector b7 = FloatVector.broadcast(F, k[ki + d + 7 * BLOCK]);
            c0_7 = a0.fma(b7, c0_7);
        }
        c0_0.add(FloatVector.fromArray(F, s, si)).intoArray(s, si);
        c0_1.add(FloatVector.fromArray(F, s, si + WIDTH)).intoArray(s, si + WIDTH);
        c0_2.add(FloatVector.fromArray(F, s, si + 2 * WIDTH)).intoArray(s, si + 2 * WIDTH);
        c0_3.add(FloatVector.fromArray(F, s, si + 3 * WIDTH)).intoArray(s, si + 3 * WIDTH);
        c0_4.add(FloatVector.fromArray(F, s, si + 4 * WIDTH)).intoArray(s, si + 4 * WIDTH);
        c0_5.add(FloatVector.fromArray(F, s, si + 5 * WIDTH)).intoArray(s, si + 5 * WIDTH);
        c0_6.add(FloatVector.fromArray(F, s, si + 6 * WIDTH)).intoArray(s, si + 6 * WIDTH);
        c0_7.add(FloatVector.fromArray(F, s, si + 7 * WIDTH)).intoArray(s, si + 7 * WIDTH);
    }

    /** 2 vectors along the value by 4 rows. */
    static void values2x4(float[] p, int pi, float[] v, int vi, int keys, float[] o, int oi, int pitch) {
        FloatVector c0_0 = FloatVector.zero(F);
        FloatVector c1_0 = FloatVector.zero(F);
        FloatVector c0_1 = FloatVector.zero(F);
        FloatVector c1_1 = FloatVector.zero(F);
        FloatVector c0_2 = FloatVector.zero(F);
        FloatVector c1_2 = FloatVector.zero(F);
        FloatVector c0_3 = FloatVector.zero(F);
        FloatVector c1_3 = FloatVector.zero(F);
        for (int j = 0; j < keys; j++) {
            FloatVector a0 = FloatVector.fromArray(F, v, vi + j * BLOCK);
            FloatVector a1 = FloatVector.fromArray(F, v, vi + j * BLOCK + L);
            FloatVector b0 = FloatVector.broadcast(F, p[pi + j * WIDTH]);
            c0_0 = a0.fma(b0, c0_0);
            c1_0 = a1.fma(b0, c1_0);
            FloatVector b1 = FloatVector.broadcast(F, p[pi + j * WIDTH + 1]);
            c0_1 = a0.fma(b1, c0_1);
            c1_1 = a1.fma(b1, c1_1);
            FloatVector b2 = FloatVector.broadcast(F, p[pi + j * WIDTH + 2]);
            c0_2 = a0.fma(b2, c0_2);
            c1_2 = a1.fma(b2, c1_2);
            FloatVector b3 = FloatVector.broadcast(F, p[pi + j * WIDTH + 3]);
            c0_3 = a0.fma(b3, c0_3);
            c1_3 = a1.fma(b3, c1_3);
        }
        c0_0.add(FloatVector.fromArray(F, o, oi)).intoArray(o, oi);
        c1_0.add(FloatVector.fromArray(F, o, oi + L)).intoArray(o, oi + L);
        oi += pitch;
        c0_1.add(FloatVector.fromArray(F, o, oi)).intoArray(o, oi);
        c1_1.add(FloatVector.fromArray(F, o, oi + L)).intoArray(o, oi + L);
        oi += pitch;
        c0_2.add(FloatVector.fromArray(F, o, oi)).intoArray(o, oi);
        c1_2.add(FloatVector.fromArray(F, o, oi + L)).intoArray(o, oi + L);
        oi += pitch;
        c0_3.add(FloatVector.fromArray(F, o, oi)).intoArray(o, oi);
        c1_3.add(FloatVector.fromArray(F, o, oi + L)).intoArray(o, oi + L);
    }
}
