package dev.octet.mla.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The two products of attention, over one tile each, as {@link VectorAttentionKernels} sweeps them:
 *
 * <pre>
 * scores   s[key][row]   += SUM over d of   q[d][row] * k[key][d]         lanes along the rows, k broadcast
 * values   o[row][d]     += SUM over keys of p[key][row] * v[key][d]      lanes along d, p broadcast
 *
 * q        float[dims][vectors * L]     k, v     float[key][BLOCK]     s, p     float[key][width]
 * </pre>
 *
 * <p>Each sum begins at 0 and is added to what was there at the end: a sum over many blocks then has short chains of
 * roundings. Registers: 16 accumulators, 4 vectors, 1 broadcast; two pipes of four cycles need 8 accumulators, and a
 * tile of 4 by 4 loads 8 vectors for 16 products, half of what the load ports can. Machines with 16 registers take
 * {@link AttentionNarrowTiles}.
 *
 * <p>One method is one kernel with named accumulators, since a vector that crosses a method boundary is boxed. All data
 * lies in Java arrays and the distance between keys is a constant: loops are set up faster than over segments, and one
 * register addresses all keys.
 */
final class AttentionTiles {
    private static final VectorSpecies<Float> F = Lanes.F;
    private static final int L = Lanes.COUNT;
    /** Floats from one key to the next. */
    private static final int BLOCK = AttentionKernels.BLOCK;

    private AttentionTiles() {}

