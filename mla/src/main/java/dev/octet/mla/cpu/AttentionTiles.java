package dev.octet.mla.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The two products of attention, over one tile each, as {@link VectorAttentionKernels} sweeps them:
 *
 * <pre>
 * scores   s[key][row]   += SUM over d of    q[d][row] * k[key][d]        lanes along the rows, k broadcast
 * values   o[row][d]     += SUM over keys of p[key][row] * v[key][d]      lanes along d, p broadcast
 *
 * q        float[dims][vectors * L]     k, v     float[key][BLOCK]     s, p     float[key][WIDTH]
 * </pre>
 *
 * <p>Each sum begins at 0 and is added to what was there at the end: a sum over many blocks then has short chains of
 * roundings. Registers: 24 accumulators, 4 vectors, 1 broadcast. Machines with 16 registers take
 * {@link AttentionNarrowTiles}.
 *
 * <p>One method is one kernel with named accumulators, since a vector that crosses a method boundary is boxed. All data
 * lies in Java arrays and the distances between keys are constants: loops are set up faster than over segments, one
 * register addresses all keys, and bounds are checked before the loop.
 */
final class AttentionTiles {
    private static final VectorSpecies<Float> F = Lanes.F;
    private static final int L = Lanes.COUNT;
    /** Floats from one key to the next. */
    private static final int BLOCK = AttentionKernels.BLOCK;
    /** Floats from one key's scores to the next one's. */
    private static final int WIDTH = VectorAttentionKernels.PANEL;

    private AttentionTiles() {}

