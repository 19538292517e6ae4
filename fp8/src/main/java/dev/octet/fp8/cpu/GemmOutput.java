package dev.octet.fp8.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.fp8.Activation;
import dev.octet.fp8.Epilogue;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.jspecify.annotations.Nullable;

/** Where finished FP32 sums go: the epilogue, the cast, and D itself, a part of a row at a time. */
final class GemmOutput {
    private static final VectorSpecies<Float> F = Lanes.F;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED;
    private static final int L = Lanes.COUNT;

    private long address;
    private boolean bf16;
    private long rowStride;
    private long columnStride;
    private @Nullable Tensor addend;
    private float @Nullable [] bias;
    private boolean silu;

    /** Becomes the rows of D from one on, which is row 0 here and in the epilogue. */
    void set(Tensor d, long firstRow, Epilogue epilogue) {
        bf16 = d.dtype() == DType.BF16;
        rowStride = d.stride(0);
        address = d.address() + firstRow * rowStride * d.dtype().byteSize();
        columnStride = d.stride(1);
        addend = epilogue.addend();
        Tensor b = epilogue.bias();
        bias = b == null ? null : b.toFloatArray();
        silu = epilogue.activation() == Activation.SILU;
    }

    /** Forgets the epilogue's tensors. */
    void clear() {
        addend = null;
        bias = null;
    }

    /**
     * Finishes a part of a row.
     *
     * @param m the row
     * @param n the first column
     * @param row the sums; changed
     * @param at where they begin
     * @param count how many
     */
    void write(long m, long n, float[] row, int at, int count) {
        if (addend != null) {
            add(addend, m, n, row, at, count);
        }
        if (bias != null) {
            for (int i = 0; i < count; i++) {
                row[at + i] += bias[(int) n + i];
            }
        }
        if (silu) {
            silu(row, at, count);
        }
        long to = m * rowStride + n * columnStride;
        if (columnStride != 1) {
            scatter(row, at, count, to);
        } else if (bf16) {
            storeBf16(row, at, count, address + 2 * to);
        } else {
            MemorySegment.copy(row, at, ALL, F32, address + 4 * to, count);
        }
    }

    private static void add(Tensor c, long m, long n, float[] row, int at, int count) {
        long step = c.stride(1) * c.dtype().byteSize();
        long from = c.address() + (m * c.stride(0) + n * c.stride(1)) * c.dtype().byteSize();
        if (c.dtype() == DType.F32) {
            for (int i = 0; i < count; i++) {
                row[at + i] += ALL.get(F32, from + i * step);
            }
        } else {
            for (int i = 0; i < count; i++) {
                row[at + i] += BFloat16.toFloat(ALL.get(I16, from + i * step));
            }
        }
    }

    /** In double, so that only the final rounding counts and the result does not depend on the vector width. */
    private static void silu(float[] row, int at, int count) {
        for (int i = at; i < at + count; i++) {
            double x = row[i];
            row[i] = (float) (x / (1 + Math.exp(-x)));
        }
    }

    private void scatter(float[] row, int at, int count, long to) {
        for (int i = 0; i < count; i++) {
            long index = to + i * columnStride;
            if (bf16) {
                ALL.set(I16, address + 2 * index, BFloat16.fromFloat(row[at + i]));
            } else {
                ALL.set(F32, address + 4 * index, row[at + i]);
            }
        }
    }

    /** To nearest, ties to even; a NaN becomes the quiet one with its sign. */
    private static void storeBf16(float[] row, int at, int count, long to) {
        int i = 0;
        for (; i + L <= count; i += L) {
            FloatVector x = FloatVector.fromArray(F, row, at + i);
            IntVector bits = x.reinterpretAsInts();
            IntVector rounded = bits.add(bits.lanewise(VectorOperators.LSHR, 16).and(1)).add(0x7FFF)
                    .lanewise(VectorOperators.LSHR, 16);
            IntVector nan = bits.lanewise(VectorOperators.LSHR, 16).and(0x8000).or(0x7FC0);
            rounded = rounded.blend(nan, x.test(VectorOperators.IS_NAN).cast(Lanes.I));
            rounded.convertShape(VectorOperators.I2S, Lanes.S, 0).reinterpretAsShorts()
                    .intoMemorySegment(ALL, to + 2L * i, LE);
        }
        for (; i < count; i++) {
            ALL.set(I16, to + 2L * i, BFloat16.fromFloat(row[at + i]));
        }
    }
}
