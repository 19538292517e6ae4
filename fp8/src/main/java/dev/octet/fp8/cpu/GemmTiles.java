package dev.octet.fp8.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The inner loops of the tiled GEMM: over one block of 128 along K, a tile of rows of A times columns (rows of B), then
 * the promotion of the block's sums into the running ones.
 *
 * <pre>
 * a        float[128 k][V vectors of rows]     packed A, contiguous
 * b        float[column][128 k]                decoded B; a tile reads neighbouring columns
 * sums     float[column][V vectors of rows]    += block sum * (scalesA[row] * scalesB[column])
 * </pre>
 *
 * <p>Lanes run along the rows of A, so that B, the large operand, is decoded where it lies, and each of its values is
 * broadcast by the load itself. Registers: 24 accumulators, 4 vectors of A, 1 of B, out of 32.
 *
 * <p>Why the code looks as it does, all seen on JDK 25:
 * <ul>
 *   <li>One method is one kernel with named accumulators: a vector that crosses a method boundary is boxed.
 *   <li>The loop counts an address. An {@code int} counter costs a pre-loop, a post-loop and strip mining: 0.93 of the
 *       FMA peak instead of 0.95.
 *   <li>{@code sums} is a Java array although all else is native: C1 fails on a method with some 60 segment accesses
 *       ("out of virtual registers"), and a method that C1 fails on at tier 3 after it has reached tier 2 is never
 *       given to C2: the kernel then runs at a hundredth of its speed. Array accesses are far lighter for C1.
 *   <li>Unrolling by hand makes it slower: C2 then hoists addresses and spills accumulators.
 * </ul>
 */
final class GemmTiles {
    private static final VectorSpecies<Float> F = Lanes.F;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final int L = Lanes.COUNT;
    private static final long V = 4L * L;
    private static final long ROW = 4 * 128;

    /** Vectors of rows in a full panel of A: as many as the registers hold; 512-bit machines have twice as many. */
    static final int PANEL_VECTORS = L >= 16 ? 4 : 2;
    /** Columns are swept in groups of this many, which every tile width divides. */
    static final int COLUMN_GROUP = 12;

    private GemmTiles() {}

    /**
     * Sweeps one panel of A over the columns of one decoded block of B.
     *
     * @param vectors vectors of rows in the panel, 1 to {@link #PANEL_VECTORS}
     * @param a address of the panel, {@code float[128][vectors * L]}
     * @param b address of the block, {@code float[columns][128]}
     * @param columns a multiple of {@link #COLUMN_GROUP}
     * @param sums running sums
     * @param at where the panel's begin, {@code [columns][vectors * L]}
     * @param scalesA address of the panel's scales, {@code float[vectors * L]}
     * @param scalesB the columns' scales
     */
    static void sweep(int vectors, long a, long b, int columns, float[] sums, int at, long scalesA, float[] scalesB) {
        switch (vectors) {
            case 4 -> {
                for (int n = 0; n < columns; n += 6) {
                    tile4x6(a, b + n * ROW, sums, at + n * 4 * L, scalesA, scalesB, n);
                }
            }
            case 3 -> {
                for (int n = 0; n < columns; n += 6) {
                    tile3x6(a, b + n * ROW, sums, at + n * 3 * L, scalesA, scalesB, n);
                }
            }
            case 2 -> {
                if (PANEL_VECTORS == 2) {
                    for (int n = 0; n < columns; n += 6) {
                        tile2x6(a, b + n * ROW, sums, at + n * 2 * L, scalesA, scalesB, n);
                    }
                } else {
                    for (int n = 0; n < columns; n += 12) {
                        tile2x12(a, b + n * ROW, sums, at + n * 2 * L, scalesA, scalesB, n);
                    }
                }
            }
            default -> {
                for (int n = 0; n < columns; n += 12) {
                    tile1x12(a, b + n * ROW, sums, at + n * L, scalesA, scalesB, n);
                }
            }
        }
    }

