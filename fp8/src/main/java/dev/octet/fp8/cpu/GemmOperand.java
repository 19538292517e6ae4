package dev.octet.fp8.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.PerformanceCliff;
import dev.octet.fp8.Fp8Codec;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;

/**
 * One operand of a GEMM, {@code [rows, K]}, as kernels see it: addresses, strides in bytes, and how its codes decode.
 * Codes are contiguous along K or along the rows; other strides are copied away first. Fields change with {@link #set}
 * alone, not while a kernel runs.
 */
final class GemmOperand implements AutoCloseable {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;

    /** How far below its value a code decodes by shift and mask: 127 less the exponent bias of its format. */
    static final int E4M3_DEFICIT = 127 - 7;
    static final int E5M2_DEFICIT = 127 - 15;

    long rows;
    long k;
    /** Address of the first code. */
    long address;
    long rowStride;
    long kStride;
    boolean kContiguous;
    DType format = DType.F8_E4M3;
    /** After an arithmetic shift of a code from an int's top byte, the mask keeps the code's FP32 bits. */
    int shift;
    int mask;
    /** Added to a magnitude in a byte, it sets the top bit if the code is a NaN (E4M3) or not finite (E5M2). */
    int probe;
    /** The magnitude of the largest code that is finite. */
    int lastFinite;
    /** The one of the two of its format. */
    int exponentDeficit;

    private Granularity granularity = Granularity.TENSOR;
    private boolean e8m0;
    private long scaleAddress;
    private long scaleRowStride;
    private long scaleKStride;
    private @Nullable Tensor scales;
    private @Nullable Tensor codes;
    private @Nullable Tensor copy;

    /** Becomes rows {@code from} to {@code to - 1}, without a view of them; where blocks of scales have rows, a block. */
    void set(ScaledTensor x, long from, long to) {
        rows = to - from;
        k = x.columns();
        Tensor c = x.codes();
        // An extent of one makes its stride meaningless.
        long rs = rows == 1 && c.stride(1) != 1 ? 1 : c.stride(0);
        long ks = k == 1 ? 1 : c.stride(1);
        if (ks != 1 && rs != 1) {
            PerformanceCliff.GEMM_OPERAND_COPIED.report();
            copy = c.slice(0, from, to).copy();
            c = copy;
            rs = c.stride(0);
            ks = 1;
            address = c.address();
        } else {
            copy = null;
            address = c.address() + from * c.stride(0);
        }
        codes = c;
        rowStride = rs;
        kStride = ks;
        kContiguous = ks == 1;
        format = x.format();
        boolean e4m3 = format == DType.F8_E4M3;
        shift = e4m3 ? 4 : 3;
        mask = e4m3 ? 0x87F0_0000 : 0x8FE0_0000;
        probe = e4m3 ? 0x0101_0101 : 0x0404_0404;
        lastFinite = e4m3 ? 0x7E : 0x7B;
        exponentDeficit = e4m3 ? E4M3_DEFICIT : E5M2_DEFICIT;
        granularity = x.scaling().granularity();
        e8m0 = x.scaling().format() == ScaleFormat.E8M0;
        Tensor s = x.scales();
        scales = s;
        scaleRowStride = s.stride(0);
        long firstScale = from / granularity.blockRows() * scaleRowStride; // 0 where all rows share them
        scaleAddress = s.address() + (e8m0 ? 1 : 4) * firstScale;
        scaleKStride = s.stride(1);
    }

    /** {@return the number of blocks of 128 along K} */
    int blocks() {
        return Math.toIntExact(Math.ceilDiv(k, 128L));
    }

    /** {@return whether all rows of a block of 128 share their scales} */
    boolean sharesScalesIn128Rows() {
        return granularity == Granularity.BLOCK_128X128 || granularity == Granularity.TENSOR;
    }

    /** {@return the scale of a row in a block of 128 along K} */
    float scale(long row, long block) {
        long index = switch (granularity) {
            case BLOCK_1X128 -> row * scaleRowStride + block * scaleKStride;
            case BLOCK_128X128 -> (row >> 7) * scaleRowStride + block * scaleKStride;
            case ROW -> row * scaleRowStride;
            case TENSOR -> 0;
            case BLOCK_128X1 -> throw new IllegalStateException("a GEMM operand is never scaled 128x1");
        };
        return e8m0
                ? Fp8Codec.decodeE8M0(ALL.get(ValueLayout.JAVA_BYTE, scaleAddress + index))
                : ALL.get(F32, scaleAddress + index * 4);
    }

    /** {@return the code of one element} */
    byte code(long row, long column) {
        return ALL.get(ValueLayout.JAVA_BYTE, address + row * rowStride + column * kStride);
    }

    /** {@return whether a row has a NaN or, in E5M2, an infinity} */
    boolean hasSpecial(long row) {
        return hasSpecial(row, 0, k);
    }

    /** {@return whether a row has one in a range of K, which may end beyond it} */
    boolean hasSpecial(long row, long from, long to) {
        for (long i = from; i < Math.min(to, k); i++) {
            if ((code(row, i) & 0x7F) > lastFinite) {
                return true;
            }
        }
        return false;
    }

    /** Keeps the memory reachable until here, not longer, and frees the copy if there is one. */
    @Override
    public void close() {
        Reference.reachabilityFence(codes);
        Reference.reachabilityFence(scales);
        codes = null;
        scales = null;
        if (copy != null) {
            copy.close();
            copy = null;
        }
    }
}
