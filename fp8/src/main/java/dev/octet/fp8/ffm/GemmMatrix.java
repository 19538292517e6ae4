package dev.octet.fp8.ffm;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.PerformanceCliff;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;

/**
 * One operand of a GEMM, {@code [rows, K]}, as the native kernels take it: codes are contiguous along K or along the
 * rows; other strides are copied away first.
 */
final class GemmMatrix implements AutoCloseable {
    private static final ValueLayout.OfLong I64 = ValueLayout.JAVA_LONG_UNALIGNED;
    private static final int SHIFT_TO_ZERO = 63;

    final long rows;
    final long k;
    final boolean kContiguous;
    private final long address;
    private final long rowStride;
    private final long kStride;
    private final boolean e5m2;
    private final boolean e8m0;
    private final long scaleAddress;
    private final int scaleShift;
    private final long scaleRow;
    private final long scaleBlock;
    private final Tensor codes;
    private final Tensor scales;
    private final @Nullable Tensor copy;

    GemmMatrix(ScaledTensor x) {
        rows = x.rows();
        k = x.columns();
        Tensor c = x.codes();
        // An extent of one makes its stride meaningless.
        long rs = rows == 1 && c.stride(1) != 1 ? 1 : c.stride(0);
        long ks = k == 1 ? 1 : c.stride(1);
        if (ks != 1 && rs != 1) {
            PerformanceCliff.GEMM_OPERAND_COPIED.report();
            copy = c.copy();
            c = copy;
            rs = c.stride(0);
            ks = 1;
        } else {
            copy = null;
        }
        codes = c;
        address = c.address();
        rowStride = rs;
        kStride = ks;
        kContiguous = ks == 1;
        e5m2 = x.format() == DType.F8_E5M2;
        e8m0 = x.scaling().format() == ScaleFormat.E8M0;
        scales = x.scales();
        scaleAddress = scales.address();
        Granularity g = x.scaling().granularity();
        scaleShift = switch (g) {
            case BLOCK_1X128, ROW -> 0;
            case BLOCK_128X128 -> 7;
            case TENSOR -> SHIFT_TO_ZERO;
            case BLOCK_128X1 -> throw new IllegalStateException("a GEMM operand is never scaled 128x1");
        };
        scaleRow = g == Granularity.TENSOR ? 0 : scales.stride(0);
        scaleBlock = g == Granularity.BLOCK_1X128 || g == Granularity.BLOCK_128X128 ? scales.stride(1) : 0;
    }

    /** Writes the {@code struct fp8_operand} of the rows from one on, which begins a block of scales. */
    void put(long struct, long firstRow) {
        long scaleAt = (firstRow >> scaleShift) * scaleRow;
        ALL.set(I64, struct, address + firstRow * rowStride);
        ALL.set(I64, struct + 8, rowStride);
        ALL.set(I64, struct + 16, kStride);
        ALL.set(I64, struct + 24, e5m2 ? 1 : 0);
        ALL.set(I64, struct + 32, scaleAddress + scaleAt * (e8m0 ? 1 : 4));
        ALL.set(I64, struct + 40, scaleShift);
        ALL.set(I64, struct + 48, scaleRow);
        ALL.set(I64, struct + 56, scaleBlock);
        ALL.set(I64, struct + 64, e8m0 ? 1 : 0);
    }

    /** Keeps the memory reachable until here, and frees the copy if there is one. */
    @Override
    public void close() {
        Reference.reachabilityFence(codes);
        Reference.reachabilityFence(scales);
        if (copy != null) {
            copy.close();
        }
    }
}
