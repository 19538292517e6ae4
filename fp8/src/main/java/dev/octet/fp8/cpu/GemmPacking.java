package dev.octet.fp8.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;
import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.MAX;
import static jdk.incubator.vector.VectorOperators.OR;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Decodes one block of 128 along K of an operand into floats, in the packed order of {@link GemmRows}: within each
 * group of 4 L codes, code {@code 4 c + j} goes to place {@code (3 - j) L + c}. Both operands are packed alike, so their
 * products meet.
 *
 * <p>A code that is not finite is decoded to some finite number; {@link #scan} and {@link #transpose} tell whether
 * there is one.
 */
final class GemmPacking {
    private static final VectorSpecies<Float> F = Lanes.F;
    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final VectorSpecies<Byte> B = VectorSpecies.of(byte.class, F.vectorShape());
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    private static final int L = Lanes.COUNT;
    private static final long V = 4L * L;
    private static final int GROUPS = GemmRows.GROUPS;
    private static final int MAGNITUDES = 0x7F7F_7F7F;
    private static final byte MAGNITUDE = 0x7F;
    private static final int SIGNS = 0x8080_8080;

    /** Interleave the lower and the upper halves of two vectors. */
    static final IntVector ZIP_LOW = IntVector.fromArray(I, zip(0), 0);
    static final IntVector ZIP_HIGH = IntVector.fromArray(I, zip(L / 2), 0);

    private GemmPacking() {}

    private static int[] zip(int from) {
        int[] index = new int[L];
        for (int i = 0; i < L; i++) {
            index[i] = from + i / 2 + (i % 2) * L;
        }
        return index;
    }

    /**
     * Decodes rows that are contiguous along K, to {@code float[rows][128]}. Values come out {@code 2^-exponentDeficit}
     * too small.
     *
     * @param x the operand, for its format
     * @param source address of the first row's block
     * @param stride bytes from row to row
     * @param rows how many rows
     * @param target where to
     * @param at where the first row begins
     */
    static void decodeRows(GemmOperand x, long source, long stride, int rows, float[] target, int at) {
        int shift = x.shift;
        int mask = x.mask;
        // One flat loop: a loop of two inside a loop over the rows runs at a seventh of its speed.
        for (int i = 0; i < rows * GROUPS; i++) {
            long from = source + i / GROUPS * stride + i % GROUPS * V;
            int to = at + i * (4 * L);
            IntVector w = IntVector.fromMemorySegment(I, ALL, from, LE);
            w.lanewise(ASHR, shift).and(mask).reinterpretAsFloats().intoArray(target, to);
            w.lanewise(LSHL, 8).lanewise(ASHR, shift).and(mask).reinterpretAsFloats().intoArray(target, to + L);
            w.lanewise(LSHL, 16).lanewise(ASHR, shift).and(mask).reinterpretAsFloats().intoArray(target, to + 2 * L);
            w.lanewise(LSHL, 24).lanewise(ASHR, shift).and(mask).reinterpretAsFloats().intoArray(target, to + 3 * L);
        }
    }

    /**
     * Reads rows of codes, which brings them into the caches.
     *
     * @param address of the first row
     * @param stride bytes from row to row
     * @param rows how many rows
     * @param length codes in a row
     * @return whether one of them is not finite
     */
    static boolean scan(GemmOperand x, long address, long stride, int rows, int length) {
        int largest = 0;
        for (int r = 0; r < rows; r++) {
            largest = Math.max(largest, largestMagnitude(address + r * stride, length));
        }
        return largest > x.lastFinite;
    }

    /**
     * Few instructions for each cache line, since the reorder buffer decides how many lines are on their way: with
     * seven of them one core reads at half of its bandwidth.
     */
    private static int largestMagnitude(long address, int length) {
        ByteVector m0 = ByteVector.zero(B);
        ByteVector m1 = m0;
        ByteVector m2 = m0;
        ByteVector m3 = m0;
        int whole = length / (16 * L);
        for (int i = 0; i < whole; i++) {
            long at = address + i * (4 * V);
            m0 = m0.max(ByteVector.fromMemorySegment(B, ALL, at, LE).and(MAGNITUDE));
            m1 = m1.max(ByteVector.fromMemorySegment(B, ALL, at + V, LE).and(MAGNITUDE));
            m2 = m2.max(ByteVector.fromMemorySegment(B, ALL, at + 2 * V, LE).and(MAGNITUDE));
            m3 = m3.max(ByteVector.fromMemorySegment(B, ALL, at + 3 * V, LE).and(MAGNITUDE));
        }
        for (int i = whole * 4; i < length / (4 * L); i++) {
            m0 = m0.max(ByteVector.fromMemorySegment(B, ALL, address + i * V, LE).and(MAGNITUDE));
        }
        int largest = m0.max(m1).max(m2.max(m3)).reduceLanes(MAX);
        for (int i = length / (4 * L) * (4 * L); i < length; i++) {
            largest = Math.max(largest, ALL.get(ValueLayout.JAVA_BYTE, address + i) & MAGNITUDE);
        }
        return largest;
    }

    /**
     * Decodes L rows of 4 L codes and transposes them: code {@code q = 4 c + j} of every row becomes the vector at
     * {@code at + c * stepC + j * stepJ}, with one row in each lane.
     *
     * @param x the operand, for its format
     * @param source address of the first row
     * @param stride bytes from row to row
     * @param rows how many rows there are, at most L; the others count as zeros
     * @param first multiplied to each value, then the second
     * @param second see first
     * @param t working memory
     * @param squares where two matrices of L * L ints begin in it
     */
    static boolean transpose(GemmOperand x, long source, long stride, int rows, float first, float second,
            float[] target, int at, int stepC, int stepJ, int[] t, int squares) {
        IntVector seen = IntVector.zero(I);
        int probe = x.probe;
        for (int r = 0; r < rows; r++) {
            IntVector w = IntVector.fromMemorySegment(I, ALL, source + r * stride, LE);
            seen = seen.or(w.and(MAGNITUDES).add(probe));
            w.intoArray(t, squares + r * L);
        }
        for (int r = rows; r < L; r++) {
            IntVector.zero(I).intoArray(t, squares + r * L);
        }
        store(x.shift, x.mask, t, transposeInts(t, squares), first, second, target, at, stepC, stepJ);
        return seen.and(SIGNS).reduceLanes(OR) != 0;
    }

    private static void store(int shift, int mask, int[] t, int from, float first, float second, float[] target, int at,
            int stepC, int stepJ) {
        for (int c = 0; c < L; c++) {
            IntVector w = IntVector.fromArray(I, t, from + c * L);
            int to = at + c * stepC;
            w.lanewise(LSHL, 24).lanewise(ASHR, shift).and(mask).reinterpretAsFloats().mul(first).mul(second)
                    .intoArray(target, to);
            w.lanewise(LSHL, 16).lanewise(ASHR, shift).and(mask).reinterpretAsFloats().mul(first).mul(second)
                    .intoArray(target, to + stepJ);
            w.lanewise(LSHL, 8).lanewise(ASHR, shift).and(mask).reinterpretAsFloats().mul(first).mul(second)
                    .intoArray(target, to + 2 * stepJ);
            w.lanewise(ASHR, shift).and(mask).reinterpretAsFloats().mul(first).mul(second)
                    .intoArray(target, to + 3 * stepJ);
        }
    }

    /**
     * Decodes a block of 128 lines of one k each, of up to 4 L codes that are neighbouring rows, keeping their order:
     * line {@code k} goes to {@code at + packed(k) * step}.
     *
     * @param x the operand, for its format
     * @param source address of the first line; 4 L codes of each are read
     * @param stride bytes from line to line
     * @param first multiplied to each value, then the second
     * @param second see first
     * @param target where to
     * @param at where the block begins
     * @param step rows of a line that are stored: L to 4 L, a multiple of L
     * @return whether a code is not finite
     */
    static boolean decodeLines(GemmOperand x, long source, long stride, float first, float second, float[] target,
            int at, int step) {
        IntVector seen = IntVector.zero(I);
        int probe = x.probe;
        int shift = x.shift;
        int mask = x.mask;
        for (int k = 0; k < 128; k++) {
            IntVector w = IntVector.fromMemorySegment(I, ALL, source + k * stride, LE);
            seen = seen.or(w.and(MAGNITUDES).add(probe));
            // Lane c of vector j has row 4 c + j: two rounds of interleaving put the rows in order.
            IntVector r0 = w.lanewise(LSHL, 24).lanewise(ASHR, shift).and(mask);
            IntVector r1 = w.lanewise(LSHL, 16).lanewise(ASHR, shift).and(mask);
            IntVector r2 = w.lanewise(LSHL, 8).lanewise(ASHR, shift).and(mask);
            IntVector r3 = w.lanewise(ASHR, shift).and(mask);
            IntVector even = ZIP_LOW.selectFrom(r0, r2);
            IntVector odd = ZIP_LOW.selectFrom(r1, r3);
            int to = at + packed(k) * step;
            ZIP_LOW.selectFrom(even, odd).reinterpretAsFloats().mul(first).mul(second).intoArray(target, to);
            if (step > L) {
                ZIP_HIGH.selectFrom(even, odd).reinterpretAsFloats().mul(first).mul(second)
                        .intoArray(target, to + L);
            }
            if (step > 2 * L) {
                IntVector evenHigh = ZIP_HIGH.selectFrom(r0, r2);
                IntVector oddHigh = ZIP_HIGH.selectFrom(r1, r3);
                ZIP_LOW.selectFrom(evenHigh, oddHigh).reinterpretAsFloats().mul(first).mul(second)
                        .intoArray(target, to + 2 * L);
                if (step > 3 * L) {
                    ZIP_HIGH.selectFrom(evenHigh, oddHigh).reinterpretAsFloats().mul(first).mul(second)
                            .intoArray(target, to + 3 * L);
                }
            }
        }
        return seen.and(SIGNS).reduceLanes(OR) != 0;
    }

    /**
     * Transposes the {@code int[L][L]} at {@code squares}, which has room for another one behind it: log2 L perfect
     * shuffles, each of which interleaves the first half of the matrix with the second.
     *
     * @return where the one of the two is that holds the result
     */
    static int transposeInts(int[] t, int squares) {
        int from = squares;
        int to = squares + L * L;
        for (int stage = L; stage > 1; stage >>= 1) {
            for (int i = 0; i < L / 2; i++) {
                IntVector low = IntVector.fromArray(I, t, from + i * L);
                IntVector high = IntVector.fromArray(I, t, from + i * L + L * L / 2);
                ZIP_LOW.selectFrom(low, high).intoArray(t, to + 2 * i * L);
                ZIP_HIGH.selectFrom(low, high).intoArray(t, to + 2 * i * L + L);
            }
            int swap = from;
            from = to;
            to = swap;
        }
        return from;
    }

    /** {@return the place of element i of a block in the packed order} */
    static int packed(int i) {
        int group = i / (4 * L) * (4 * L);
        int q = i - group;
        return group + (3 - q % 4) * L + q / 4;
    }

    /**
     * Copies a part of a matrix of codes into scratch, with zeros behind it, so that vectors may read past its edges.
     *
     * @param address of the first code
     * @param stride bytes from line to line
     * @param lines how many lines
     * @param length codes in a line
     * @param scratch at least {@code totalLines * scratchStride} bytes
     * @param scratchStride bytes from line to line of the scratch
     * @param totalLines lines of the scratch
     */
    static void copyPadded(long address, long stride, int lines, int length, MemorySegment scratch, int scratchStride,
            int totalLines) {
        long to = scratch.address();
        for (int i = 0; i < lines; i++) {
            long line = (long) i * scratchStride;
            MemorySegment.copy(ALL, address + i * stride, scratch, line, length);
            clear(to + line + length, scratchStride - length);
        }
        clear(to + (long) lines * scratchStride, (long) (totalLines - lines) * scratchStride);
    }

    /** Writes zeros. A slice of memory to fill would be an object for each call. */
    static void clear(long address, long bytes) {
        long at = address;
        for (long end = address + bytes / 8 * 8; at < end; at += 8) {
            ALL.set(ValueLayout.JAVA_LONG_UNALIGNED, at, 0);
        }
        for (long end = address + bytes; at < end; at++) {
            ALL.set(ValueLayout.JAVA_BYTE, at, (byte) 0);
        }
    }
}