    /** 4 vectors of rows by 6 keys. */
    static void scores4x6(float[] q, int qi, float[] k, int ki, int dims, float[] s, int si) {
        FloatVector c0_0 = FloatVector.zero(F);
        FloatVector c1_0 = FloatVector.zero(F);
        FloatVector c2_0 = FloatVector.zero(F);
        FloatVector c3_0 = FloatVector.zero(F);
        FloatVector c0_1 = FloatVector.zero(F);
        FloatVector c1_1 = FloatVector.zero(F);
        FloatVector c2_1 = FloatVector.zero(F);
        FloatVector c3_1 = FloatVector.zero(F);
        FloatVector c0_2 = FloatVector.zero(F);
        FloatVector c1_2 = FloatVector.zero(F);
        FloatVector c2_2 = FloatVector.zero(F);
        FloatVector c3_2 = FloatVector.zero(F);
        FloatVector c0_3 = FloatVector.zero(F);
        FloatVector c1_3 = FloatVector.zero(F);
        FloatVector c2_3 = FloatVector.zero(F);
        FloatVector c3_3 = FloatVector.zero(F);
        FloatVector c0_4 = FloatVector.zero(F);
        FloatVector c1_4 = FloatVector.zero(F);
        FloatVector c2_4 = FloatVector.zero(F);
        FloatVector c3_4 = FloatVector.zero(F);
        FloatVector c0_5 = FloatVector.zero(F);
        FloatVector c1_5 = FloatVector.zero(F);
        FloatVector c2_5 = FloatVector.zero(F);
        FloatVector c3_5 = FloatVector.zero(F);
        for (int d = 0; d < dims; d++) {
            FloatVector a0 = FloatVector.fromArray(F, q, qi + d * (4 * L));
            FloatVector a1 = FloatVector.fromArray(F, q, qi + d * (4 * L) + L);
            FloatVector a2 = FloatVector.fromArray(F, q, qi + d * (4 * L) + 2 * L);
            FloatVector a3 = FloatVector.fromArray(F, q, qi + d * (4 * L) + 3 * L);
            FloatVector b0 = FloatVector.broadcast(F, k[ki + d]);
            c0_0 = a0.fma(b0, c0_0);
            c1_0 = a1.fma(b0, c1_0);
            c2_0 = a2.fma(b0, c2_0);
            c3_0 = a3.fma(b0, c3_0);
            FloatVector b1 = FloatVector.broadcast(F, k[ki + d + BLOCK]);
            c0_1 = a0.fma(b1, c0_1);
            c1_1 = a1.fma(b1, c1_1);
            c2_1 = a2.fma(b1, c2_1);
            c3_1 = a3.fma(b1, c3_1);
            FloatVector b2 = FloatVector.broadcast(F, k[ki + d + 2 * BLOCK]);
            c0_2 = a0.fma(b2, c0_2);
            c1_2 = a1.fma(b2, c1_2);
            c2_2 = a2.fma(b2, c2_2);
            c3_2 = a3.fma(b2, c3_2);
            FloatVector b3 = FloatVector.broadcast(F, k[ki + d + 3 * BLOCK]);
            c0_3 = a0.fma(b3, c0_3);
            c1_3 = a1.fma(b3, c1_3);
            c2_3 = a2.fma(b3, c2_3);
            c3_3 = a3.fma(b3, c3_3);
            FloatVector b4 = FloatVector.broadcast(F, k[ki + d + 4 * BLOCK]);
            c0_4 = a0.fma(b4, c0_4);
            c1_4 = a1.fma(b4, c1_4);
            c2_4 = a2.fma(b4, c2_4);
            c3_4 = a3.fma(b4, c3_4);
            FloatVector b5 = FloatVector.broadcast(F, k[ki + d + 5 * BLOCK]);
            c0_5 = a0.fma(b5, c0_5);
            c1_5 = a1.fma(b5, c1_5);
            c2_5 = a2.fma(b5, c2_5);
            c3_5 = a3.fma(b5, c3_5);
        }
        c0_0.add(FloatVector.fromArray(F, s, si)).intoArray(s, si);
        c1_0.add(FloatVector.fromArray(F, s, si + L)).intoArray(s, si + L);
        c2_0.add(FloatVector.fromArray(F, s, si + 2 * L)).intoArray(s, si + 2 * L);
        c3_0.add(FloatVector.fromArray(F, s, si + 3 * L)).intoArray(s, si + 3 * L);
        c0_1.add(FloatVector.fromArray(F, s, si + WIDTH)).intoArray(s, si + WIDTH);
        c1_1.add(FloatVector.fromArray(F, s, si + WIDTH + L)).intoArray(s, si + WIDTH + L);
        c2_1.add(FloatVector.fromArray(F, s, si + WIDTH + 2 * L)).intoArray(s, si + WIDTH + 2 * L);
        c3_1.add(FloatVector.fromArray(F, s, si + WIDTH + 3 * L)).intoArray(s, si + WIDTH + 3 * L);
        c0_2.add(FloatVector.fromArray(F, s, si + 2 * WIDTH)).intoArray(s, si + 2 * WIDTH);
        c1_2.add(FloatVector.fromArray(F, s, si + 2 * WIDTH + L)).intoArray(s, si + 2 * WIDTH + L);
        c2_2.add(FloatVector.fromArray(F, s, si + 2 * WIDTH + 2 * L)).intoArray(s, si + 2 * WIDTH + 2 * L);
        c3_2.add(FloatVector.fromArray(F, s, si + 2 * WIDTH + 3 * L)).intoArray(s, si + 2 * WIDTH + 3 * L);
        c0_3.add(FloatVector.fromArray(F, s, si + 3 * WIDTH)).intoArray(s, si + 3 * WIDTH);
        c1_3.add(FloatVector.fromArray(F, s, si + 3 * WIDTH + L)).intoArray(s, si + 3 * WIDTH + L);
        c2_3.add(FloatVector.fromArray(F, s, si + 3 * WIDTH + 2 * L)).intoArray(s, si + 3 * WIDTH + 2 * L);
        c3_3.add(FloatVector.fromArray(F, s, si + 3 * WIDTH + 3 * L)).intoArray(s, si + 3 * WIDTH + 3 * L);
        c0_4.add(FloatVector.fromArray(F, s, si + 4 * WIDTH)).intoArray(s, si + 4 * WIDTH);
        c1_4.add(FloatVector.fromArray(F, s, si + 4 * WIDTH + L)).intoArray(s, si + 4 * WIDTH + L);
        c2_4.add(FloatVector.fromArray(F, s, si + 4 * WIDTH + 2 * L)).intoArray(s, si + 4 * WIDTH + 2 * L);
        c3_4.add(FloatVector.fromArray(F, s, si + 4 * WIDTH + 3 * L)).intoArray(s, si + 4 * WIDTH + 3 * L);
        c0_5.add(FloatVector.fromArray(F, s, si + 5 * WIDTH)).intoArray(s, si + 5 * WIDTH);
        c1_5.add(FloatVector.fromArray(F, s, si + 5 * WIDTH + L)).intoArray(s, si + 5 * WIDTH + L);
        c2_5.add(FloatVector.fromArray(F, s, si + 5 * WIDTH + 2 * L)).intoArray(s, si + 5 * WIDTH + 2 * L);
        c3_5.add(FloatVector.fromArray(F, s, si + 5 * WIDTH + 3 * L)).intoArray(s, si + 5 * WIDTH + 3 * L);
    }

