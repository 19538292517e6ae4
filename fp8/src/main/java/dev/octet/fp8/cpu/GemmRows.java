package dev.octet.fp8.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;
import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.OR;

import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The inner loops of the GEMM for few rows of A, where the bytes of B are the limit: E4M3 codes of B are decoded in
 * registers and never written out.
 *
 * <pre>
 * a        float[m][groups * 4 L]        decoded A in packed order
 * b        byte[r][groups * 4 L]         codes of B, rows strideB apart
 * scales   float[group][MAX_ROWS]        scaleA * scaleB of each group, row m of A (+ r * scaleStride: row r of B)
 * sums     float[r][m][L]                lane sums, += group sum * scale
 * </pre>
 *
 * <p>Lanes run along K. A vector of L ints holds 4 L codes; the top byte of each is decoded by a shift and a mask, then
 * the next byte is shifted up. So the codes 4 c + 3, c = 0..L-1, come first, then 4 c + 2 and so on: that is the packed
 * order, and A is stored in it, so that no code is ever moved to another lane. The integer operations run beside the
 * FMAs, on other pipes.
 *
 * <p>Sums are promoted after each group of 4 L codes, not after each block of 128: with 512-bit vectors a block is two
 * groups, and a loop of two inside the loop over blocks was compiled into code four times as slow.
 *
 * <p>Two or four rows of B share the loads of A. They should lie far apart and each be followed by the next row of the
 * same stream, so that the hardware sees long streams: with two, four or more rows that are neighbours every stream
 * ends with its row, and the read bandwidth of a Zen 5 core falls from 29 to 11 GB/s. Four such streams are faster than
 * two.
 *
 * <p>A code decoded so is 2^-120 too small and a NaN looks like 480. The first is made good by A, which carries the
 * factor; for the second the kernels look at each code's magnitude and report whether there was a NaN.
 */
final class GemmRows {
    private static final VectorSpecies<Float> F = Lanes.F;
    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    private static final int L = Lanes.COUNT;
    private static final long V = 4L * L;
    /** Sign, exponent and mantissa after an arithmetic shift of a code from the top byte by 4. */
    private static final int E4M3 = 0x87F0_0000;
    private static final int MAGNITUDES = 0x7F7F_7F7F;
    private static final int ONES = 0x0101_0101;
    private static final int SIGNS = 0x8080_8080;

    /** Rows of A that a call may have. */
    static final int MAX_ROWS = 4;
    /** Codes in a group, and groups in a block of 128. */
    static final int GROUP = 4 * L;
    static final int GROUPS = 128 / GROUP;

    private GemmRows() {}

    /** {@return rows of B that a call takes with so many rows of A: as many as registers allow} */
    static int rowsB(int rowsA) {
        return rowsA <= 2 ? 4 : 2;
    }

    /**
     * Multiplies rows of A with rows of B over whole blocks.
     *
     * @param rowsA rows of A: 1, 2 or 4
     * @param a address of A
     * @param strideA bytes from one row of A to the next
     * @param b address of the first code of {@link #rowsB} rows
     * @param strideB bytes from one row of B to the next
     * @param groups groups of {@link #GROUP} codes along K
     * @param scales the products of the scales
     * @param scaleStride floats from the scales of one row of B to the next's; 0 if they share theirs
     * @param sums lane sums
     * @param at where they begin
     * @return whether a code of B is a NaN
     */
    static boolean multiply(int rowsA, long a, long strideA, long b, long strideB, int groups, float[] scales,
            int scaleStride, float[] sums, int at) {
        return switch (rowsA) {
            case 1 -> rows1x4(a, strideA, b, strideB, groups, scales, scaleStride, sums, at);
            case 2 -> rows2x4(a, strideA, b, strideB, groups, scales, scaleStride, sums, at);
            default -> rows4x2(a, strideA, b, strideB, groups, scales, scaleStride, sums, at);
        };
    }

