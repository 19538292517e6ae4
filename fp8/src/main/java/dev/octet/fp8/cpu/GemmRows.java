package dev.octet.fp8.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;
import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.OR;

import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The inner loops of the GEMM for few rows of A, where the bytes of B are the limit: E4M3 codes of B are decoded in
 * registers and never written out.
 *
 * <pre>
 * a        float[m][blocks * 128]        decoded A in packed order
 * b        byte[r][blocks * 128]         codes of B, rows strideB apart
 * scales   float[block][MAX_ROWS]        scaleA * scaleB of each block, row m of A (+ r * scaleStride: row r of B)
 * sums     float[r][m][L]                lane sums, += block sum * scale
 * </pre>
 *
 * <p>Lanes run along K. A vector of L ints holds 4 L codes; shifting byte j of each to the top decodes codes 4 c + j,
 * c = 0..L-1, at once. That is the packed order: A is stored in it, so no code is ever moved to another lane. Each step
 * decodes 4 vectors for every row of B in 11 integer operations, which run beside the FMAs on other pipes.
 *
 * <p>A code decoded so is 2^-120 too small and a NaN looks like 480. The first is made good by A, which carries the
 * factor; for the second the kernels look at each code's magnitude and report whether there was a NaN.
 */
final class GemmRows {
    private static final VectorSpecies<Float> F = Lanes.F;
    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final int L = Lanes.COUNT;
    private static final long V = 4L * L;
    /** Sign, exponent and mantissa after an arithmetic shift of a code from the top byte by 4. */
    private static final int E4M3 = 0x87F0_0000;
    private static final int MAGNITUDES = 0x7F7F_7F7F;
    private static final int ONES = 0x0101_0101;
    private static final int SIGNS = 0x8080_8080;

    /** Rows of A that a call may have. */
    static final int MAX_ROWS = 4;
    private static final long SCALE_STEP = 4L * MAX_ROWS;

    private GemmRows() {}

    /**
     * {@return rows of B that a call takes}
     *
     * @param rowsA rows of A, 1, 2 or 4
     */
    static int rowsB(int rowsA) {
        return rowsA == 4 ? 3 : 4;
    }

    /**
     * Multiplies rows of A with rows of B over whole blocks.
     *
     * @param rowsA rows of A: 1, 2 or 4
     * @param a address of A
     * @param strideA bytes from one row of A to the next
     * @param b address of the first code of {@link #rowsB} rows
     * @param strideB bytes from one row of B to the next
     * @param blocks blocks of 128 along K
     * @param scales address of the first block's scales
     * @param scaleStride bytes from the scales of one row of B to the next's; 0 if they share theirs
     * @param sums lane sums
     * @param at where they begin
     * @return whether a code of B is a NaN
     */
    static boolean multiply(int rowsA, long a, long strideA, long b, long strideB, int blocks, long scales,
            long scaleStride, float[] sums, int at) {
        return switch (rowsA) {
            case 1 -> rows1x4(a, strideA, b, strideB, blocks, scales, scaleStride, sums, at);
            case 2 -> rows2x4(a, strideA, b, strideB, blocks, scales, scaleStride, sums, at);
            default -> rows4x3(a, strideA, b, strideB, blocks, scales, scaleStride, sums, at);
        };
    }

