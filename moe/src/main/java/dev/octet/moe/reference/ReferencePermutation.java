package dev.octet.moe.reference;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.fp8.ScaledTensor;
import dev.octet.moe.TokenPermutation;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/** The way of rows to experts and back, element by element. */
final class ReferencePermutation {
    private ReferencePermutation() {}

    private static float get(Tensor t, long row, long column) {
        return t.getFloat(row, column);
    }

    private static void set(Tensor t, long row, long column, float value) {
        long at = row * t.stride(0) + column * t.stride(1);
        MemorySegment s = t.segment();
        if (t.dtype() == DType.F32) {
            s.set(ValueLayout.JAVA_FLOAT_UNALIGNED, at * 4, value);
        } else {
            s.set(ValueLayout.JAVA_SHORT_UNALIGNED, at * 2, BFloat16.fromFloat(value));
        }
    }

    /** Copies bits, or writes the given ones where there is no row to copy. */
    private static void move(Tensor from, long row, Tensor to, long position, long otherwise) {
        int size = to.dtype().byteSize();
        for (long c = 0; c < to.dim(1); c++) {
            for (int b = 0; b < size; b++) {
                long at = (position * to.stride(0) + c * to.stride(1)) * size + b;
                byte value = row < 0 ? (byte) (otherwise >>> 8 * b) : from.segment().get(ValueLayout.JAVA_BYTE,
                        (row * from.stride(0) + c * from.stride(1)) * size + b);
                to.segment().set(ValueLayout.JAVA_BYTE, at, value);
            }
        }
    }

    static void expand(TokenPermutation p, Tensor tokens, @Nullable Tensor weights, Tensor out) {
        for (int i = 0; i < p.positions(); i++) {
            int t = p.tokenAt(i);
            if (weights == null || t < 0) {
                move(tokens, t, out, i, 0);
                continue;
            }
            for (long c = 0; c < out.dim(1); c++) {
                set(out, i, c, get(tokens, t, c) * get(weights, t, p.slotAt(i)));
            }
        }
    }

    static void expand(TokenPermutation p, ScaledTensor tokens, ScaledTensor out) {
        long one = out.scales().dtype() == DType.F32 ? Float.floatToRawIntBits(1) : 127;
        for (int i = 0; i < p.positions(); i++) {
            move(tokens.codes(), p.tokenAt(i), out.codes(), i, 0);
            move(tokens.scales(), p.tokenAt(i), out.scales(), i, one);
        }
    }

    static void reduce(TokenPermutation p, Tensor rows, @Nullable Tensor weights, Tensor out) {
        for (int t = 0; t < p.tokens(); t++) {
            for (long c = 0; c < out.dim(1); c++) {
                float sum = 0;
                for (int j = 0; j < p.topK(); j++) {
                    int position = p.positionOf(t, j);
                    if (position >= 0) {
                        sum = Math.fma(get(rows, position, c), weights == null ? 1 : get(weights, t, j), sum);
                    }
                }
                set(out, t, c, sum);
            }
        }
    }

    static void weightGradients(TokenPermutation p, Tensor rows, Tensor gradient, Tensor out) {
        for (int t = 0; t < p.tokens(); t++) {
            for (int j = 0; j < p.topK(); j++) {
                int position = p.positionOf(t, j);
                double sum = 0;
                for (long c = 0; position >= 0 && c < gradient.dim(1); c++) {
                    sum += (double) get(rows, position, c) * get(gradient, t, c);
                }
                set(out, t, j, (float) sum);
            }
        }
    }
}