    /** 1 row of A, 4 rows of B. */
    private static boolean rows1x4(long a, long strideA, long b, long strideB, int groups, float[] scales,
            int scaleStride, float[] sums, int at) {
        IntVector seen = IntVector.zero(I);
        FloatVector s00 = FloatVector.fromArray(F, sums, at);
        FloatVector s01 = FloatVector.fromArray(F, sums, at + L);
        FloatVector s02 = FloatVector.fromArray(F, sums, at + 2 * L);
        FloatVector s03 = FloatVector.fromArray(F, sums, at + 3 * L);
        long b1 = b + strideB;
        long b2 = b1 + strideB;
        long b3 = b2 + strideB;
        for (int g = 0; g < groups; g++) {
            long o = g * V;
            long p = 4 * o;
            int scale = g * MAX_ROWS;
            IntVector w0 = IntVector.fromMemorySegment(I, ALL, b + o, LE);
            seen = seen.or(w0.and(MAGNITUDES).add(ONES));
            IntVector w1 = IntVector.fromMemorySegment(I, ALL, b1 + o, LE);
            seen = seen.or(w1.and(MAGNITUDES).add(ONES));
            IntVector w2 = IntVector.fromMemorySegment(I, ALL, b2 + o, LE);
            seen = seen.or(w2.and(MAGNITUDES).add(ONES));
            IntVector w3 = IntVector.fromMemorySegment(I, ALL, b3 + o, LE);
            seen = seen.or(w3.and(MAGNITUDES).add(ONES));
            FloatVector x00 = FloatVector.fromMemorySegment(F, ALL, a + p, LE);
            FloatVector y00 = w0.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            FloatVector c00 = x00.mul(y00);
            FloatVector y10 = w1.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            FloatVector c01 = x00.mul(y10);
            FloatVector y20 = w2.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            FloatVector c02 = x00.mul(y20);
            FloatVector y30 = w3.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            FloatVector c03 = x00.mul(y30);
            FloatVector x01 = FloatVector.fromMemorySegment(F, ALL, a + p + V, LE);
            FloatVector y01 = w0.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c00 = x01.fma(y01, c00);
            FloatVector y11 = w1.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c01 = x01.fma(y11, c01);
            FloatVector y21 = w2.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c02 = x01.fma(y21, c02);
            FloatVector y31 = w3.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c03 = x01.fma(y31, c03);
            FloatVector x02 = FloatVector.fromMemorySegment(F, ALL, a + p + 2 * V, LE);
            FloatVector y02 = w0.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c00 = x02.fma(y02, c00);
            FloatVector y12 = w1.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c01 = x02.fma(y12, c01);
            FloatVector y22 = w2.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c02 = x02.fma(y22, c02);
            FloatVector y32 = w3.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c03 = x02.fma(y32, c03);
            FloatVector x03 = FloatVector.fromMemorySegment(F, ALL, a + p + 3 * V, LE);
            FloatVector y03 = w0.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c00 = x03.fma(y03, c00);
            FloatVector y13 = w1.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c01 = x03.fma(y13, c01);
            FloatVector y23 = w2.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c02 = x03.fma(y23, c02);
            FloatVector y33 = w3.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c03 = x03.fma(y33, c03);
            s00 = c00.fma(FloatVector.broadcast(F, scales[scale]), s00);
            scale += scaleStride;
            s01 = c01.fma(FloatVector.broadcast(F, scales[scale]), s01);
            scale += scaleStride;
            s02 = c02.fma(FloatVector.broadcast(F, scales[scale]), s02);
            scale += scaleStride;
            s03 = c03.fma(FloatVector.broadcast(F, scales[scale]), s03);
        }
        s00.intoArray(sums, at);
        s01.intoArray(sums, at + L);
        s02.intoArray(sums, at + 2 * L);
        s03.intoArray(sums, at + 3 * L);
        return seen.and(SIGNS).reduceLanes(OR) != 0;
    }