    /** 1 row of A, 4 rows of B. */
    private static boolean rows1x4(long a, long strideA, long b, long strideB, int blocks, long scales,
            long scaleStride, float[] sums, int at) {
        IntVector seen = IntVector.zero(I);
        FloatVector s00 = FloatVector.fromArray(F, sums, at);
        FloatVector s01 = FloatVector.fromArray(F, sums, at + L);
        FloatVector s02 = FloatVector.fromArray(F, sums, at + 2 * L);
        FloatVector s03 = FloatVector.fromArray(F, sums, at + 3 * L);
        long b1 = b + strideB;
        long b2 = b1 + strideB;
        long b3 = b2 + strideB;
        for (long last = b + blocks * 128L; b < last;) {
            FloatVector c00 = FloatVector.zero(F);
            FloatVector c01 = FloatVector.zero(F);
            FloatVector c02 = FloatVector.zero(F);
            FloatVector c03 = FloatVector.zero(F);
            for (long end = b + 128; b < end; b += V) {
                IntVector w0 = IntVector.fromMemorySegment(I, ALL, b, LE);
                seen = seen.or(w0.and(MAGNITUDES).add(ONES));
                IntVector w1 = IntVector.fromMemorySegment(I, ALL, b1, LE);
                seen = seen.or(w1.and(MAGNITUDES).add(ONES));
                IntVector w2 = IntVector.fromMemorySegment(I, ALL, b2, LE);
                seen = seen.or(w2.and(MAGNITUDES).add(ONES));
                IntVector w3 = IntVector.fromMemorySegment(I, ALL, b3, LE);
                seen = seen.or(w3.and(MAGNITUDES).add(ONES));
                FloatVector x00 = FloatVector.fromMemorySegment(F, ALL, a, LE);
                FloatVector y00 = w0.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c00 = x00.fma(y00, c00);
                FloatVector y10 = w1.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c01 = x00.fma(y10, c01);
                FloatVector y20 = w2.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c02 = x00.fma(y20, c02);
                FloatVector y30 = w3.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c03 = x00.fma(y30, c03);
                FloatVector x01 = FloatVector.fromMemorySegment(F, ALL, a + V, LE);
                FloatVector y01 = w0.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c00 = x01.fma(y01, c00);
                FloatVector y11 = w1.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c01 = x01.fma(y11, c01);
                FloatVector y21 = w2.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c02 = x01.fma(y21, c02);
                FloatVector y31 = w3.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c03 = x01.fma(y31, c03);
                FloatVector x02 = FloatVector.fromMemorySegment(F, ALL, a + 2 * V, LE);
                FloatVector y02 = w0.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c00 = x02.fma(y02, c00);
                FloatVector y12 = w1.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c01 = x02.fma(y12, c01);
                FloatVector y22 = w2.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c02 = x02.fma(y22, c02);
                FloatVector y32 = w3.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c03 = x02.fma(y32, c03);
                FloatVector x03 = FloatVector.fromMemorySegment(F, ALL, a + 3 * V, LE);
                FloatVector y03 = w0.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c00 = x03.fma(y03, c00);
                FloatVector y13 = w1.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c01 = x03.fma(y13, c01);
                FloatVector y23 = w2.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c02 = x03.fma(y23, c02);
                FloatVector y33 = w3.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c03 = x03.fma(y33, c03);
                a += 4 * V;
                b1 += V;
                b2 += V;
                b3 += V;
            }
            s00 = c00.fma(FloatVector.broadcast(F, ALL.get(F32, scales)), s00);
            s01 = c01.fma(FloatVector.broadcast(F, ALL.get(F32, scales + scaleStride)), s01);
            s02 = c02.fma(FloatVector.broadcast(F, ALL.get(F32, scales + 2 * scaleStride)), s02);
            s03 = c03.fma(FloatVector.broadcast(F, ALL.get(F32, scales + 3 * scaleStride)), s03);
            scales += SCALE_STEP;
        }
        s00.intoArray(sums, at);
        s01.intoArray(sums, at + L);
        s02.intoArray(sums, at + 2 * L);
        s03.intoArray(sums, at + 3 * L);
        return seen.and(SIGNS).reduceLanes(OR) != 0;
    }