    /** 4 vectors of rows by 6 columns. */
    private static void tile4x6(long a, long b, float[] sums, int at, long scalesA, float[] scalesB, int n) {
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
        for (long end = b + ROW; b < end; b += 4) {
            FloatVector a0 = FloatVector.fromMemorySegment(F, ALL, a, LE);
            FloatVector a1 = FloatVector.fromMemorySegment(F, ALL, a + V, LE);
            FloatVector a2 = FloatVector.fromMemorySegment(F, ALL, a + 2 * V, LE);
            FloatVector a3 = FloatVector.fromMemorySegment(F, ALL, a + 3 * V, LE);
            FloatVector b0 = FloatVector.broadcast(F, ALL.get(F32, b));
            c00 = a0.fma(b0, c00);
            c10 = a1.fma(b0, c10);
            c20 = a2.fma(b0, c20);
            c30 = a3.fma(b0, c30);
            FloatVector b1 = FloatVector.broadcast(F, ALL.get(F32, b + ROW));
            c01 = a0.fma(b1, c01);
            c11 = a1.fma(b1, c11);
            c21 = a2.fma(b1, c21);
            c31 = a3.fma(b1, c31);
            FloatVector b2 = FloatVector.broadcast(F, ALL.get(F32, b + 2 * ROW));
            c02 = a0.fma(b2, c02);
            c12 = a1.fma(b2, c12);
            c22 = a2.fma(b2, c22);
            c32 = a3.fma(b2, c32);
            FloatVector b3 = FloatVector.broadcast(F, ALL.get(F32, b + 3 * ROW));
            c03 = a0.fma(b3, c03);
            c13 = a1.fma(b3, c13);
            c23 = a2.fma(b3, c23);
            c33 = a3.fma(b3, c33);
            FloatVector b4 = FloatVector.broadcast(F, ALL.get(F32, b + 4 * ROW));
            c04 = a0.fma(b4, c04);
            c14 = a1.fma(b4, c14);
            c24 = a2.fma(b4, c24);
            c34 = a3.fma(b4, c34);
            FloatVector b5 = FloatVector.broadcast(F, ALL.get(F32, b + 5 * ROW));
            c05 = a0.fma(b5, c05);
            c15 = a1.fma(b5, c15);
            c25 = a2.fma(b5, c25);
            c35 = a3.fma(b5, c35);
            a += 4 * V;
        }
        FloatVector s0 = FloatVector.fromMemorySegment(F, ALL, scalesA, LE);
        FloatVector s1 = FloatVector.fromMemorySegment(F, ALL, scalesA + V, LE);
        FloatVector s2 = FloatVector.fromMemorySegment(F, ALL, scalesA + 2 * V, LE);
        FloatVector s3 = FloatVector.fromMemorySegment(F, ALL, scalesA + 3 * V, LE);
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
    private static void tile3x6(long a, long b, float[] sums, int at, long scalesA, float[] scalesB, int n) {
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
        for (long end = b + ROW; b < end; b += 4) {
            FloatVector a0 = FloatVector.fromMemorySegment(F, ALL, a, LE);
            FloatVector a1 = FloatVector.fromMemorySegment(F, ALL, a + V, LE);
            FloatVector a2 = FloatVector.fromMemorySegment(F, ALL, a + 2 * V, LE);
            FloatVector b0 = FloatVector.broadcast(F, ALL.get(F32, b));
            c00 = a0.fma(b0, c00);
            c10 = a1.fma(b0, c10);
            c20 = a2.fma(b0, c20);
            FloatVector b1 = FloatVector.broadcast(F, ALL.get(F32, b + ROW));
            c01 = a0.fma(b1, c01);
            c11 = a1.fma(b1, c11);
            c21 = a2.fma(b1, c21);
            FloatVector b2 = FloatVector.broadcast(F, ALL.get(F32, b + 2 * ROW));
            c02 = a0.fma(b2, c02);
            c12 = a1.fma(b2, c12);
            c22 = a2.fma(b2, c22);
            FloatVector b3 = FloatVector.broadcast(F, ALL.get(F32, b + 3 * ROW));
            c03 = a0.fma(b3, c03);
            c13 = a1.fma(b3, c13);
            c23 = a2.fma(b3, c23);
            FloatVector b4 = FloatVector.broadcast(F, ALL.get(F32, b + 4 * ROW));
            c04 = a0.fma(b4, c04);
            c14 = a1.fma(b4, c14);
            c24 = a2.fma(b4, c24);
            FloatVector b5 = FloatVector.broadcast(F, ALL.get(F32, b + 5 * ROW));
            c05 = a0.fma(b5, c05);
            c15 = a1.fma(b5, c15);
            c25 = a2.fma(b5, c25);
            a += 3 * V;
        }
        FloatVector s0 = FloatVector.fromMemorySegment(F, ALL, scalesA, LE);
        FloatVector s1 = FloatVector.fromMemorySegment(F, ALL, scalesA + V, LE);
        FloatVector s2 = FloatVector.fromMemorySegment(F, ALL, scalesA + 2 * V, LE);
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
    private static void tile2x12(long a, long b, float[] sums, int at, long scalesA, float[] scalesB, int n) {
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
        for (long end = b + ROW; b < end; b += 4) {
            FloatVector a0 = FloatVector.fromMemorySegment(F, ALL, a, LE);
            FloatVector a1 = FloatVector.fromMemorySegment(F, ALL, a + V, LE);
            FloatVector b0 = FloatVector.broadcast(F, ALL.get(F32, b));
            c0_0 = a0.fma(b0, c0_0);
            c1_0 = a1.fma(b0, c1_0);
            FloatVector b1 = FloatVector.broadcast(F, ALL.get(F32, b + ROW));
            c0_1 = a0.fma(b1, c0_1);
            c1_1 = a1.fma(b1, c1_1);
            FloatVector b2 = FloatVector.broadcast(F, ALL.get(F32, b + 2 * ROW));
            c0_2 = a0.fma(b2, c0_2);
            c1_2 = a1.fma(b2, c1_2);
            FloatVector b3 = FloatVector.broadcast(F, ALL.get(F32, b + 3 * ROW));
            c0_3 = a0.fma(b3, c0_3);
            c1_3 = a1.fma(b3, c1_3);
            FloatVector b4 = FloatVector.broadcast(F, ALL.get(F32, b + 4 * ROW));
            c0_4 = a0.fma(b4, c0_4);
            c1_4 = a1.fma(b4, c1_4);
            FloatVector b5 = FloatVector.broadcast(F, ALL.get(F32, b + 5 * ROW));
            c0_5 = a0.fma(b5, c0_5);
            c1_5 = a1.fma(b5, c1_5);
            FloatVector b6 = FloatVector.broadcast(F, ALL.get(F32, b + 6 * ROW));
            c0_6 = a0.fma(b6, c0_6);
            c1_6 = a1.fma(b6, c1_6);
            FloatVector b7 = FloatVector.broadcast(F, ALL.get(F32, b + 7 * ROW));
            c0_7 = a0.fma(b7, c0_7);
            c1_7 = a1.fma(b7, c1_7);
            FloatVector b8 = FloatVector.broadcast(F, ALL.get(F32, b + 8 * ROW));
            c0_8 = a0.fma(b8, c0_8);
            c1_8 = a1.fma(b8, c1_8);
            FloatVector b9 = FloatVector.broadcast(F, ALL.get(F32, b + 9 * ROW));
            c0_9 = a0.fma(b9, c0_9);
            c1_9 = a1.fma(b9, c1_9);
            FloatVector b10 = FloatVector.broadcast(F, ALL.get(F32, b + 10 * ROW));
            c0_10 = a0.fma(b10, c0_10);
            c1_10 = a1.fma(b10, c1_10);
            FloatVector b11 = FloatVector.broadcast(F, ALL.get(F32, b + 11 * ROW));
            c0_11 = a0.fma(b11, c0_11);
            c1_11 = a1.fma(b11, c1_11);
            a += 2 * V;
        }
        FloatVector s0 = FloatVector.fromMemorySegment(F, ALL, scalesA, LE);
        FloatVector s1 = FloatVector.fromMemorySegment(F, ALL, scalesA + V, LE);
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

    /** 2 vectors of rows by 6 columns. */
    private static void tile2x6(long a, long b, float[] sums, int at, long scalesA, float[] scalesB, int n) {
        FloatVector c00 = FloatVector.zero(F);
        FloatVector c10 = FloatVector.zero(F);
        FloatVector c01 = FloatVector.zero(F);
        FloatVector c11 = FloatVector.zero(F);
        FloatVector c02 = FloatVector.zero(F);
        FloatVector c12 = FloatVector.zero(F);
        FloatVector c03 = FloatVector.zero(F);
        FloatVector c13 = FloatVector.zero(F);
        FloatVector c04 = FloatVector.zero(F);
        FloatVector c14 = FloatVector.zero(F);
        FloatVector c05 = FloatVector.zero(F);
        FloatVector c15 = FloatVector.zero(F);
        for (long end = b + ROW; b < end; b += 4) {
            FloatVector a0 = FloatVector.fromMemorySegment(F, ALL, a, LE);
            FloatVector a1 = FloatVector.fromMemorySegment(F, ALL, a + V, LE);
            FloatVector b0 = FloatVector.broadcast(F, ALL.get(F32, b));
            c00 = a0.fma(b0, c00);
            c10 = a1.fma(b0, c10);
            FloatVector b1 = FloatVector.broadcast(F, ALL.get(F32, b + ROW));
            c01 = a0.fma(b1, c01);
            c11 = a1.fma(b1, c11);
            FloatVector b2 = FloatVector.broadcast(F, ALL.get(F32, b + 2 * ROW));
            c02 = a0.fma(b2, c02);
            c12 = a1.fma(b2, c12);
            FloatVector b3 = FloatVector.broadcast(F, ALL.get(F32, b + 3 * ROW));
            c03 = a0.fma(b3, c03);
            c13 = a1.fma(b3, c13);
            FloatVector b4 = FloatVector.broadcast(F, ALL.get(F32, b + 4 * ROW));
            c04 = a0.fma(b4, c04);
            c14 = a1.fma(b4, c14);
            FloatVector b5 = FloatVector.broadcast(F, ALL.get(F32, b + 5 * ROW));
            c05 = a0.fma(b5, c05);
            c15 = a1.fma(b5, c15);
            a += 2 * V;
        }
        FloatVector s0 = FloatVector.fromMemorySegment(F, ALL, scalesA, LE);
        FloatVector s1 = FloatVector.fromMemorySegment(F, ALL, scalesA + V, LE);
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
        at += 2 * L;
        float t4 = scalesB[n + 4];
        c04.fma(s0.mul(t4), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c14.fma(s1.mul(t4), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
        at += 2 * L;
        float t5 = scalesB[n + 5];
        c05.fma(s0.mul(t5), FloatVector.fromArray(F, sums, at)).intoArray(sums, at);
        c15.fma(s1.mul(t5), FloatVector.fromArray(F, sums, at + L)).intoArray(sums, at + L);
    }

    /** 1 vectors of rows by 12 columns. */
    private static void tile1x12(long a, long b, float[] sums, int at, long scalesA, float[] scalesB, int n) {
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
        for (long end = b + ROW; b < end; b += 4) {
            FloatVector a0 = FloatVector.fromMemorySegment(F, ALL, a, LE);
            FloatVector b0 = FloatVector.broadcast(F, ALL.get(F32, b));
            c0_0 = a0.fma(b0, c0_0);
            FloatVector b1 = FloatVector.broadcast(F, ALL.get(F32, b + ROW));
            c0_1 = a0.fma(b1, c0_1);
            FloatVector b2 = FloatVector.broadcast(F, ALL.get(F32, b + 2 * ROW));
            c0_2 = a0.fma(b2, c0_2);
            FloatVector b3 = FloatVector.broadcast(F, ALL.get(F32, b + 3 * ROW));
            c0_3 = a0.fma(b3, c0_3);
            FloatVector b4 = FloatVector.broadcast(F, ALL.get(F32, b + 4 * ROW));
            c0_4 = a0.fma(b4, c0_4);
            FloatVector b5 = FloatVector.broadcast(F, ALL.get(F32, b + 5 * ROW));
            c0_5 = a0.fma(b5, c0_5);
            FloatVector b6 = FloatVector.broadcast(F, ALL.get(F32, b + 6 * ROW));
            c0_6 = a0.fma(b6, c0_6);
            FloatVector b7 = FloatVector.broadcast(F, ALL.get(F32, b + 7 * ROW));
            c0_7 = a0.fma(b7, c0_7);
            FloatVector b8 = FloatVector.broadcast(F, ALL.get(F32, b + 8 * ROW));
            c0_8 = a0.fma(b8, c0_8);
            FloatVector b9 = FloatVector.broadcast(F, ALL.get(F32, b + 9 * ROW));
            c0_9 = a0.fma(b9, c0_9);
            FloatVector b10 = FloatVector.broadcast(F, ALL.get(F32, b + 10 * ROW));
            c0_10 = a0.fma(b10, c0_10);
            FloatVector b11 = FloatVector.broadcast(F, ALL.get(F32, b + 11 * ROW));
            c0_11 = a0.fma(b11, c0_11);
            a += V;
        }
        FloatVector s0 = FloatVector.fromMemorySegment(F, ALL, scalesA, LE);
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