    /** 3 vectors of rows by 8 keys. */
    static void scores3x8(float[] q, int qi, float[] k, int ki, int dims, float[] s, int si) {
        FloatVector c0_0 = FloatVector.zero(F);
        FloatVector c1_0 = FloatVector.zero(F);
        FloatVector c2_0 = FloatVector.zero(F);
        FloatVector c0_1 = FloatVector.zero(F);
        FloatVector c1_1 = FloatVector.zero(F);
        FloatVector c2_1 = FloatVector.zero(F);
        FloatVector c0_2 = FloatVector.zero(F);
        FloatVector c1_2 = FloatVector.zero(F);
        FloatVector c2_2 = FloatVector.zero(F);
        FloatVector c0_3 = FloatVector.zero(F);
        FloatVector c1_3 = FloatVector.zero(F);
        FloatVector c2_3 = FloatVector.zero(F);
        FloatVector c0_4 = FloatVector.zero(F);
        FloatVector c1_4 = FloatVector.zero(F);
        FloatVector c2_4 = FloatVector.zero(F);
        FloatVector c0_5 = FloatVector.zero(F);
        FloatVector c1_5 = FloatVector.zero(F);
        FloatVector c2_5 = FloatVector.zero(F);
        FloatVector c0_6 = FloatVector.zero(F);
        FloatVector c1_6 = FloatVector.zero(F);
        FloatVector c2_6 = FloatVector.zero(F);
        FloatVector c0_7 = FloatVector.zero(F);
        FloatVector c1_7 = FloatVector.zero(F);
        FloatVector c2_7 = FloatVector.zero(F);
        for (int d = 0; d < dims; d++) {
            FloatVector a0 = FloatVector.fromArray(F, q, qi + d * (3 * L));
            FloatVector a1 = FloatVector.fromArray(F, q, qi + d * (3 * L) + L);
            FloatVector a2 = FloatVector.fromArray(F, q, qi + d * (3 * L) + 2 * L);
            FloatVector b0 = FloatVector.broadcast(F, k[ki + d]);
            c0_0 = a0.fma(b0, c0_0);
            c1_0 = a1.fma(b0, c1_0);
            c2_0 = a2.fma(b0, c2_0);
            FloatVector b1 = FloatVector.broadcast(F, k[ki + d + BLOCK]);
            c0_1 = a0.fma(b1, c0_1);
            c1_1 = a1.fma(b1, c1_1);
            c2_1 = a2.fma(b1, c2_1);
            FloatVector b2 = FloatVector.broadcast(F, k[ki + d + 2 * BLOCK]);
            c0_2 = a0.fma(b2, c0_2);
            c1_2 = a1.fma(b2, c1_2);
            c2_2 = a2.fma(b2, c2_2);
            FloatVector b3 = FloatVector.broadcast(F, k[ki + d + 3 * BLOCK]);
            c0_3 = a0.fma(b3, c0_3);
            c1_3 = a1.fma(b3, c1_3);
            c2_3 = a2.fma(b3, c2_3);
            FloatVector b4 = FloatVector.broadcast(F, k[ki + d + 4 * BLOCK]);
            c0_4 = a0.fma(b4, c0_4);
            c1_4 = a1.fma(b4, c1_4);
            c2_4 = a2.fma(b4, c2_4);
            FloatVector b5 = FloatVector.broadcast(F, k[ki + d + 5 * BLOCK]);
            c0_5 = a0.fma(b5, c0_5);
            c1_5 = a1.fma(b5, c1_5);
            c2_5 = a2.fma(b5, c2_5);
            FloatVector b6 = FloatVector.broadcast(F, k[ki + d + 6 * BLOCK]);
            c0_6 = a0.fma(b6, c0_6);
            c1_6 = a1.fma(b6, c1_6);
            c2_6 = a2.fma(b6, c2_6);
            FloatVector b7 = FloatVector.broadcast(F, k[ki + d + 7 * BLOCK]);
            c0_7 = a0.fma(b7, c0_7);
            c1_7 = a1.fma(b7, c1_7);
            c2_7 = a2.fma(b7, c2_7);
        }
        c0_0.add(FloatVector.fromArray(F, s, si)).intoArray(s, si);
        c1_0.add(FloatVector.fromArray(F, s, si + L)).intoArray(s, si + L);
        c2_0.add(FloatVector.fromArray(F, s, si + 2 * L)).intoArray(s, si + 2 * L);
        c0_1.add(FloatVector.fromArray(F, s, si + WIDTH)).intoArray(s, si + WIDTH);
        c1_1.add(FloatVector.fromArray(F, s, si + WIDTH + L)).intoArray(s, si + WIDTH + L);
        c2_1.add(FloatVector.fromArray(F, s, si + WIDTH + 2 * L)).intoArray(s, si + WIDTH + 2 * L);
        c0_2.add(FloatVector.fromArray(F, s, si + 2 * WIDTH)).intoArray(s, si + 2 * WIDTH);
        c1_2.add(FloatVector.fromArray(F, s, si + 2 * WIDTH + L)).intoArray(s, si + 2 * WIDTH + L);
        c2_2.add(FloatVector.fromArray(F, s, si + 2 * WIDTH + 2 * L)).intoArray(s, si + 2 * WIDTH + 2 * L);
        c0_3.add(FloatVector.fromArray(F, s, si + 3 * WIDTH)).intoArray(s, si + 3 * WIDTH);
        c1_3.add(FloatVector.fromArray(F, s, si + 3 * WIDTH + L)).intoArray(s, si + 3 * WIDTH + L);
        c2_3.add(FloatVector.fromArray(F, s, si + 3 * WIDTH + 2 * L)).intoArray(s, si + 3 * WIDTH + 2 * L);
        c0_4.add(FloatVector.fromArray(F, s, si + 4 * WIDTH)).intoArray(s, si + 4 * WIDTH);
        c1_4.add(FloatVector.fromArray(F, s, si + 4 * WIDTH + L)).intoArray(s, si + 4 * WIDTH + L);
        c2_4.add(FloatVector.fromArray(F, s, si + 4 * WIDTH + 2 * L)).intoArray(s, si + 4 * WIDTH + 2 * L);
        c0_5.add(FloatVector.fromArray(F, s, si + 5 * WIDTH)).intoArray(s, si + 5 * WIDTH);
        c1_5.add(FloatVector.fromArray(F, s, si + 5 * WIDTH + L)).intoArray(s, si + 5 * WIDTH + L);
        c2_5.add(FloatVector.fromArray(F, s, si + 5 * WIDTH + 2 * L)).intoArray(s, si + 5 * WIDTH + 2 * L);
        c0_6.add(FloatVector.fromArray(F, s, si + 6 * WIDTH)).intoArray(s, si + 6 * WIDTH);
        c1_6.add(FloatVector.fromArray(F, s, si + 6 * WIDTH + L)).intoArray(s, si + 6 * WIDTH + L);
        c2_6.add(FloatVector.fromArray(F, s, si + 6 * WIDTH + 2 * L)).intoArray(s, si + 6 * WIDTH + 2 * L);
        c0_7.add(FloatVector.fromArray(F, s, si + 7 * WIDTH)).intoArray(s, si + 7 * WIDTH);
        c1_7.add(FloatVector.fromArray(F, s, si + 7 * WIDTH + L)).intoArray(s, si + 7 * WIDTH + L);
        c2_7.add(FloatVector.fromArray(F, s, si + 7 * WIDTH + 2 * L)).intoArray(s, si + 7 * WIDTH + 2 * L);
    }