    /** 2 rows of A, 4 rows of B. */
    private static boolean rows2x4(long a, long strideA, long b, long strideB, int groups, float[] scales,
            int scaleStride, float[] sums, int at) {
        IntVector seen = IntVector.zero(I);
        FloatVector s00 = FloatVector.fromArray(F, sums, at);
        FloatVector s10 = FloatVector.fromArray(F, sums, at + L);
        FloatVector s01 = FloatVector.fromArray(F, sums, at + 2 * L);
        FloatVector s11 = FloatVector.fromArray(F, sums, at + 3 * L);
        FloatVector s02 = FloatVector.fromArray(F, sums, at + 4 * L);
        FloatVector s12 = FloatVector.fromArray(F, sums, at + 5 * L);
        FloatVector s03 = FloatVector.fromArray(F, sums, at + 6 * L);
        FloatVector s13 = FloatVector.fromArray(F, sums, at + 7 * L);
        long b1 = b + strideB;
        long b2 = b1 + strideB;
        long b3 = b2 + strideB;
        long a1 = a + strideA;
        for (int g = 0; g < groups; g++) {
            long o = g * V;
            long p = 4 * o;
            int scale = g * MAX_ROWS;
            IntVector w0 = IntVector.fromMemorySegment(I, ALL, b + o, LE);
            seen = seen.or(w0.and(MAGNITUDES).add(ONES));
            IntVector w1 = IntVector.fromMemorySegment(I, ALL, b1 + o, LE);
            seen = seen.or(w1.and(MAGNITUDES).add(ONES));
            IntVector w2 = IntVector.fromMemorySegment(I, ALL, b2 + o, LE);
            seen = seen.or(w2.and(MAGNITUDES).add(ONES));
            IntVector w3 = IntVector.fromMemorySegment(I, ALL, b3 + o, LE);
            seen = seen.or(w3.and(MAGNITUDES).add(ONES));
            FloatVector x00 = FloatVector.fromMemorySegment(F, ALL, a + p, LE);
            FloatVector x10 = FloatVector.fromMemorySegment(F, ALL, a1 + p, LE);
            FloatVector y00 = w0.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            FloatVector c00 = x00.mul(y00);
            FloatVector c10 = x10.mul(y00);
            FloatVector y10 = w1.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            FloatVector c01 = x00.mul(y10);
            FloatVector c11 = x10.mul(y10);
            FloatVector y20 = w2.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            FloatVector c02 = x00.mul(y20);
            FloatVector c12 = x10.mul(y20);
            FloatVector y30 = w3.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            FloatVector c03 = x00.mul(y30);
            FloatVector c13 = x10.mul(y30);
            FloatVector x01 = FloatVector.fromMemorySegment(F, ALL, a + p + V, LE);
            FloatVector x11 = FloatVector.fromMemorySegment(F, ALL, a1 + p + V, LE);
            FloatVector y01 = w0.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c00 = x01.fma(y01, c00);
            c10 = x11.fma(y01, c10);
            FloatVector y11 = w1.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c01 = x01.fma(y11, c01);
            c11 = x11.fma(y11, c11);
            FloatVector y21 = w2.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c02 = x01.fma(y21, c02);
            c12 = x11.fma(y21, c12);
            FloatVector y31 = w3.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c03 = x01.fma(y31, c03);
            c13 = x11.fma(y31, c13);
            FloatVector x02 = FloatVector.fromMemorySegment(F, ALL, a + p + 2 * V, LE);
            FloatVector x12 = FloatVector.fromMemorySegment(F, ALL, a1 + p + 2 * V, LE);
            FloatVector y02 = w0.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c00 = x02.fma(y02, c00);
            c10 = x12.fma(y02, c10);
            FloatVector y12 = w1.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c01 = x02.fma(y12, c01);
            c11 = x12.fma(y12, c11);
            FloatVector y22 = w2.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c02 = x02.fma(y22, c02);
            c12 = x12.fma(y22, c12);
            FloatVector y32 = w3.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c03 = x02.fma(y32, c03);
            c13 = x12.fma(y32, c13);
            FloatVector x03 = FloatVector.fromMemorySegment(F, ALL, a + p + 3 * V, LE);
            FloatVector x13 = FloatVector.fromMemorySegment(F, ALL, a1 + p + 3 * V, LE);
            FloatVector y03 = w0.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c00 = x03.fma(y03, c00);
            c10 = x13.fma(y03, c10);
            FloatVector y13 = w1.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c01 = x03.fma(y13, c01);
            c11 = x13.fma(y13, c11);
            FloatVector y23 = w2.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c02 = x03.fma(y23, c02);
            c12 = x13.fma(y23, c12);
            FloatVector y33 = w3.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c03 = x03.fma(y33, c03);
            c13 = x13.fma(y33, c13);
            s00 = c00.fma(FloatVector.broadcast(F, scales[scale]), s00);
            s10 = c10.fma(FloatVector.broadcast(F, scales[scale + 1]), s10);
            scale += scaleStride;
            s01 = c01.fma(FloatVector.broadcast(F, scales[scale]), s01);
            s11 = c11.fma(FloatVector.broadcast(F, scales[scale + 1]), s11);
            scale += scaleStride;
            s02 = c02.fma(FloatVector.broadcast(F, scales[scale]), s02);
            s12 = c12.fma(FloatVector.broadcast(F, scales[scale + 1]), s12);
            scale += scaleStride;
            s03 = c03.fma(FloatVector.broadcast(F, scales[scale]), s03);
            s13 = c13.fma(FloatVector.broadcast(F, scales[scale + 1]), s13);
        }
        s00.intoArray(sums, at);
        s10.intoArray(sums, at + L);
        s01.intoArray(sums, at + 2 * L);
        s11.intoArray(sums, at + 3 * L);
        s02.intoArray(sums, at + 4 * L);
        s12.intoArray(sums, at + 5 * L);
        s03.intoArray(sums, at + 6 * L);
        s13.intoArray(sums, at + 7 * L);
        return seen.and(SIGNS).reduceLanes(OR) != 0;
    }

