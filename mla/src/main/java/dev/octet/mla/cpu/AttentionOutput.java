package dev.octet.mla.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.Tensor;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** Where finished rows go. */
final class AttentionOutput {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;

    private final AttentionKernels kernels;
    private final AttentionRows rows;
    private final int dims;
    private final long lse;
    private final long tokenStride;
    private final long headStride;

    AttentionOutput(AttentionKernels kernels, Tensor out, @Nullable Tensor lse) {
        this.kernels = kernels;
        rows = new AttentionRows(out);
        dims = Math.toIntExact(out.dim(2));
        boolean wanted = lse != null && lse.shape().elements() > 0;
        this.lse = wanted ? lse.address() : 0;
        tokenStride = wanted ? lse.stride(0) : 0;
        headStride = wanted ? lse.stride(1) : 0;
    }

    /**
     * Writes one row.
     *
     * @param row its values
     * @param value its log-sum-exp
     */
    void write(long token, long head, float[] row, double value) {
        rows.store(kernels, token, head, dims, row, 0);
        if (lse != 0) {
            ALL.set(F32, lse + 4 * (token * tokenStride + head * headStride), (float) value);
        }
    }

    /** Writes what a query has that sees nothing. */
    void writeNothing(long token, long head, float[] row) {
        Arrays.fill(row, 0, dims, 0f);
        write(token, head, row, Double.POSITIVE_INFINITY);
    }
}