    /** 2 vectors of rows by 12 keys. */
    static void scores2x12(float[] q, int qi, float[] k, int ki, int dims, float[] s, int si) {
        FloatVector c0_0 = FloatVector.zero(F);
        FloatVector c1_0 = FloatVector.zero(F);
        FloatVector c0_1 = FloatVector.zero(F);
        FloatVector c1_1 = FloatVector.zero(F);
        FloatVector c0_2 = FloatVector.zero(F);
        FloatVector c1_2 = FloatVector.zero(F);
        FloatVector c0_3 = FloatVector.zero(F);
        FloatVector c1_3 = FloatVector.zero(F);
        FloatVector c0_4 = FloatVector.zero(F);
        FloatVector c1_4 = FloatVector.zero(F);
        FloatVector c0_5 = FloatVector.zero(F);
        FloatVector c1_5 = FloatVector.zero(F);
        FloatVector c0_6 = FloatVector.zero(F);
        FloatVector c1_6 = FloatVector.zero(F);
        FloatVector c0_7 = FloatVector.zero(F);
        FloatVector c1_7 = FloatVector.zero(F);
        FloatVector c0_8 = FloatVector.zero(F);
        FloatVector c1_8 = FloatVector.zero(F);
        FloatVector c0_9 = FloatVector.zero(F);
        FloatVector c1_9 = FloatVector.zero(F);
        FloatVector c0_10 = FloatVector.zero(F);
        FloatVector c1_10 = FloatVector.zero(F);
        FloatVector c0_11 = FloatVector.zero(F);
        FloatVector c1_11 = FloatVector.zero(F);
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
            FloatVector b4 = FloatVector.broadcast(F, k[ki + d + 4 * BLOCK]);
            c0_4 = a0.fma(b4, c0_4);
            c1_4 = a1.fma(b4, c1_4);
            FloatVector b5 = FloatVector.broadcast(F, k[ki + d + 5 * BLOCK]);
            c0_5 = a0.fma(b5, c0_5);
            c1_5 = a1.fma(b5, c1_5);
            FloatVector b6 = FloatVector.broadcast(F, k[ki + d + 6 * BLOCK]);
            c0_6 = a0.fma(b6, c0_6);
            c1_6 = a1.fma(b6, c1_6);
            FloatVector b7 = FloatVector.broadcast(F, k[ki + d + 7 * BLOCK]);
            c0_7 = a0.fma(b7, c0_7);
            c1_7 = a1.fma(b7, c1_7);
            FloatVector b8 = FloatVector.broadcast(F, k[ki + d + 8 * BLOCK]);
            c0_8 = a0.fma(b8, c0_8);
            c1_8 = a1.fma(b8, c1_8);
            FloatVector b9 = FloatVector.broadcast(F, k[ki + d + 9 * BLOCK]);
            c0_9 = a0.fma(b9, c0_9);
            c1_9 = a1.fma(b9, c1_9);
            FloatVector b10 = FloatVector.broadcast(F, k[ki + d + 10 * BLOCK]);
            c0_10 = a0.fma(b10, c0_10);
            c1_10 = a1.fma(b10, c1_10);
            FloatVector b11 = FloatVector.broadcast(F, k[ki + d + 11 * BLOCK]);
            c0_11 = a0.fma(b11, c0_11);
            c1_11 = a1.fma(b11, c1_11);
        }
        c0_0.add(FloatVector.fromArray(F, s, si)).intoArray(s, si);
        c1_0.add(FloatVector.fromArray(F, s, si + L)).intoArray(s, si + L);
        c0_1.add(FloatVector.fromArray(F, s, si + WIDTH)).intoArray(s, si + WIDTH);
        c1_1.add(FloatVector.fromArray(F, s, si + WIDTH + L)).intoArray(s, si + WIDTH + L);
        c0_2.add(FloatVector.fromArray(F, s, si + 2 * WIDTH)).intoArray(s, si + 2 * WIDTH);
        c1_2.add(FloatVector.fromArray(F, s, si + 2 * WIDTH + L)).intoArray(s, si + 2 * WIDTH + L);
        c0_3.add(FloatVector.fromArray(F, s, si + 3 * WIDTH)).intoArray(s, si + 3 * WIDTH);
        c1_3.add(FloatVector.fromArray(F, s, si + 3 * WIDTH + L)).intoArray(s, si + 3 * WIDTH + L);
        c0_4.add(FloatVector.fromArray(F, s, si + 4 * WIDTH)).intoArray(s, si + 4 * WIDTH);
        c1_4.add(FloatVector.fromArray(F, s, si + 4 * WIDTH + L)).intoArray(s, si + 4 * WIDTH + L);
        c0_5.add(FloatVector.fromArray(F, s, si + 5 * WIDTH)).intoArray(s, si + 5 * WIDTH);
        c1_5.add(FloatVector.fromArray(F, s, si + 5 * WIDTH + L)).intoArray(s, si + 5 * WIDTH + L);
        c0_6.add(FloatVector.fromArray(F, s, si + 6 * WIDTH)).intoArray(s, si + 6 * WIDTH);
        c1_6.add(FloatVector.fromArray(F, s, si + 6 * WIDTH + L)).intoArray(s, si + 6 * WIDTH + L);
        c0_7.add(FloatVector.fromArray(F, s, si + 7 * WIDTH)).intoArray(s, si + 7 * WIDTH);
        c1_7.add(FloatVector.fromArray(F, s, si + 7 * WIDTH + L)).intoArray(s, si + 7 * WIDTH + L);
        c0_8.add(FloatVector.fromArray(F, s, si + 8 * WIDTH)).intoArray(s, si + 8 * WIDTH);
        c1_8.add(FloatVector.fromArray(F, s, si + 8 * WIDTH + L)).intoArray(s, si + 8 * WIDTH + L);
        c0_9.add(FloatVector.fromArray(F, s, si + 9 * WIDTH)).intoArray(s, si + 9 * WIDTH);
        c1_9.add(FloatVector.fromArray(F, s, si + 9 * WIDTH + L)).intoArray(s, si + 9 * WIDTH + L);
        c0_10.add(FloatVector.fromArray(F, s, si + 10 * WIDTH)).intoArray(s, si + 10 * WIDTH);
        c1_10.add(FloatVector.fromArray(F, s, si + 10 * WIDTH + L)).intoArray(s, si + 10 * WIDTH + L);
        c0_11.add(FloatVector.fromArray(F, s, si + 11 * WIDTH)).intoArray(s, si + 11 * WIDTH);
        c1_11.add(FloatVector.fromArray(F, s, si + 11 * WIDTH + L)).intoArray(s, si + 11 * WIDTH + L);
    }

    /** 1 vector of rows by 24 keys. */
    static void scores1x24(float[] q, int qi, float[] k, int ki, int dims, float[] s, int si) {
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
        FloatVector c0_12 = FloatVector.zero(F);
        FloatVector c0_13 = FloatVector.zero(F);
        FloatVector c0_14 = FloatVector.zero(F);
        FloatVector c0_15 = FloatVector.zero(F);
        FloatVector c0_16 = FloatVector.zero(F);
        FloatVector c0_17 = FloatVector.zero(F);
        FloatVector c0_18 = FloatVector.zero(F);
        FloatVector c0_19 = FloatVector.zero(F);
        FloatVector c0_20 = FloatVector.zero(F);
        FloatVector c0_21 = FloatVector.zero(F);
        FloatVector c0_22 = FloatVector.zero(F);
        FloatVector c0_23 = FloatVector.zero(F);
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
            FloatVector b8 = FloatVector.broadcast(F, k[ki + d + 8 * BLOCK]);
            c0_8 = a0.fma(b8, c0_8);
            FloatVector b9 = FloatVector.broadcast(F, k[ki + d + 9 * BLOCK]);
            c0_9 = a0.fma(b9, c0_9);
            FloatVector b10 = FloatVector.broadcast(F, k[ki + d + 10 * BLOCK]);
            c0_10 = a0.fma(b10, c0_10);
            FloatVector b11 = FloatVector.broadcast(F, k[ki + d + 11 * BLOCK]);
            c0_11 = a0.fma(b11, c0_11);
            FloatVector b12 = FloatVector.broadcast(F, k[ki + d + 12 * BLOCK]);
            c0_12 = a0.fma(b12, c0_12);
            FloatVector b13 = FloatVector.broadcast(F, k[ki + d + 13 * BLOCK]);
            c0_13 = a0.fma(b13, c0_13);
            FloatVector b14 = FloatVector.broadcast(F, k[ki + d + 14 * BLOCK]);
            c0_14 = a0.fma(b14, c0_14);
            FloatVector b15 = FloatVector.broadcast(F, k[ki + d + 15 * BLOCK]);
            c0_15 = a0.fma(b15, c0_15);
            FloatVector b16 = FloatVector.broadcast(F, k[ki + d + 16 * BLOCK]);
            c0_16 = a0.fma(b16, c0_16);
            FloatVector b17 = FloatVector.broadcast(F, k[ki + d + 17 * BLOCK]);
            c0_17 = a0.fma(b17, c0_17);
            FloatVector b18 = FloatVector.broadcast(F, k[ki + d + 18 * BLOCK]);
            c0_18 = a0.fma(b18, c0_18);
            FloatVector b19 = FloatVector.broadcast(F, k[ki + d + 19 * BLOCK]);
            c0_19 = a0.fma(b19, c0_19);
            FloatVector b20 = FloatVector.broadcast(F, k[ki + d + 20 * BLOCK]);
            c0_20 = a0.fma(b20, c0_20);
            FloatVector b21 = FloatVector.broadcast(F, k[ki + d + 21 * BLOCK]);
            c0_21 = a0.fma(b21, c0_21);
            FloatVector b22 = FloatVector.broadcast(F, k[ki + d + 22 * BLOCK]);
            c0_22 = a0.fma(b22, c0_22);
            FloatVector b23 = FloatVector.broadcast(F, k[ki + d + 23 * BLOCK]);
            c0_23 = a0.fma(b23, c0_23);
        }
        c0_0.add(FloatVector.fromArray(F, s, si)).intoArray(s, si);
        c0_1.add(FloatVector.fromArray(F, s, si + WIDTH)).intoArray(s, si + WIDTH);
        c0_2.add(FloatVector.fromArray(F, s, si + 2 * WIDTH)).intoArray(s, si + 2 * WIDTH);
        c0_3.add(FloatVector.fromArray(F, s, si + 3 * WIDTH)).intoArray(s, si + 3 * WIDTH);
        c0_4.add(FloatVector.fromArray(F, s, si + 4 * WIDTH)).intoArray(s, si + 4 * WIDTH);
        c0_5.add(FloatVector.fromArray(F, s, si + 5 * WIDTH)).intoArray(s, si + 5 * WIDTH);
        c0_6.add(FloatVector.fromArray(F, s, si + 6 * WIDTH)).intoArray(s, si + 6 * WIDTH);
        c0_7.add(FloatVector.fromArray(F, s, si + 7 * WIDTH)).intoArray(s, si + 7 * WIDTH);
        c0_8.add(FloatVector.fromArray(F, s, si + 8 * WIDTH)).intoArray(s, si + 8 * WIDTH);
        c0_9.add(FloatVector.fromArray(F, s, si + 9 * WIDTH)).intoArray(s, si + 9 * WIDTH);
        c0_10.add(FloatVector.fromArray(F, s, si + 10 * WIDTH)).intoArray(s, si + 10 * WIDTH);
        c0_11.add(FloatVector.fromArray(F, s, si + 11 * WIDTH)).intoArray(s, si + 11 * WIDTH);
        c0_12.add(FloatVector.fromArray(F, s, si + 12 * WIDTH)).intoArray(s, si + 12 * WIDTH);
        c0_13.add(FloatVector.fromArray(F, s, si + 13 * WIDTH)).intoArray(s, si + 13 * WIDTH);
        c0_14.add(FloatVector.fromArray(F, s, si + 14 * WIDTH)).intoArray(s, si + 14 * WIDTH);
        c0_15.add(FloatVector.fromArray(F, s, si + 15 * WIDTH)).intoArray(s, si + 15 * WIDTH);
        c0_16.add(FloatVector.fromArray(F, s, si + 16 * WIDTH)).intoArray(s, si + 16 * WIDTH);
        c0_17.add(FloatVector.fromArray(F, s, si + 17 * WIDTH)).intoArray(s, si + 17 * WIDTH);
        c0_18.add(FloatVector.fromArray(F, s, si + 18 * WIDTH)).intoArray(s, si + 18 * WIDTH);
        c0_19.add(FloatVector.fromArray(F, s, si + 19 * WIDTH)).intoArray(s, si + 19 * WIDTH);
        c0_20.add(FloatVector.fromArray(F, s, si + 20 * WIDTH)).intoArray(s, si + 20 * WIDTH);
        c0_21.add(FloatVector.fromArray(F, s, si + 21 * WIDTH)).intoArray(s, si + 21 * WIDTH);
        c0_22.add(FloatVector.fromArray(F, s, si + 22 * WIDTH)).intoArray(s, si + 22 * WIDTH);
        c0_23.add(FloatVector.fromArray(F, s, si + 23 * WIDTH)).intoArray(s, si + 23 * WIDTH);
    }

    /** 4 vectors along the value by 6 rows. */
    static void values4x6(float[] p, int pi, float[] v, int vi, int keys, float[] o, int oi, int pitch) {
        FloatVector c0_0 = FloatVector.zero(F);
        FloatVector c1_0 = FloatVector.zero(F);
        FloatVector c2_0 = FloatVector.zero(F);
        FloatVector c3_0 = FloatVector.zero(F);
        FloatVector c0_1 = FloatVector.zero(F);
        FloatVector c1_1 = FloatVector.zero(F);
        FloatVector c2_1 = FloatVector.zero(F);
        FloatVector c3_1 = FloatVector.zero(F);
        FloatVector c0_2 = FloatVector.zero(F);
        FloatVector c1_2 = FloatVector.zero(F);
        FloatVector c2_2 = FloatVector.zero(F);
        FloatVector c3_2 = FloatVector.zero(F);
        FloatVector c0_3 = FloatVector.zero(F);
        FloatVector c1_3 = FloatVector.zero(F);
        FloatVector c2_3 = FloatVector.zero(F);
        FloatVector c3_3 = FloatVector.zero(F);
        FloatVector c0_4 = FloatVector.zero(F);
        FloatVector c1_4 = FloatVector.zero(F);
        FloatVector c2_4 = FloatVector.zero(F);
        FloatVector c3_4 = FloatVector.zero(F);
        FloatVector c0_5 = FloatVector.zero(F);
        FloatVector c1_5 = FloatVector.zero(F);
        FloatVector c2_5 = FloatVector.zero(F);
        FloatVector c3_5 = FloatVector.zero(F);
        for (int j = 0; j < keys; j++) {
            FloatVector a0 = FloatVector.fromArray(F, v, vi + j * BLOCK);
            FloatVector a1 = FloatVector.fromArray(F, v, vi + j * BLOCK + L);
            FloatVector a2 = FloatVector.fromArray(F, v, vi + j * BLOCK + 2 * L);
            FloatVector a3 = FloatVector.fromArray(F, v, vi + j * BLOCK + 3 * L);
            FloatVector b0 = FloatVector.broadcast(F, p[pi + j * WIDTH]);
            c0_0 = a0.fma(b0, c0_0);
            c1_0 = a1.fma(b0, c1_0);
            c2_0 = a2.fma(b0, c2_0);
            c3_0 = a3.fma(b0, c3_0);
            FloatVector b1 = FloatVector.broadcast(F, p[pi + j * WIDTH + 1]);
            c0_1 = a0.fma(b1, c0_1);
            c1_1 = a1.fma(b1, c1_1);
            c2_1 = a2.fma(b1, c2_1);
            c3_1 = a3.fma(b1, c3_1);
            FloatVector b2 = FloatVector.broadcast(F, p[pi + j * WIDTH + 2]);
            c0_2 = a0.fma(b2, c0_2);
            c1_2 = a1.fma(b2, c1_2);
            c2_2 = a2.fma(b2, c2_2);
            c3_2 = a3.fma(b2, c3_2);
            FloatVector b3 = FloatVector.broadcast(F, p[pi + j * WIDTH + 3]);
            c0_3 = a0.fma(b3, c0_3);
            c1_3 = a1.fma(b3, c1_3);
            c2_3 = a2.fma(b3, c2_3);
            c3_3 = a3.fma(b3, c3_3);
            FloatVector b4 = FloatVector.broadcast(F, p[pi + j * WIDTH + 4]);
            c0_4 = a0.fma(b4, c0_4);
            c1_4 = a1.fma(b4, c1_4);
            c2_4 = a2.fma(b4, c2_4);
            c3_4 = a3.fma(b4, c3_4);
            FloatVector b5 = FloatVector.broadcast(F, p[pi + j * WIDTH + 5]);
            c0_5 = a0.fma(b5, c0_5);
            c1_5 = a1.fma(b5, c1_5);
            c2_5 = a2.fma(b5, c2_5);
            c3_5 = a3.fma(b5, c3_5);
        }
        c0_0.add(FloatVector.fromArray(F, o, oi)).intoArray(o, oi);
        c1_0.add(FloatVector.fromArray(F, o, oi + L)).intoArray(o, oi + L);
        c2_0.add(FloatVector.fromArray(F, o, oi + 2 * L)).intoArray(o, oi + 2 * L);
        c3_0.add(FloatVector.fromArray(F, o, oi + 3 * L)).intoArray(o, oi + 3 * L);
        oi += pitch;
        c0_1.add(FloatVector.fromArray(F, o, oi)).intoArray(o, oi);
        c1_1.add(FloatVector.fromArray(F, o, oi + L)).intoArray(o, oi + L);
        c2_1.add(FloatVector.fromArray(F, o, oi + 2 * L)).intoArray(o, oi + 2 * L);
        c3_1.add(FloatVector.fromArray(F, o, oi + 3 * L)).intoArray(o, oi + 3 * L);
        oi += pitch;
        c0_2.add(FloatVector.fromArray(F, o, oi)).intoArray(o, oi);
        c1_2.add(FloatVector.fromArray(F, o, oi + L)).intoArray(o, oi + L);
        c2_2.add(FloatVector.fromArray(F, o, oi + 2 * L)).intoArray(o, oi + 2 * L);
        c3_2.add(FloatVector.fromArray(F, o, oi + 3 * L)).intoArray(o, oi + 3 * L);
        oi += pitch;
        c0_3.add(FloatVector.fromArray(F, o, oi)).intoArray(o, oi);
        c1_3.add(FloatVector.fromArray(F, o, oi + L)).intoArray(o, oi + L);
        c2_3.add(FloatVector.fromArray(F, o, oi + 2 * L)).intoArray(o, oi + 2 * L);
        c3_3.add(FloatVector.fromArray(F, o, oi + 3 * L)).intoArray(o, oi + 3 * L);
        oi += pitch;
        c0_4.add(FloatVector.fromArray(F, o, oi)).intoArray(o, oi);
        c1_4.add(FloatVector.fromArray(F, o, oi + L)).intoArray(o, oi + L);
        c2_4.add(FloatVector.fromArray(F, o, oi + 2 * L)).intoArray(o, oi + 2 * L);
        c3_4.add(FloatVector.fromArray(F, o, oi + 3 * L)).intoArray(o, oi + 3 * L);
        oi += pitch;
        c0_5.add(FloatVector.fromArray(F, o, oi)).intoArray(o, oi);
        c1_5.add(FloatVector.fromArray(F, o, oi + L)).intoArray(o, oi + L);
        c2_5.add(FloatVector.fromArray(F, o, oi + 2 * L)).intoArray(o, oi + 2 * L);
        c3_5.add(FloatVector.fromArray(F, o, oi + 3 * L)).intoArray(o, oi + 3 * L);
    }

    /** 4 vectors along the value by 4 rows. */
    static void values4x4(float[] p, int pi, float[] v, int vi, int keys, float[] o, int oi, int pitch) {
        FloatVector c0_0 = FloatVector.zero(F);
        FloatVector c1_0 = FloatVector.zero(F);
        FloatVector c2_0 = FloatVector.zero(F);
        FloatVector c3_0 = FloatVector.zero(F);
        FloatVector c0_1 = FloatVector.zero(F);
        FloatVector c1_1 = FloatVector.zero(F);
        FloatVector c2_1 = FloatVector.zero(F);
        FloatVector c3_1 = FloatVector.zero(F);
        FloatVector c0_2 = FloatVector.zero(F);
        FloatVector c1_2 = FloatVector.zero(F);
        FloatVector c2_2 = FloatVector.zero(F);
        FloatVector c3_2 = FloatVector.zero(F);
        FloatVector c0_3 = FloatVector.zero(F);
        FloatVector c1_3 = FloatVector.zero(F);
        FloatVector c2_3 = FloatVector.zero(F);
        FloatVector c3_3 = FloatVector.zero(F);
        for (int j = 0; j < keys; j++) {
            FloatVector a0 = FloatVector.fromArray(F, v, vi + j * BLOCK);
            FloatVector a1 = FloatVector.fromArray(F, v, vi + j * BLOCK + L);
            FloatVector a2 = FloatVector.fromArray(F, v, vi + j * BLOCK + 2 * L);
            FloatVector a3 = FloatVector.fromArray(F, v, vi + j * BLOCK + 3 * L);
            FloatVector b0 = FloatVector.broadcast(F, p[pi + j * WIDTH]);
            c0_0 = a0.fma(b0, c0_0);
            c1_0 = a1.fma(b0, c1_0);
            c2_0 = a2.fma(b0, c2_0);
            c3_0 = a3.fma(b0, c3_0);
            FloatVector b1 = FloatVector.broadcast(F, p[pi + j * WIDTH + 1]);
            c0_1 = a0.fma(b1, c0_1);
            c1_1 = a1.fma(b1, c1_1);
            c2_1 = a2.fma(b1, c2_1);
            c3_1 = a3.fma(b1, c3_1);
            FloatVector b2 = FloatVector.broadcast(F, p[pi + j * WIDTH + 2]);
            c0_2 = a0.fma(b2, c0_2);
            c1_2 = a1.fma(b2, c1_2);
            c2_2 = a2.fma(b2, c2_2);
            c3_2 = a3.fma(b2, c3_2);
            FloatVector b3 = FloatVector.broadcast(F, p[pi + j * WIDTH + 3]);
            c0_3 = a0.fma(b3, c0_3);
            c1_3 = a1.fma(b3, c1_3);
            c2_3 = a2.fma(b3, c2_3);
            c3_3 = a3.fma(b3, c3_3);
        }
        c0_0.add(FloatVector.fromArray(F, o, oi)).intoArray(o, oi);
        c1_0.add(FloatVector.fromArray(F, o, oi + L)).intoArray(o, oi + L);
        c2_0.add(FloatVector.fromArray(F, o, oi + 2 * L)).intoArray(o, oi + 2 * L);
        c3_0.add(FloatVector.fromArray(F, o, oi + 3 * L)).intoArray(o, oi + 3 * L);
        oi += pitch;
        c0_1.add(FloatVector.fromArray(F, o, oi)).intoArray(o, oi);
        c1_1.add(FloatVector.fromArray(F, o, oi + L)).intoArray(o, oi + L);
        c2_1.add(FloatVector.fromArray(F, o, oi + 2 * L)).intoArray(o, oi + 2 * L);
        c3_1.add(FloatVector.fromArray(F, o, oi + 3 * L)).intoArray(o, oi + 3 * L);
        oi += pitch;
        c0_2.add(FloatVector.fromArray(F, o, oi)).intoArray(o, oi);
        c1_2.add(FloatVector.fromArray(F, o, oi + L)).intoArray(o, oi + L);
        c2_2.add(FloatVector.fromArray(F, o, oi + 2 * L)).intoArray(o, oi + 2 * L);
        c3_2.add(FloatVector.fromArray(F, o, oi + 3 * L)).intoArray(o, oi + 3 * L);
        oi += pitch;
        c0_3.add(FloatVector.fromArray(F, o, oi)).intoArray(o, oi);
        c1_3.add(FloatVector.fromArray(F, o, oi + L)).intoArray(o, oi + L);
        c2_3.add(FloatVector.fromArray(F, o, oi + 2 * L)).intoArray(o, oi + 2 * L);
        c3_3.add(FloatVector.fromArray(F, o, oi + 3 * L)).intoArray(o, oi + 3 * L);
    }
}
