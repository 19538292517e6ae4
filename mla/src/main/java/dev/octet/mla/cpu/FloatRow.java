package dev.octet.mla.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.BFloat16;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** Copies between a row of F32 or BF16 in memory, of any stride, and a Java array of floats. */
final class FloatRow {
    private static final VectorSpecies<Float> F = Lanes.F;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(LE);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(LE);
    private static final int L = Lanes.COUNT;

    private FloatRow() {}

    /**
     * Reads a row.
     *
     * @param address of its first element
     * @param bf16 whether it is BF16; else F32
     * @param stride elements from one to the next
     * @param row where to
     * @param at where in it
     * @param count how many
     */
    static void load(long address, boolean bf16, long stride, float[] row, int at, int count) {
        if (stride != 1) {
            for (int i = 0; i < count; i++) {
                row[at + i] = bf16 ? BFloat16.toFloat(ALL.get(I16, address + 2 * stride * i))
                        : ALL.get(F32, address + 4 * stride * i);
            }
        } else if (bf16) {
            loadBf16(address, row, at, count);
        } else {
            MemorySegment.copy(ALL, F32, address, row, at, count);
        }
    }

    private static void loadBf16(long address, float[] row, int at, int count) {
        int i = 0;
        for (; i + L <= count; i += L) {
            IntVector bits = (IntVector) ShortVector.fromMemorySegment(Lanes.S, ALL, address + 2L * i, LE)
                    .convertShape(VectorOperators.S2I, Lanes.I, 0);
            bits.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().intoArray(row, at + i);
        }
        for (; i < count; i++) {
            row[at + i] = BFloat16.toFloat(ALL.get(I16, address + 2L * i));
        }
    }

    /**
     * Writes a row, rounding to nearest, ties to even; a NaN becomes the quiet one with its sign.
     *
     * @param row the values
     * @param at where they begin
     * @param count how many
     * @param address of the first element
     * @param bf16 whether it is BF16; else F32
     * @param stride elements from one to the next
     */
    static void store(float[] row, int at, int count, long address, boolean bf16, long stride) {
        if (stride != 1) {
            for (int i = 0; i < count; i++) {
                if (bf16) {
                    ALL.set(I16, address + 2 * stride * i, BFloat16.fromFloat(row[at + i]));
                } else {
                    ALL.set(F32, address + 4 * stride * i, row[at + i]);
                }
            }
        } else if (bf16) {
            storeBf16(row, at, count, address);
        } else {
            MemorySegment.copy(row, at, ALL, F32, address, count);
        }
    }

    private static void storeBf16(float[] row, int at, int count, long address) {
        int i = 0;
        for (; i + L <= count; i += L) {
            FloatVector x = FloatVector.fromArray(F, row, at + i);
            IntVector bits = x.reinterpretAsInts();
            IntVector rounded = bits.add(bits.lanewise(VectorOperators.LSHR, 16).and(1)).add(0x7FFF)
                    .lanewise(VectorOperators.LSHR, 16);
            IntVector nan = bits.lanewise(VectorOperators.LSHR, 16).and(0x8000).or(0x7FC0);
            rounded = rounded.blend(nan, x.test(VectorOperators.IS_NAN).cast(Lanes.I));
            rounded.convertShape(VectorOperators.I2S, Lanes.S, 0).reinterpretAsShorts()
                    .intoMemorySegment(ALL, address + 2L * i, LE);
        }
        for (; i < count; i++) {
            ALL.set(I16, address + 2L * i, BFloat16.fromFloat(row[at + i]));
        }
    }
}
