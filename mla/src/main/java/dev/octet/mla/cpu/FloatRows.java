package dev.octet.mla.cpu;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.NativeMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Moves lines of F32 or BF16 between native memory and a thread's own arrays, where plain loops work on them. The
 * caller keeps the tensors reachable.
 */
final class FloatRows {
    private static final MemorySegment ALL = NativeMemory.ALL;
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /** Arrays of one thread. */
    private static final ThreadLocal<float[][]> MINE = ThreadLocal.withInitial(() -> new float[2][0]);

    private FloatRows() {}

    /**
     * {@return an array of the calling thread with at least that many elements, their values left over}
     *
     * @param slot which of two
     */
    static float[] array(int slot, int count) {
        float[][] mine = MINE.get();
        if (mine[slot].length < count) {
            mine[slot] = new float[count];
        }
        return mine[slot];
    }

    /** {@return how many bytes lie between neighbours in a dimension} */
    static long step(Tensor t, int dim) {
        return t.stride(dim) * t.dtype().byteSize();
    }

    /** Reads {@code n} values, {@code step} bytes apart, to the begin of an array. */
    static void load(long address, long step, DType dtype, float[] to, int n) {
        load(address, step, dtype, to, 0, n);
    }

    /** Reads {@code n} values, {@code step} bytes apart. */
    static void load(long address, long step, DType dtype, float[] to, int at, int n) {
        if (dtype == DType.F32) {
            if (step == 4) {
                MemorySegment.copy(ALL, F32, address, to, at, n);
                return;
            }
            for (int i = 0; i < n; i++) {
                to[at + i] = ALL.get(F32, address + i * step);
            }
        } else if (step == 2) {
            for (int i = 0; i < n; i++) {
                to[at + i] = Float.intBitsToFloat(ALL.get(I16, address + 2L * i) << 16);
            }
        } else {
            for (int i = 0; i < n; i++) {
                to[at + i] = Float.intBitsToFloat(ALL.get(I16, address + i * step) << 16);
            }
        }
    }

    /** Writes the first {@code n} values of an array, {@code step} bytes apart, rounded to BF16 if that is the type. */
    static void store(float[] from, int n, long address, long step, DType dtype) {
        store(from, 0, n, address, step, dtype);
    }

    /** Writes {@code n} values, {@code step} bytes apart, rounded to BF16 if that is the type. */
    static void store(float[] from, int at, int n, long address, long step, DType dtype) {
        if (dtype == DType.F32) {
            if (step == 4) {
                MemorySegment.copy(from, at, ALL, F32, address, n);
                return;
            }
            for (int i = 0; i < n; i++) {
                ALL.set(F32, address + i * step, from[at + i]);
            }
        } else if (step == 2) {
            for (int i = 0; i < n; i++) {
                // BFloat16.fromFloat without a branch, so that the compiler makes vectors of it.
                int bits = Float.floatToRawIntBits(from[at + i]);
                int rounded = bits + 0x7FFF + (bits >>> 16 & 1) >>> 16;
                int quiet = bits >>> 16 & 0x8000 | 0x7FC0;
                int isNaN = 0x7F80_0000 - (bits & 0x7FFF_FFFF) >> 31;
                ALL.set(I16, address + 2L * i, (short) (rounded ^ (rounded ^ quiet) & isNaN));
            }
        } else {
            for (int i = 0; i < n; i++) {
                ALL.set(I16, address + i * step, BFloat16.fromFloat(from[at + i]));
            }
        }
    }
}
