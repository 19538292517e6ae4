package dev.octet.moe.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.BFloat16;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** In plain Java. */
final class ScalarRowKernels implements RowKernels {
    static final RowKernels KERNELS = new ScalarRowKernels();

    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED;

    private ScalarRowKernels() {}

    @Override
    public void sum(long[] rows, float[] weights, int count, boolean bf16, long out, boolean outBf16, int first,
            int end) {
        for (int i = first; i < end; i++) {
            float sum = 0;
            for (int j = 0; j < count; j++) {
                sum = Math.fma(get(rows[j], bf16, i), weights[j], sum);
            }
            set(out, outBf16, i, sum);
        }
    }

    @Override
    public void scale(long row, float weight, long out, boolean bf16, int first, int end) {
        for (int i = first; i < end; i++) {
            set(out, bf16, i, get(row, bf16, i) * weight);
        }
    }

    @Override
    public void copy(long row, long out, long bytes) {
        MemorySegment.copy(ALL, row, ALL, out, bytes);
    }

    @Override
    public void load(long row, boolean bf16, float[] x, int n) {
        if (bf16) {
            for (int i = 0; i < n; i++) {
                x[i] = get(row, true, i);
            }
        } else {
            MemorySegment.copy(ALL, F32, row, x, 0, n);
        }
    }

    private static float get(long row, boolean bf16, int i) {
        return bf16 ? BFloat16.toFloat(ALL.get(I16, row + 2L * i)) : ALL.get(F32, row + 4L * i);
    }

    private static void set(long row, boolean bf16, int i, float value) {
        if (bf16) {
            ALL.set(I16, row + 2L * i, BFloat16.fromFloat(value));
        } else {
            ALL.set(F32, row + 4L * i, value);
        }
    }
}
