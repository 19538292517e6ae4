package dev.octet.fp8.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The inner loops of the tiled GEMM: over one block of 128 along K, a tile of rows of A times columns (rows of B), then
 * the promotion of the block's sums into the running ones.
 *
 * <pre>
 * a        float[128 k][vectors * L rows]      packed A
 * b        float[column][128 k]                decoded B; a tile reads neighbouring columns
 * sums     float[column][vectors * L rows]     += block sum * (scalesA[row] * scalesB[column])
 * </pre>
 *
 * <p>Lanes run along the rows of A, so that B, the large operand, is decoded where it lies, and each of its values is
 * broadcast by the load itself. Registers: 24 accumulators, 4 vectors of A, 1 of B, out of 32. Machines with 16
 * registers take the tiles of {@link GemmNarrowTiles}.
 *
 * <p>Why the code looks as it does, all seen on JDK 25 and a Zen 5 core:
 * <ul>
 *   <li>One method is one kernel with named accumulators: a vector that crosses a method boundary is boxed.
 *   <li>All data lies in Java arrays. Over native segments the same loop reached 0.93 of the FMA peak instead of 0.98:
 *       checks of long offsets cost some 90 cycles in front of each loop, and a block takes 1,536.
 *   <li>Segment accesses are also heavy for C1: with some 60 of them it gives up on a method ("out of virtual
 *       registers"), and a method that C1 gives up on at tier 3 after it has reached tier 2 is never given to C2; it
 *       then runs at a hundredth of its speed.
 *   <li>Arrays are not aligned to cache lines, which costs nothing here: 4 loads of A and 6 of B for 24 FMAs leave
 *       room.
 *   <li>Unrolling by hand makes it slower: C2 then hoists addresses and spills accumulators.
 * </ul>
 */
final class GemmTiles {
    private static final VectorSpecies<Float> F = Lanes.F;
    private static final int L = Lanes.COUNT;
    private static final int BLOCK = 128;

    /** Vectors of rows in a full panel of A: as many as the registers hold; 512-bit machines have twice as many. */
    static final int PANEL_VECTORS = L >= 16 ? 4 : 2;
    /** Columns are swept in groups of this many, which every tile's width divides. */
    static final int COLUMN_GROUP = 24;

    private GemmTiles() {}

    /**
     * Sweeps one panel of A over columns of one decoded block of B.
     *
     * @param vectors vectors of rows in the panel, 1 to {@link #PANEL_VECTORS}
     * @param a packed A
     * @param ai where the panel begins, {@code [128][vectors * L]}
     * @param b decoded B, {@code [columns][128]}
     * @param bi where it begins
     * @param columns a multiple of {@link #COLUMN_GROUP}
     * @param sums running sums
     * @param at where those of the panel and the first column begin, {@code [columns][vectors * L]}
     * @param scalesA scales of the rows
     * @param si where the panel's begin
     * @param scalesB scales of the columns
     * @param n where those of the first column begin
     */
    static void sweep(int vectors, float[] a, int ai, float[] b, int bi, int columns, float[] sums, int at,
            float[] scalesA, int si, float[] scalesB, int n) {
        int width = vectors * L;
        switch (vectors) {
            case 4 -> {
                for (int i = 0; i < columns; i += 6) {
                    tile4x6(a, ai, b, bi + i * BLOCK, sums, at + i * width, scalesA, si, scalesB, n + i);
                }
            }
            case 3 -> {
                for (int i = 0; i < columns; i += 6) {
                    tile3x6(a, ai, b, bi + i * BLOCK, sums, at + i * width, scalesA, si, scalesB, n + i);
                }
            }
            case 2 -> {
                if (PANEL_VECTORS == 2) {
                    for (int i = 0; i < columns; i += 4) {
                        GemmNarrowTiles.tile2x4(a, ai, b, bi + i * BLOCK, sums, at + i * width, scalesA, si, scalesB,
                                n + i);
                    }
                } else {
                    for (int i = 0; i < columns; i += 12) {
                        tile2x12(a, ai, b, bi + i * BLOCK, sums, at + i * width, scalesA, si, scalesB, n + i);
                    }
                }
            }
            default -> {
                if (PANEL_VECTORS == 2) {
                    for (int i = 0; i < columns; i += 12) {
                        GemmNarrowTiles.tile1x12(a, ai, b, bi + i * BLOCK, sums, at + i * width, scalesA, si, scalesB,
                                n + i);
                    }
                } else {
                    for (int i = 0; i < columns; i += 24) {
                        tile1x24(a, ai, b, bi + i * BLOCK, sums, at + i * width, scalesA, si, scalesB, n + i);
                    }
                }
            }
        }
    }

    /** 4 vectors of rows by 6 columns. */
    private static void tile4x6(float[] a, int ai, float[] b, int bi, float[] sums, int at, float[] scalesA, int si,
            float[] scalesB, int n) {
        FloatVector c00 = FloatVector.zero(F);
        FloatVector c10 = FloatVector.zero(F);
        FloatVector c20 = FloatVector.zero(F);
        FloatVector c30 = FloatVector.zero(F);
        FloatVector c01 = FloatVector.zero(F);
        FloatVector c11 = FloatVector.zero(F);
        FloatVector c21 = FloatVector.zero(F);
        FloatVector c31 = FloatVector.zero(F);
        FloatVector c02 = FloatVector.zero(F);
        FloatVector c12 = FloatVector.zero(F);
        FloatVector c22 = FloatVector.zero(F);
        FloatVector c32 = FloatVector.zero(F);
        FloatVector c03 = FloatVector.zero(F);
        FloatVector c13 = FloatVector.zero(F);
        FloatVector c23 = FloatVector.zero(F);
        FloatVector c33 = FloatVector.zero(F);
        FloatVector c04 = FloatVector.zero(F);
        FloatVector c14 = FloatVector.zero(F);
        FloatVector c24 = FloatVector.zero(F);
        FloatVector c34 = FloatVector.zero(F);
        FloatVector c05 = FloatVector.zero(F);
        FloatVector c15 = FloatVector.zero(F);
        FloatVector c25 = FloatVector.zero(F);
        FloatVector c35 = FloatVector.zero(F);
        for (int k = 0; k < BLOCK; k++) {
            FloatVector a0 = FloatVector.fromArray(F, a, ai + k * (4 * L));
            FloatVector a1 = FloatVector.fromArray(F, a, ai + k * (4 * L) + L);
            FloatVector a2 = FloatVector.fromArray(F, a, ai + k * (4 * L) + 2 * L);
            FloatVector a3 = FloatVector.fromArray(F, a, ai + k * (4 * L) + 3 * L);
            FloatVector b0 = FloatVector.broadcast(F, b[bi + k]);
            c00 = a0.fma(b0, c00);
            c10 = a1.fma(b0, c10);
            c20 = a2.fma(b0, c20);
            c30 = a3.fma(b0, c30);
            FloatVector b1 = FloatVector.broadcast(F, b[bi + k + BLOCK]);
            c01 = a0.fma(b1, c01);
            c11 = a1.fma(b1, c11);
            c21 = a2.fma(b1, c21);
            c31 = a3.fma(b1, c31);
            FloatVector b2 = FloatVector.broadcast(F, b[bi + k + 2 * BLOCK]);
            c02 = a0.fma(b2, c02);
            c12 = a1.fma(b2, c12);
            c22 = a2.fma(b2, c22);
            c32 = a3.fma(b2, c32);
            FloatVector b3 = FloatVector.broadcast(F, b[bi + k + 3 * BLOCK]);
            c03 = a0.fma(b3, c03);
            c13 = a1.fma(b3, c13);
            c23 = a2.fma(b3, c23);
            c33 = a3.fma(b3, c33);
            FloatVector b4 = FloatVector.broadcast(F, b[bi + k + 4 * BLOCK]);
            c04 = a0.fma(b4, c04);
            c14 = a1.fma(b4, c14);
            c24 = a2.fma(b4, c24);
            c34 = a3.fma(b4, c34);
            FloatVector b5 = FloatVector.broadcast(F, b[bi + k + 5 * BLOCK]);
            c05 = a0.fma(b5, c05);
            c15 = a1.fma(b5, c15);
            c25 = a2.fma(b5, c25);
            c35 = a3.fma(b5, c35);
        }
        FloatVector s0 = FloatVector.fromArray(F, scalesA, si);
        FloatVector s1 = FloatVector.fromArray(F, scalesA, si + L);
        FloatVector s2 = FloatVector.fromArray(F, scalesA, si + 2 * L);
        FloatVector s3 = FloatVector.fromArray(F, scalesA, si + 3 * L);
        float t0 = scalesB[n];
        c00.fma(s0.mul(t0), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c10.fma(s1.mul(t0), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        c20.fma(s2.mul(t0), FloatVector.fromArray(F, sums, at + 2 * L)).intoArray(sums, at + 2 * L);
        c30.fma(s3.mul(t0), FloatVector.fromArray(F, sums, at + 3 * L)).intoArray(sums, at + 3 * L);
        at += 4 * L;
        float t1 = scalesB[n + 1];
        c01.fma(s0.mul(t1), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c11.fma(s1.mul(t1), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        c21.fma(s2.mul(t1), FloatVector.fromArray(F, sums, at + 2 * L)).intoArray(sums, at + 2 * L);
        c31.fma(s3.mul(t1), FloatVector.fromArray(F, sums, at + 3 * L)).intoArray(sums, at + 3 * L);
        at += 4 * L;
        float t2 = scalesB[n + 2];
        c02.fma(s0.mul(t2), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c12.fma(s1.mul(t2), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        c22.fma(s2.mul(t2), FloatVector.fromArray(F, sums, at + 2 * L)).intoArray(sums, at + 2 * L);
        c32.fma(s3.mul(t2), FloatVector.fromArray(F, sums, at + 3 * L)).intoArray(sums, at + 3 * L);
        at += 4 * L;
        float t3 = scalesB[n + 3];
        c03.fma(s0.mul(t3), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c13.fma(s1.mul(t3), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        c23.fma(s2.mul(t3), FloatVector.fromArray(F, sums, at + 2 * L)).intoArray(sums, at + 2 * L);
        c33.fma(s3.mul(t3), FloatVector.fromArray(F, sums, at + 3 * L)).intoArray(sums, at + 3 * L);
        at += 4 * L;
        float t4 = scalesB[n + 4];
        c04.fma(s0.mul(t4), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c14.fma(s1.mul(t4), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        c24.fma(s2.mul(t4), FloatVector.fromArray(F, sums, at + 2 * L)).intoArray(sums, at + 2 * L);
        c34.fma(s3.mul(t4), FloatVector.fromArray(F, sums, at + 3 * L)).intoArray(sums, at + 3 * L);
        at += 4 * L;
        float t5 = scalesB[n + 5];
        c05.fma(s0.mul(t5), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c15.fma(s1.mul(t5), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        c25.fma(s2.mul(t5), FloatVector.fromArray(F, sums, at + 2 * L)).intoArray(sums, at + 2 * L);
        c35.fma(s3.mul(t5), FloatVector.fromArray(F, sums, at + 3 * L)).intoArray(sums, at + 3 * L);
    }

    /** 3 vectors of rows by 6 columns. */
    private static void tile3x6(float[] a, int ai, float[] b, int bi, float[] sums, int at, float[] scalesA, int si,
            float[] scalesB, int n) {
        FloatVector c00 = FloatVector.zero(F);
        FloatVector c10 = FloatVector.zero(F);
        FloatVector c20 = FloatVector.zero(F);
        FloatVector c01 = FloatVector.zero(F);
        FloatVector c11 = FloatVector.zero(F);
        FloatVector c21 = FloatVector.zero(F);
        FloatVector c02 = FloatVector.zero(F);
        FloatVector c12 = FloatVector.zero(F);
        FloatVector c22 = FloatVector.zero(F);
        FloatVector c03 = FloatVector.zero(F);
        FloatVector c13 = FloatVector.zero(F);
        FloatVector c23 = FloatVector.zero(F);
        FloatVector c04 = FloatVector.zero(F);
        FloatVector c14 = FloatVector.zero(F);
        FloatVector c24 = FloatVector.zero(F);
        FloatVector c05 = FloatVector.zero(F);
        FloatVector c15 = FloatVector.zero(F);
        FloatVector c25 = FloatVector.zero(F);
        for (int k = 0; k < BLOCK; k++) {
            FloatVector a0 = FloatVector.fromArray(F, a, ai + k * (3 * L));
            FloatVector a1 = FloatVector.fromArray(F, a, ai + k * (3 * L) + L);
            FloatVector a2 = FloatVector.fromArray(F, a, ai + k * (3 * L) + 2 * L);
            FloatVector b0 = FloatVector.broadcast(F, b[bi + k]);
            c00 = a0.fma(b0, c00);
            c10 = a1.fma(b0, c10);
            c20 = a2.fma(b0, c20);
            FloatVector b1 = FloatVector.broadcast(F, b[bi + k + BLOCK]);
            c01 = a0.fma(b1, c01);
            c11 = a1.fma(b1, c11);
            c21 = a2.fma(b1, c21);
            FloatVector b2 = FloatVector.broadcast(F, b[bi + k + 2 * BLOCK]);
            c02 = a0.fma(b2, c02);
            c12 = a1.fma(b2, c12);
            c22 = a2.fma(b2, c22);
            FloatVector b3 = FloatVector.broadcast(F, b[bi + k + 3 * BLOCK]);
            c03 = a0.fma(b3, c03);
            c13 = a1.fma(b3, c13);
            c23 = a2.fma(b3, c23);
            FloatVector b4 = FloatVector.broadcast(F, b[bi + k + 4 * BLOCK]);
            c04 = a0.fma(b4, c04);
            c14 = a1.fma(b4, c14);
            c24 = a2.fma(b4, c24);
            FloatVector b5 = FloatVector.broadcast(F, b[bi + k + 5 * BLOCK]);
            c05 = a0.fma(b5, c05);
            c15 = a1.fma(b5, c15);
            c25 = a2.fma(b5, c25);
        }
        FloatVector s0 = FloatVector.fromArray(F, scalesA, si);
        FloatVector s1 = FloatVector.fromArray(F, scalesA, si + L);
        FloatVector s2 = FloatVector.fromArray(F, scalesA, si + 2 * L);
        float t0 = scalesB[n];
        c00.fma(s0.mul(t0), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c10.fma(s1.mul(t0), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        c20.fma(s2.mul(t0), FloatVector.fromArray(F, sums, at + 2 * L)).intoArray(sums, at + 2 * L);
        at += 3 * L;
        float t1 = scalesB[n + 1];
        c01.fma(s0.mul(t1), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c11.fma(s1.mul(t1), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        c21.fma(s2.mul(t1), FloatVector.fromArray(F, sums, at + 2 * L)).intoArray(sums, at + 2 * L);
        at += 3 * L;
        float t2 = scalesB[n + 2];
        c02.fma(s0.mul(t2), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c12.fma(s1.mul(t2), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        c22.fma(s2.mul(t2), FloatVector.fromArray(F, sums, at + 2 * L)).intoArray(sums, at + 2 * L);
        at += 3 * L;
        float t3 = scalesB[n + 3];
        c03.fma(s0.mul(t3), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c13.fma(s1.mul(t3), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        c23.fma(s2.mul(t3), FloatVector.fromArray(F, sums, at + 2 * L)).intoArray(sums, at + 2 * L);
        at += 3 * L;
        float t4 = scalesB[n + 4];
        c04.fma(s0.mul(t4), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c14.fma(s1.mul(t4), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        c24.fma(s2.mul(t4), FloatVector.fromArray(F, sums, at + 2 * L)).intoArray(sums, at + 2 * L);
        at += 3 * L;
        float t5 = scalesB[n + 5];
        c05.fma(s0.mul(t5), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c15.fma(s1.mul(t5), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        c25.fma(s2.mul(t5), FloatVector.fromArray(F, sums, at + 2 * L)).intoArray(sums, at + 2 * L);
    }

    /** 2 vectors of rows by 12 columns. */
    private static void tile2x12(float[] a, int ai, float[] b, int bi, float[] sums, int at, float[] scalesA, int si,
            float[] scalesB, int n) {
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
        for (int k = 0; k < BLOCK; k++) {
            FloatVector a0 = FloatVector.fromArray(F, a, ai + k * (2 * L));
            FloatVector a1 = FloatVector.fromArray(F, a, ai + k * (2 * L) + L);
            FloatVector b0 = FloatVector.broadcast(F, b[bi + k]);
            c0_0 = a0.fma(b0, c0_0);
            c1_0 = a1.fma(b0, c1_0);
            FloatVector b1 = FloatVector.broadcast(F, b[bi + k + BLOCK]);
            c0_1 = a0.fma(b1, c0_1);
            c1_1 = a1.fma(b1, c1_1);
            FloatVector b2 = FloatVector.broadcast(F, b[bi + k + 2 * BLOCK]);
            c0_2 = a0.fma(b2, c0_2);
            c1_2 = a1.fma(b2, c1_2);
            FloatVector b3 = FloatVector.broadcast(F, b[bi + k + 3 * BLOCK]);
            c0_3 = a0.fma(b3, c0_3);
            c1_3 = a1.fma(b3, c1_3);
            FloatVector b4 = FloatVector.broadcast(F, b[bi + k + 4 * BLOCK]);
            c0_4 = a0.fma(b4, c0_4);
            c1_4 = a1.fma(b4, c1_4);
            FloatVector b5 = FloatVector.broadcast(F, b[bi + k + 5 * BLOCK]);
            c0_5 = a0.fma(b5, c0_5);
            c1_5 = a1.fma(b5, c1_5);
            FloatVector b6 = FloatVector.broadcast(F, b[bi + k + 6 * BLOCK]);
            c0_6 = a0.fma(b6, c0_6);
            c1_6 = a1.fma(b6, c1_6);
            FloatVector b7 = FloatVector.broadcast(F, b[bi + k + 7 * BLOCK]);
            c0_7 = a0.fma(b7, c0_7);
            c1_7 = a1.fma(b7, c1_7);
            FloatVector b8 = FloatVector.broadcast(F, b[bi + k + 8 * BLOCK]);
            c0_8 = a0.fma(b8, c0_8);
            c1_8 = a1.fma(b8, c1_8);
            FloatVector b9 = FloatVector.broadcast(F, b[bi + k + 9 * BLOCK]);
            c0_9 = a0.fma(b9, c0_9);
            c1_9 = a1.fma(b9, c1_9);
            FloatVector b10 = FloatVector.broadcast(F, b[bi + k + 10 * BLOCK]);
            c0_10 = a0.fma(b10, c0_10);
            c1_10 = a1.fma(b10, c1_10);
            FloatVector b11 = FloatVector.broadcast(F, b[bi + k + 11 * BLOCK]);
            c0_11 = a0.fma(b11, c0_11);
            c1_11 = a1.fma(b11, c1_11);
        }
        FloatVector s0 = FloatVector.fromArray(F, scalesA, si);
        FloatVector s1 = FloatVector.fromArray(F, scalesA, si + L);
        float t0 = scalesB[n];
        c0_0.fma(s0.mul(t0), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c1_0.fma(s1.mul(t0), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        at += 2 * L;
        float t1 = scalesB[n + 1];
        c0_1.fma(s0.mul(t1), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c1_1.fma(s1.mul(t1), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        at += 2 * L;
        float t2 = scalesB[n + 2];
        c0_2.fma(s0.mul(t2), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c1_2.fma(s1.mul(t2), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        at += 2 * L;
        float t3 = scalesB[n + 3];
        c0_3.fma(s0.mul(t3), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c1_3.fma(s1.mul(t3), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        at += 2 * L;
        float t4 = scalesB[n + 4];
        c0_4.fma(s0.mul(t4), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c1_4.fma(s1.mul(t4), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        at += 2 * L;
        float t5 = scalesB[n + 5];
        c0_5.fma(s0.mul(t5), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c1_5.fma(s1.mul(t5), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        at += 2 * L;
        float t6 = scalesB[n + 6];
        c0_6.fma(s0.mul(t6), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c1_6.fma(s1.mul(t6), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        at += 2 * L;
        float t7 = scalesB[n + 7];
        c0_7.fma(s0.mul(t7), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c1_7.fma(s1.mul(t7), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        at += 2 * L;
        float t8 = scalesB[n + 8];
        c0_8.fma(s0.mul(t8), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c1_8.fma(s1.mul(t8), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        at += 2 * L;
        float t9 = scalesB[n + 9];
        c0_9.fma(s0.mul(t9), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c1_9.fma(s1.mul(t9), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        at += 2 * L;
        float t10 = scalesB[n + 10];
        c0_10.fma(s0.mul(t10), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c1_10.fma(s1.mul(t10), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        at += 2 * L;
        float t11 = scalesB[n + 11];
        c0_11.fma(s0.mul(t11), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c1_11.fma(s1.mul(t11), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
    }

    /** 1 vector of rows by 24 columns. */
    private static void tile1x24(float[] a, int ai, float[] b, int bi, float[] sums, int at, float[] scalesA, int si,
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
            FloatVector b12 = FloatVector.broadcast(F, b[bi + k + 12 * BLOCK]);
            c0_12 = a0.fma(b12, c0_12);
            FloatVector b13 = FloatVector.broadcast(F, b[bi + k + 13 * BLOCK]);
            c0_13 = a0.fma(b13, c0_13);
            FloatVector b14 = FloatVector.broadcast(F, b[bi + k + 14 * BLOCK]);
            c0_14 = a0.fma(b14, c0_14);
            FloatVector b15 = FloatVector.broadcast(F, b[bi + k + 15 * BLOCK]);
            c0_15 = a0.fma(b15, c0_15);
            FloatVector b16 = FloatVector.broadcast(F, b[bi + k + 16 * BLOCK]);
            c0_16 = a0.fma(b16, c0_16);
            FloatVector b17 = FloatVector.broadcast(F, b[bi + k + 17 * BLOCK]);
            c0_17 = a0.fma(b17, c0_17);
            FloatVector b18 = FloatVector.broadcast(F, b[bi + k + 18 * BLOCK]);
            c0_18 = a0.fma(b18, c0_18);
            FloatVector b19 = FloatVector.broadcast(F, b[bi + k + 19 * BLOCK]);
            c0_19 = a0.fma(b19, c0_19);
            FloatVector b20 = FloatVector.broadcast(F, b[bi + k + 20 * BLOCK]);
            c0_20 = a0.fma(b20, c0_20);
            FloatVector b21 = FloatVector.broadcast(F, b[bi + k + 21 * BLOCK]);
            c0_21 = a0.fma(b21, c0_21);
            FloatVector b22 = FloatVector.broadcast(F, b[bi + k + 22 * BLOCK]);
            c0_22 = a0.fma(b22, c0_22);
            FloatVector b23 = FloatVector.broadcast(F, b[bi + k + 23 * BLOCK]);
            c0_23 = a0.fma(b23, c0_23);
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
        at += L;
        float t12 = scalesB[n + 12];
        c0_12.fma(s0.mul(t12), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t13 = scalesB[n + 13];
        c0_13.fma(s0.mul(t13), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t14 = scalesB[n + 14];
        c0_14.fma(s0.mul(t14), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t15 = scalesB[n + 15];
        c0_15.fma(s0.mul(t15), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t16 = scalesB[n + 16];
        c0_16.fma(s0.mul(t16), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t17 = scalesB[n + 17];
        c0_17.fma(s0.mul(t17), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t18 = scalesB[n + 18];
        c0_18.fma(s0.mul(t18), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t19 = scalesB[n + 19];
        c0_19.fma(s0.mul(t19), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t20 = scalesB[n + 20];
        c0_20.fma(s0.mul(t20), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t21 = scalesB[n + 21];
        c0_21.fma(s0.mul(t21), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t22 = scalesB[n + 22];
        c0_22.fma(s0.mul(t22), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        at += L;
        float t23 = scalesB[n + 23];
        c0_23.fma(s0.mul(t23), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
    }
}