    /** 4 rows of A, 2 rows of B. */
    private static boolean rows4x2(long a, long strideA, long b, long strideB, int groups, float[] scales,
            int scaleStride, float[] sums, int at) {
        IntVector seen = IntVector.zero(I);
        FloatVector s00 = FloatVector.fromArray(F, sums, at);
        FloatVector s10 = FloatVector.fromArray(F, sums, at + L);
        FloatVector s20 = FloatVector.fromArray(F, sums, at + 2 * L);
        FloatVector s30 = FloatVector.fromArray(F, sums, at + 3 * L);
        FloatVector s01 = FloatVector.fromArray(F, sums, at + 4 * L);
        FloatVector s11 = FloatVector.fromArray(F, sums, at + 5 * L);
        FloatVector s21 = FloatVector.fromArray(F, sums, at + 6 * L);
        FloatVector s31 = FloatVector.fromArray(F, sums, at + 7 * L);
        long b1 = b + strideB;
        long a1 = a + strideA;
        long a2 = a1 + strideA;
        long a3 = a2 + strideA;
        for (int g = 0; g < groups; g++) {
            long o = g * V;
            long p = 4 * o;
            int scale = g * MAX_ROWS;
            IntVector w0 = IntVector.fromMemorySegment(I, ALL, b + o, LE);
            seen = seen.or(w0.and(MAGNITUDES).add(ONES));
            IntVector w1 = IntVector.fromMemorySegment(I, ALL, b1 + o, LE);
            seen = seen.or(w1.and(MAGNITUDES).add(ONES));
            FloatVector x00 = FloatVector.fromMemorySegment(F, ALL, a + p, LE);
            FloatVector x10 = FloatVector.fromMemorySegment(F, ALL, a1 + p, LE);
            FloatVector x20 = FloatVector.fromMemorySegment(F, ALL, a2 + p, LE);
            FloatVector x30 = FloatVector.fromMemorySegment(F, ALL, a3 + p, LE);
            FloatVector y00 = w0.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            FloatVector c00 = x00.mul(y00);
            FloatVector c10 = x10.mul(y00);
            FloatVector c20 = x20.mul(y00);
            FloatVector c30 = x30.mul(y00);
            FloatVector y10 = w1.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            FloatVector c01 = x00.mul(y10);
            FloatVector c11 = x10.mul(y10);
            FloatVector c21 = x20.mul(y10);
            FloatVector c31 = x30.mul(y10);
            FloatVector x01 = FloatVector.fromMemorySegment(F, ALL, a + p + V, LE);
            FloatVector x11 = FloatVector.fromMemorySegment(F, ALL, a1 + p + V, LE);
            FloatVector x21 = FloatVector.fromMemorySegment(F, ALL, a2 + p + V, LE);
            FloatVector x31 = FloatVector.fromMemorySegment(F, ALL, a3 + p + V, LE);
            FloatVector y01 = w0.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c00 = x01.fma(y01, c00);
            c10 = x11.fma(y01, c10);
            c20 = x21.fma(y01, c20);
            c30 = x31.fma(y01, c30);
            FloatVector y11 = w1.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c01 = x01.fma(y11, c01);
            c11 = x11.fma(y11, c11);
            c21 = x21.fma(y11, c21);
            c31 = x31.fma(y11, c31);
            FloatVector x02 = FloatVector.fromMemorySegment(F, ALL, a + p + 2 * V, LE);
            FloatVector x12 = FloatVector.fromMemorySegment(F, ALL, a1 + p + 2 * V, LE);
            FloatVector x22 = FloatVector.fromMemorySegment(F, ALL, a2 + p + 2 * V, LE);
            FloatVector x32 = FloatVector.fromMemorySegment(F, ALL, a3 + p + 2 * V, LE);
            FloatVector y02 = w0.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c00 = x02.fma(y02, c00);
            c10 = x12.fma(y02, c10);
            c20 = x22.fma(y02, c20);
            c30 = x32.fma(y02, c30);
            FloatVector y12 = w1.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c01 = x02.fma(y12, c01);
            c11 = x12.fma(y12, c11);
            c21 = x22.fma(y12, c21);
            c31 = x32.fma(y12, c31);
            FloatVector x03 = FloatVector.fromMemorySegment(F, ALL, a + p + 3 * V, LE);
            FloatVector x13 = FloatVector.fromMemorySegment(F, ALL, a1 + p + 3 * V, LE);
            FloatVector x23 = FloatVector.fromMemorySegment(F, ALL, a2 + p + 3 * V, LE);
            FloatVector x33 = FloatVector.fromMemorySegment(F, ALL, a3 + p + 3 * V, LE);
            FloatVector y03 = w0.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c00 = x03.fma(y03, c00);
            c10 = x13.fma(y03, c10);
            c20 = x23.fma(y03, c20);
            c30 = x33.fma(y03, c30);
            FloatVector y13 = w1.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
            c01 = x03.fma(y13, c01);
            c11 = x13.fma(y13, c11);
            c21 = x23.fma(y13, c21);
            c31 = x33.fma(y13, c31);
            s00 = c00.fma(FloatVector.broadcast(F, scales[scale]), s00);
            s10 = c10.fma(FloatVector.broadcast(F, scales[scale + 1]), s10);
            s20 = c20.fma(FloatVector.broadcast(F, scales[scale + 2]), s20);
            s30 = c30.fma(FloatVector.broadcast(F, scales[scale + 3]), s30);
            s01 = c01.fma(FloatVector.broadcast(F, scales[scale + scaleStride]), s01);
            s11 = c11.fma(FloatVector.broadcast(F, scales[scale + scaleStride + 1]), s11);
            s21 = c21.fma(FloatVector.broadcast(F, scales[scale + scaleStride + 2]), s21);
            s31 = c31.fma(FloatVector.broadcast(F, scales[scale + scaleStride + 3]), s31);
        }
        s00.intoArray(sums, at);
        s10.intoArray(sums, at + L);
        s20.intoArray(sums, at + 2 * L);
        s30.intoArray(sums, at + 3 * L);
        s01.intoArray(sums, at + 4 * L);
        s11.intoArray(sums, at + 5 * L);
        s21.intoArray(sums, at + 6 * L);
        s31.intoArray(sums, at + 7 * L);
        return seen.and(SIGNS).reduceLanes(OR) != 0;
    }

    /**
     * Adds the lanes of L sums in place, halves first, in a fixed order that no compiler can change. Two vectors at a
     * time become one, so that L sums take L - 1 additions of vectors; one by one they took a quarter of the time of a
     * short row.
     *
     * @param sums lane sums; afterwards the L sums lie where the first one did
     * @param at where the first of L begins
     */
    static void addLanes(float[] sums, int at) {
        for (int half = L / 2; half > 0; half /= 2) {
            for (int i = 0; i < half; i++) {
                IntVector low = FloatVector.fromArray(F, sums, at + i * L).reinterpretAsInts();
                IntVector high = FloatVector.fromArray(F, sums, at + (i + half) * L).reinterpretAsInts();
                GemmPacking.ZIP_LOW.selectFrom(low, high).reinterpretAsFloats()
                        .add(GemmPacking.ZIP_HIGH.selectFrom(low, high).reinterpretAsFloats())
                        .intoArray(sums, at + i * L);
            }
        }
    }

    /** {@return where a sum lies once all lanes are added, L sums after L sums} */
    static int placeOfSum(int sum) {
        return sum / L * L * L + sum % L;
    }
}
