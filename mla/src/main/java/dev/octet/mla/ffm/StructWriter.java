package dev.octet.mla.ffm;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/** Writes a structure of {@code mla.h}: fields of 8 bytes, one after the other. */
final class StructWriter {
    private final MemorySegment to;
    private final long first;
    private long at;

    StructWriter(MemorySegment to, long at) {
        this.to = to;
        first = at;
        this.at = at;
    }

    void put(long value) {
        to.set(ValueLayout.JAVA_LONG, at, value);
        at += 8;
    }

    /** Address, whether it is BF16, and strides in bytes of {@code [tokens, heads, values]}. */
    void put(Tensor t) {
        put(t, t.stride(1), t.stride(2));
    }

    /** The same of {@code [tokens, values]}, which all heads share; of null nothing is read. */
    void putShared(@Nullable Tensor t) {
        if (t == null) {
            for (int i = 0; i < 5; i++) {
                put(0);
            }
        } else {
            put(t, 0, t.stride(1));
        }
    }

    private void put(Tensor t, long headStride, long stride) {
        long size = t.dtype().byteSize();
        put(t.shape().elements() == 0 ? 0 : t.address());
        put(t.dtype() == DType.BF16 ? 1 : 0);
        put(t.stride(0) * size);
        put(headStride * size);
        put(stride * size);
    }

    /** Address and strides of log-sum-exps, 0 if they are not wanted. */
    void putLse(@Nullable Tensor lse) {
        Tensor wanted = lse == null || lse.shape().elements() == 0 ? null : lse;
        put(wanted == null ? 0 : wanted.address());
        put(wanted == null ? 0 : wanted.stride(0) * 4);
        put(wanted == null ? 0 : wanted.stride(1) * 4);
    }

    void end(long bytes) {
        if (at - first != bytes) {
            throw new IllegalStateException("a struct has " + bytes + " bytes, " + (at - first) + " were written");
        }
    }
}