    /** 4 vectors of rows by 4 keys. */
    static void scores4x4(float[] q, int qi, float[] k, int ki, int dims, float[] s, int si) {
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
        }
        c0_0.add(FloatVector.fromArray(F, s, si)).intoArray(s, si);
        c1_0.add(FloatVector.fromArray(F, s, si + L)).intoArray(s, si + L);
        c2_0.add(FloatVector.fromArray(F, s, si + 2 * L)).intoArray(s, si + 2 * L);
        c3_0.add(FloatVector.fromArray(F, s, si + 3 * L)).intoArray(s, si + 3 * L);
        c0_1.add(FloatVector.fromArray(F, s, si + 4 * L)).intoArray(s, si + 4 * L);
        c1_1.add(FloatVector.fromArray(F, s, si + 5 * L)).intoArray(s, si + 5 * L);
        c2_1.add(FloatVector.fromArray(F, s, si + 6 * L)).intoArray(s, si + 6 * L);
        c3_1.add(FloatVector.fromArray(F, s, si + 7 * L)).intoArray(s, si + 7 * L);
        c0_2.add(FloatVector.fromArray(F, s, si + 8 * L)).intoArray(s, si + 8 * L);
        c1_2.add(FloatVector.fromArray(F, s, si + 9 * L)).intoArray(s, si + 9 * L);
        c2_2.add(FloatVector.fromArray(F, s, si + 10 * L)).intoArray(s, si + 10 * L);
        c3_2.add(FloatVector.fromArray(F, s, si + 11 * L)).intoArray(s, si + 11 * L);
        c0_3.add(FloatVector.fromArray(F, s, si + 12 * L)).intoArray(s, si + 12 * L);
        c1_3.add(FloatVector.fromArray(F, s, si + 13 * L)).intoArray(s, si + 13 * L);
        c2_3.add(FloatVector.fromArray(F, s, si + 14 * L)).intoArray(s, si + 14 * L);
        c3_3.add(FloatVector.fromArray(F, s, si + 15 * L)).intoArray(s, si + 15 * L);
    }

    /** 3 vectors of rows by 4 keys. */
    static void scores3x4(float[] q, int qi, float[] k, int ki, int dims, float[] s, int si) {
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
        }
        c0_0.add(FloatVector.fromArray(F, s, si)).intoArray(s, si);
        c1_0.add(FloatVector.fromArray(F, s, si + L)).intoArray(s, si + L);
        c2_0.add(FloatVector.fromArray(F, s, si + 2 * L)).intoArray(s, si + 2 * L);
        c0_1.add(FloatVector.fromArray(F, s, si + 3 * L)).intoArray(s, si + 3 * L);
        c1_1.add(FloatVector.fromArray(F, s, si + 4 * L)).intoArray(s, si + 4 * L);
        c2_1.add(FloatVector.fromArray(F, s, si + 5 * L)).intoArray(s, si + 5 * L);
        c0_2.add(FloatVector.fromArray(F, s, si + 6 * L)).intoArray(s, si + 6 * L);
        c1_2.add(FloatVector.fromArray(F, s, si + 7 * L)).intoArray(s, si + 7 * L);
        c2_2.add(FloatVector.fromArray(F, s, si + 8 * L)).intoArray(s, si + 8 * L);
        c0_3.add(FloatVector.fromArray(F, s, si + 9 * L)).intoArray(s, si + 9 * L);
        c1_3.add(FloatVector.fromArray(F, s, si + 10 * L)).intoArray(s, si + 10 * L);
        c2_3.add(FloatVector.fromArray(F, s, si + 11 * L)).intoArray(s, si + 11 * L);
    }

    /** 2 vectors of rows by 8 keys. */
    static void scores2x8(float[] q, int qi, float[] k, int ki, int dims, float[] s, int si) {
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
        }
        c0_0.add(FloatVector.fromArray(F, s, si)).intoArray(s, si);
        c1_0.add(FloatVector.fromArray(F, s, si + L)).intoArray(s, si + L);
        c0_1.add(FloatVector.fromArray(F, s, si + 2 * L)).intoArray(s, si + 2 * L);
        c1_1.add(FloatVector.fromArray(F, s, si + 3 * L)).intoArray(s, si + 3 * L);
        c0_2.add(FloatVector.fromArray(F, s, si + 4 * L)).intoArray(s, si + 4 * L);
        c1_2.add(FloatVector.fromArray(F, s, si + 5 * L)).intoArray(s, si + 5 * L);
        c0_3.add(FloatVector.fromArray(F, s, si + 6 * L)).intoArray(s, si + 6 * L);
        c1_3.add(FloatVector.fromArray(F, s, si + 7 * L)).intoArray(s, si + 7 * L);
        c0_4.add(FloatVector.fromArray(F, s, si + 8 * L)).intoArray(s, si + 8 * L);
        c1_4.add(FloatVector.fromArray(F, s, si + 9 * L)).intoArray(s, si + 9 * L);
        c0_5.add(FloatVector.fromArray(F, s, si + 10 * L)).intoArray(s, si + 10 * L);
        c1_5.add(FloatVector.fromArray(F, s, si + 11 * L)).intoArray(s, si + 11 * L);
        c0_6.add(FloatVector.fromArray(F, s, si + 12 * L)).intoArray(s, si + 12 * L);
        c1_6.add(FloatVector.fromArray(F, s, si + 13 * L)).intoArray(s, si + 13 * L);
        c0_7.add(FloatVector.fromArray(F, s, si + 14 * L)).intoArray(s, si + 14 * L);
        c1_7.add(FloatVector.fromArray(F, s, si + 15 * L)).intoArray(s, si + 15 * L);
    }

    /** 1 vector of rows by 16 keys. */
    static void scores1x16(float[] q, int qi, float[] k, int ki, int dims, float[] s, int si) {
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
        }
        c0_0.add(FloatVector.fromArray(F, s, si)).intoArray(s, si);
        c0_1.add(FloatVector.fromArray(F, s, si + L)).intoArray(s, si + L);
        c0_2.add(FloatVector.fromArray(F, s, si + 2 * L)).intoArray(s, si + 2 * L);
        c0_3.add(FloatVector.fromArray(F, s, si + 3 * L)).intoArray(s, si + 3 * L);
        c0_4.add(FloatVector.fromArray(F, s, si + 4 * L)).intoArray(s, si + 4 * L);
        c0_5.add(FloatVector.fromArray(F, s, si + 5 * L)).intoArray(s, si + 5 * L);
        c0_6.add(FloatVector.fromArray(F, s, si + 6 * L)).intoArray(s, si + 6 * L);
        c0_7.add(FloatVector.fromArray(F, s, si + 7 * L)).intoArray(s, si + 7 * L);
        c0_8.add(FloatVector.fromArray(F, s, si + 8 * L)).intoArray(s, si + 8 * L);
        c0_9.add(FloatVector.fromArray(F, s, si + 9 * L)).intoArray(s, si + 9 * L);
        c0_10.add(FloatVector.fromArray(F, s, si + 10 * L)).intoArray(s, si + 10 * L);
        c0_11.add(FloatVector.fromArray(F, s, si + 11 * L)).intoArray(s, si + 11 * L);
        c0_12.add(FloatVector.fromArray(F, s, si + 12 * L)).intoArray(s, si + 12 * L);
        c0_13.add(FloatVector.fromArray(F, s, si + 13 * L)).intoArray(s, si + 13 * L);
        c0_14.add(FloatVector.fromArray(F, s, si + 14 * L)).intoArray(s, si + 14 * L);
        c0_15.add(FloatVector.fromArray(F, s, si + 15 * L)).intoArray(s, si + 15 * L);
    }

    /** 4 vectors along the value by 4 rows. */
    static void values4x4(float[] p, int pi, int width, float[] v, int vi, int keys, float[] o, int oi, int pitch) {
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
            FloatVector b0 = FloatVector.broadcast(F, p[pi + j * width]);
            c0_0 = a0.fma(b0, c0_0);
            c1_0 = a1.fma(b0, c1_0);
            c2_0 = a2.fma(b0, c2_0);
            c3_0 = a3.fma(b0, c3_0);
            FloatVector b1 = FloatVector.broadcast(F, p[pi + j * width + 1]);
            c0_1 = a0.fma(b1, c0_1);
            c1_1 = a1.fma(b1, c1_1);
            c2_1 = a2.fma(b1, c2_1);
            c3_1 = a3.fma(b1, c3_1);
            FloatVector b2 = FloatVector.broadcast(F, p[pi + j * width + 2]);
            c0_2 = a0.fma(b2, c0_2);
            c1_2 = a1.fma(b2, c1_2);
            c2_2 = a2.fma(b2, c2_2);
            c3_2 = a3.fma(b2, c3_2);
            FloatVector b3 = FloatVector.broadcast(F, p[pi + j * width + 3]);
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
