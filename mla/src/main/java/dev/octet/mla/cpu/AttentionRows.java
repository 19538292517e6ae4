package dev.octet.mla.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import java.lang.foreign.ValueLayout;

/** A tensor {@code [tokens, heads, dims]} of F32 or BF16 with any strides, a row at a time. */
final class AttentionRows {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED;

    private final long address;
    private final boolean bf16;
    private final int size;
    private final long tokenStride;
    private final long headStride;
    private final long stride;

    /** @param tensor of three dimensions, or of two: then all heads have the same rows */
    AttentionRows(Tensor tensor) {
        boolean shared = tensor.shape().rank() == 2;
        address = tensor.shape().elements() == 0 ? 0 : tensor.address();
        bf16 = tensor.dtype() == DType.BF16;
        size = tensor.dtype().byteSize();
        tokenStride = tensor.stride(0);
        headStride = shared ? 0 : tensor.stride(1);
        int last = shared ? 1 : 2;
        // An extent of one makes its stride meaningless.
        stride = tensor.dim(last) == 1 ? 1 : tensor.stride(last);
    }

    private long row(long token, long head) {
        return address + (token * tokenStride + head * headStride) * size;
    }

    private float get(long row, int i) {
        return bf16 ? BFloat16.toFloat(ALL.get(I16, row + i * stride * 2)) : ALL.get(F32, row + i * stride * 4);
    }

    void load(AttentionKernels kernels, long token, long head, int n, float[] to, int at) {
        long row = row(token, head);
        if (stride == 1) {
            kernels.load(row, bf16, n, to, at);
            return;
        }
        for (int i = 0; i < n; i++) {
            to[at + i] = get(row, i);
        }
    }

    /** See {@link AttentionKernels#loadKey}. */
    void loadKey(AttentionKernels kernels, long token, long head, int n, float[] k, int key, int firstDim) {
        long row = row(token, head);
        if (stride == 1) {
            kernels.loadKey(row, bf16, n, k, key, firstDim);
            return;
        }
        for (int i = 0; i < n; i++) {
            k[AttentionKernels.at(key, firstDim + i)] = get(row, i);
        }
    }

    void store(AttentionKernels kernels, long token, long head, int n, float[] from, int at) {
        long row = row(token, head);
        if (stride == 1) {
            kernels.store(from, at, n, row, bf16);
            return;
        }
        for (int i = 0; i < n; i++) {
            if (bf16) {
                ALL.set(I16, row + i * stride * 2, BFloat16.fromFloat(from[at + i]));
            } else {
                ALL.set(F32, row + i * stride * 4, from[at + i]);
            }
        }
    }
}
