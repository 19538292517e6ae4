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
    public void add(long row, boolean bf16, float weight, float[] sums, int n) {
        if (bf16) {
            for (int i = 0; i < n; i++) {
                sums[i] = Math.fma(BFloat16.toFloat(ALL.get(I16, row + 2L * i)), weight, sums[i]);
            }
        } else {
            for (int i = 0; i < n; i++) {
                sums[i] = Math.fma(ALL.get(F32, row + 4L * i), weight, sums[i]);
            }
        }
    }

    @Override
    public void load(long row, boolean bf16, float[] x, int n) {
        if (bf16) {
            for (int i = 0; i < n; i++) {
                x[i] = BFloat16.toFloat(ALL.get(I16, row + 2L * i));
            }
        } else {
            MemorySegment.copy(ALL, F32, row, x, 0, n);
        }
    }

    @Override
    public void store(float[] x, long row, boolean bf16, int n) {
        if (bf16) {
            for (int i = 0; i < n; i++) {
                ALL.set(I16, row + 2L * i, BFloat16.fromFloat(x[i]));
            }
        } else {
            MemorySegment.copy(x, 0, ALL, F32, row, n);
        }
    }
}