    /** 2 rows of A, 4 rows of B. */
    private static boolean rows2x4(long a, long strideA, long b, long strideB, int blocks, long scales,
            long scaleStride, float[] sums, int at) {
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
        for (long last = b + blocks * 128L; b < last;) {
            FloatVector c00 = FloatVector.zero(F);
            FloatVector c10 = FloatVector.zero(F);
            FloatVector c01 = FloatVector.zero(F);
            FloatVector c11 = FloatVector.zero(F);
            FloatVector c02 = FloatVector.zero(F);
            FloatVector c12 = FloatVector.zero(F);
            FloatVector c03 = FloatVector.zero(F);
            FloatVector c13 = FloatVector.zero(F);
            for (long end = b + 128; b < end; b += V) {
                IntVector w0 = IntVector.fromMemorySegment(I, ALL, b, LE);
                seen = seen.or(w0.and(MAGNITUDES).add(ONES));
                IntVector w1 = IntVector.fromMemorySegment(I, ALL, b1, LE);
                seen = seen.or(w1.and(MAGNITUDES).add(ONES));
                IntVector w2 = IntVector.fromMemorySegment(I, ALL, b2, LE);
                seen = seen.or(w2.and(MAGNITUDES).add(ONES));
                IntVector w3 = IntVector.fromMemorySegment(I, ALL, b3, LE);
                seen = seen.or(w3.and(MAGNITUDES).add(ONES));
                FloatVector x00 = FloatVector.fromMemorySegment(F, ALL, a, LE);
                FloatVector x10 = FloatVector.fromMemorySegment(F, ALL, a1, LE);
                FloatVector y00 = w0.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c00 = x00.fma(y00, c00);
                c10 = x10.fma(y00, c10);
                FloatVector y10 = w1.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c01 = x00.fma(y10, c01);
                c11 = x10.fma(y10, c11);
                FloatVector y20 = w2.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c02 = x00.fma(y20, c02);
                c12 = x10.fma(y20, c12);
                FloatVector y30 = w3.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c03 = x00.fma(y30, c03);
                c13 = x10.fma(y30, c13);
                FloatVector x01 = FloatVector.fromMemorySegment(F, ALL, a + V, LE);
                FloatVector x11 = FloatVector.fromMemorySegment(F, ALL, a1 + V, LE);
                FloatVector y01 = w0.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c00 = x01.fma(y01, c00);
                c10 = x11.fma(y01, c10);
                FloatVector y11 = w1.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c01 = x01.fma(y11, c01);
                c11 = x11.fma(y11, c11);
                FloatVector y21 = w2.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c02 = x01.fma(y21, c02);
                c12 = x11.fma(y21, c12);
                FloatVector y31 = w3.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c03 = x01.fma(y31, c03);
                c13 = x11.fma(y31, c13);
                FloatVector x02 = FloatVector.fromMemorySegment(F, ALL, a + 2 * V, LE);
                FloatVector x12 = FloatVector.fromMemorySegment(F, ALL, a1 + 2 * V, LE);
                FloatVector y02 = w0.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c00 = x02.fma(y02, c00);
                c10 = x12.fma(y02, c10);
                FloatVector y12 = w1.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c01 = x02.fma(y12, c01);
                c11 = x12.fma(y12, c11);
                FloatVector y22 = w2.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c02 = x02.fma(y22, c02);
                c12 = x12.fma(y22, c12);
                FloatVector y32 = w3.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c03 = x02.fma(y32, c03);
                c13 = x12.fma(y32, c13);
                FloatVector x03 = FloatVector.fromMemorySegment(F, ALL, a + 3 * V, LE);
                FloatVector x13 = FloatVector.fromMemorySegment(F, ALL, a1 + 3 * V, LE);
                FloatVector y03 = w0.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c00 = x03.fma(y03, c00);
                c10 = x13.fma(y03, c10);
                FloatVector y13 = w1.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c01 = x03.fma(y13, c01);
                c11 = x13.fma(y13, c11);
                FloatVector y23 = w2.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c02 = x03.fma(y23, c02);
                c12 = x13.fma(y23, c12);
                FloatVector y33 = w3.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c03 = x03.fma(y33, c03);
                c13 = x13.fma(y33, c13);
                a += 4 * V;
                a1 += 4 * V;
                b1 += V;
                b2 += V;
                b3 += V;
            }
            s00 = c00.fma(FloatVector.broadcast(F, ALL.get(F32, scales)), s00);
            s10 = c10.fma(FloatVector.broadcast(F, ALL.get(F32, scales + 4)), s10);
            s01 = c01.fma(FloatVector.broadcast(F, ALL.get(F32, scales + scaleStride)), s01);
            s11 = c11.fma(FloatVector.broadcast(F, ALL.get(F32, scales + scaleStride + 4)), s11);
            s02 = c02.fma(FloatVector.broadcast(F, ALL.get(F32, scales + 2 * scaleStride)), s02);
            s12 = c12.fma(FloatVector.broadcast(F, ALL.get(F32, scales + 2 * scaleStride + 4)), s12);
            s03 = c03.fma(FloatVector.broadcast(F, ALL.get(F32, scales + 3 * scaleStride)), s03);
            s13 = c13.fma(FloatVector.broadcast(F, ALL.get(F32, scales + 3 * scaleStride + 4)), s13);
            scales += SCALE_STEP;
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

    /** 4 rows of A, 3 rows of B. */
    private static boolean rows4x3(long a, long strideA, long b, long strideB, int blocks, long scales,
            long scaleStride, float[] sums, int at) {
        IntVector seen = IntVector.zero(I);
        FloatVector s00 = FloatVector.fromArray(F, sums, at);
        FloatVector s10 = FloatVector.fromArray(F, sums, at + L);
        FloatVector s20 = FloatVector.fromArray(F, sums, at + 2 * L);
        FloatVector s30 = FloatVector.fromArray(F, sums, at + 3 * L);
        FloatVector s01 = FloatVector.fromArray(F, sums, at + 4 * L);
        FloatVector s11 = FloatVector.fromArray(F, sums, at + 5 * L);
        FloatVector s21 = FloatVector.fromArray(F, sums, at + 6 * L);
        FloatVector s31 = FloatVector.fromArray(F, sums, at + 7 * L);
        FloatVector s02 = FloatVector.fromArray(F, sums, at + 8 * L);
        FloatVector s12 = FloatVector.fromArray(F, sums, at + 9 * L);
        FloatVector s22 = FloatVector.fromArray(F, sums, at + 10 * L);
        FloatVector s32 = FloatVector.fromArray(F, sums, at + 11 * L);
        long b1 = b + strideB;
        long b2 = b1 + strideB;
        long a1 = a + strideA;
        long a2 = a1 + strideA;
        long a3 = a2 + strideA;
        for (long last = b + blocks * 128L; b < last;) {
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
            for (long end = b + 128; b < end; b += V) {
                IntVector w0 = IntVector.fromMemorySegment(I, ALL, b, LE);
                seen = seen.or(w0.and(MAGNITUDES).add(ONES));
                IntVector w1 = IntVector.fromMemorySegment(I, ALL, b1, LE);
                seen = seen.or(w1.and(MAGNITUDES).add(ONES));
                IntVector w2 = IntVector.fromMemorySegment(I, ALL, b2, LE);
                seen = seen.or(w2.and(MAGNITUDES).add(ONES));
                FloatVector x00 = FloatVector.fromMemorySegment(F, ALL, a, LE);
                FloatVector x10 = FloatVector.fromMemorySegment(F, ALL, a1, LE);
                FloatVector x20 = FloatVector.fromMemorySegment(F, ALL, a2, LE);
                FloatVector x30 = FloatVector.fromMemorySegment(F, ALL, a3, LE);
                FloatVector y00 = w0.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c00 = x00.fma(y00, c00);
                c10 = x10.fma(y00, c10);
                c20 = x20.fma(y00, c20);
                c30 = x30.fma(y00, c30);
                FloatVector y10 = w1.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c01 = x00.fma(y10, c01);
                c11 = x10.fma(y10, c11);
                c21 = x20.fma(y10, c21);
                c31 = x30.fma(y10, c31);
                FloatVector y20 = w2.lanewise(LSHL, 24).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c02 = x00.fma(y20, c02);
                c12 = x10.fma(y20, c12);
                c22 = x20.fma(y20, c22);
                c32 = x30.fma(y20, c32);
                FloatVector x01 = FloatVector.fromMemorySegment(F, ALL, a + V, LE);
                FloatVector x11 = FloatVector.fromMemorySegment(F, ALL, a1 + V, LE);
                FloatVector x21 = FloatVector.fromMemorySegment(F, ALL, a2 + V, LE);
                FloatVector x31 = FloatVector.fromMemorySegment(F, ALL, a3 + V, LE);
                FloatVector y01 = w0.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c00 = x01.fma(y01, c00);
                c10 = x11.fma(y01, c10);
                c20 = x21.fma(y01, c20);
                c30 = x31.fma(y01, c30);
                FloatVector y11 = w1.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c01 = x01.fma(y11, c01);
                c11 = x11.fma(y11, c11);
                c21 = x21.fma(y11, c21);
                c31 = x31.fma(y11, c31);
                FloatVector y21 = w2.lanewise(LSHL, 16).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c02 = x01.fma(y21, c02);
                c12 = x11.fma(y21, c12);
                c22 = x21.fma(y21, c22);
                c32 = x31.fma(y21, c32);
                FloatVector x02 = FloatVector.fromMemorySegment(F, ALL, a + 2 * V, LE);
                FloatVector x12 = FloatVector.fromMemorySegment(F, ALL, a1 + 2 * V, LE);
                FloatVector x22 = FloatVector.fromMemorySegment(F, ALL, a2 + 2 * V, LE);
                FloatVector x32 = FloatVector.fromMemorySegment(F, ALL, a3 + 2 * V, LE);
                FloatVector y02 = w0.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c00 = x02.fma(y02, c00);
                c10 = x12.fma(y02, c10);
                c20 = x22.fma(y02, c20);
                c30 = x32.fma(y02, c30);
                FloatVector y12 = w1.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c01 = x02.fma(y12, c01);
                c11 = x12.fma(y12, c11);
                c21 = x22.fma(y12, c21);
                c31 = x32.fma(y12, c31);
                FloatVector y22 = w2.lanewise(LSHL, 8).lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c02 = x02.fma(y22, c02);
                c12 = x12.fma(y22, c12);
                c22 = x22.fma(y22, c22);
                c32 = x32.fma(y22, c32);
                FloatVector x03 = FloatVector.fromMemorySegment(F, ALL, a + 3 * V, LE);
                FloatVector x13 = FloatVector.fromMemorySegment(F, ALL, a1 + 3 * V, LE);
                FloatVector x23 = FloatVector.fromMemorySegment(F, ALL, a2 + 3 * V, LE);
                FloatVector x33 = FloatVector.fromMemorySegment(F, ALL, a3 + 3 * V, LE);
                FloatVector y03 = w0.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c00 = x03.fma(y03, c00);
                c10 = x13.fma(y03, c10);
                c20 = x23.fma(y03, c20);
                c30 = x33.fma(y03, c30);
                FloatVector y13 = w1.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c01 = x03.fma(y13, c01);
                c11 = x13.fma(y13, c11);
                c21 = x23.fma(y13, c21);
                c31 = x33.fma(y13, c31);
                FloatVector y23 = w2.lanewise(ASHR, 4).and(E4M3).reinterpretAsFloats();
                c02 = x03.fma(y23, c02);
                c12 = x13.fma(y23, c12);
                c22 = x23.fma(y23, c22);
                c32 = x33.fma(y23, c32);
                a += 4 * V;
                a1 += 4 * V;
                a2 += 4 * V;
                a3 += 4 * V;
                b1 += V;
                b2 += V;
            }
            s00 = c00.fma(FloatVector.broadcast(F, ALL.get(F32, scales)), s00);
            s10 = c10.fma(FloatVector.broadcast(F, ALL.get(F32, scales + 4)), s10);
            s20 = c20.fma(FloatVector.broadcast(F, ALL.get(F32, scales + 8)), s20);
            s30 = c30.fma(FloatVector.broadcast(F, ALL.get(F32, scales + 12)), s30);
            s01 = c01.fma(FloatVector.broadcast(F, ALL.get(F32, scales + scaleStride)), s01);
            s11 = c11.fma(FloatVector.broadcast(F, ALL.get(F32, scales + scaleStride + 4)), s11);
            s21 = c21.fma(FloatVector.broadcast(F, ALL.get(F32, scales + scaleStride + 8)), s21);
            s31 = c31.fma(FloatVector.broadcast(F, ALL.get(F32, scales + scaleStride + 12)), s31);
            s02 = c02.fma(FloatVector.broadcast(F, ALL.get(F32, scales + 2 * scaleStride)), s02);
            s12 = c12.fma(FloatVector.broadcast(F, ALL.get(F32, scales + 2 * scaleStride + 4)), s12);
            s22 = c22.fma(FloatVector.broadcast(F, ALL.get(F32, scales + 2 * scaleStride + 8)), s22);
            s32 = c32.fma(FloatVector.broadcast(F, ALL.get(F32, scales + 2 * scaleStride + 12)), s32);
            scales += SCALE_STEP;
        }
        s00.intoArray(sums, at);
        s10.intoArray(sums, at + L);
        s20.intoArray(sums, at + 2 * L);
        s30.intoArray(sums, at + 3 * L);
        s01.intoArray(sums, at + 4 * L);
        s11.intoArray(sums, at + 5 * L);
        s21.intoArray(sums, at + 6 * L);
        s31.intoArray(sums, at + 7 * L);
        s02.intoArray(sums, at + 8 * L);
        s12.intoArray(sums, at + 9 * L);
        s22.intoArray(sums, at + 10 * L);
        s32.intoArray(sums, at + 11 * L);
        return seen.and(SIGNS).reduceLanes(OR) != 0;
    }
}
