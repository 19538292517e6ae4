package dev.octet.fp8.ffm;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.ref.Reference;

/**
 * Dequantisation and casts in native code, with AVX2 or AVX-512: matrices whose rows, or whose columns, are contiguous,
 * and casts of tensors of any rank that are dense. Not to be touched without {@link Fp8Library#hasConverters}.
 */
final class FfmConverter {
    /** The size of {@code struct fp8_convert}, in whole cache lines. */
    private static final int STRUCT_BYTES = 128;
    private static final MemorySegment ONE = Arena.global().allocateFrom(ValueLayout.JAVA_FLOAT, 1f);
    private static final long ALL_ROWS = Granularity.TENSOR.blockRows();
    private static final MethodHandle DEQUANTIZE = Fp8Library.converter("dequantize", 5);
    private static final MethodHandle CAST = Fp8Library.converter("cast", 5);

    private FfmConverter() {}

    /** {@return whether there is a kernel for it} */
    static boolean takes(ScaledTensor source, Tensor target) {
        return target.shape().elements() > 0
                && (FfmBlocks.hasRows(source.codes()) && FfmBlocks.hasRows(target)
                || FfmBlocks.hasColumns(source.codes()) && FfmBlocks.hasColumns(target)
                && source.scaling().granularity() != Granularity.ROW);
    }

    static void dequantize(ScaledTensor source, Tensor target, CpuPool pool) {
        Tensor codes = source.codes();
        if (!FfmBlocks.hasRows(codes) || !FfmBlocks.hasRows(target)) {
            dequantize(source.transpose(), target.transpose(), pool);
            return;
        }
        Granularity granularity = source.scaling().granularity();
        boolean dense = granularity == Granularity.TENSOR && codes.isContiguous() && target.isContiguous();
        long rows = dense ? 1 : source.rows();
        long columns = dense ? codes.shape().elements() : source.columns();
        Tensor scales = source.scales();
        long job = Scratch.get(GemmJob.SLOT_CALLER, STRUCT_BYTES).address();
        FfmBlocks.put(job, codes.address(), codes.stride(0), codes.dtype() == DType.F8_E5M2 ? 1 : 0, target.address(),
                target.stride(0), FfmBlocks.type(target.dtype()), scales.address(), scales.stride(0), scales.stride(1),
                source.scaling().format() == ScaleFormat.E8M0 ? 1 : 0, granularity.blockRows(),
                granularity.blockColumns(), 0, FfmBlocks.isPastCache(target, rows, columns, target.stride(0)) ? 1 : 0);
        run(false, job, rows, columns, pool);
        Reference.reachabilityFence(source);
        Reference.reachabilityFence(target);
    }

    /** {@return whether there is a kernel for it} */
    static boolean takes(Tensor source, Tensor target) {
        return source.shape().elements() > 0
                && (source.isContiguous() && target.isContiguous() || source.shape().rank() == 2
                && (FfmBlocks.hasRows(source) && FfmBlocks.hasRows(target)
                || FfmBlocks.hasColumns(source) && FfmBlocks.hasColumns(target)));
    }

    static void cast(Tensor source, Tensor target, Overflow overflow, CpuPool pool) {
        boolean dense = source.isContiguous() && target.isContiguous();
        if (!dense && !(FfmBlocks.hasRows(source) && FfmBlocks.hasRows(target))) {
            cast(source.transpose(), target.transpose(), overflow, pool);
            return;
        }
        boolean encode = target.dtype().isFp8();
        Tensor codes = encode ? target : source;
        Tensor floats = encode ? source : target;
        long rows = dense ? 1 : source.dim(0);
        long columns = dense ? source.shape().elements() : source.dim(1);
        long codeRow = dense ? 0 : codes.stride(0);
        long floatRow = dense ? 0 : floats.stride(0);
        long job = Scratch.get(GemmJob.SLOT_CALLER, STRUCT_BYTES).address();
        FfmBlocks.put(job, codes.address(), codeRow, codes.dtype() == DType.F8_E5M2 ? 1 : 0, floats.address(),
                floatRow, FfmBlocks.type(floats.dtype()), ONE.address(), 0, 0, 0, ALL_ROWS, ALL_ROWS,
                overflow == Overflow.SATURATE ? 1 : 0,
                FfmBlocks.isPastCache(target, rows, columns, encode ? codeRow : floatRow) ? 1 : 0);
        run(encode, job, rows, columns, pool);
        Reference.reachabilityFence(source);
        Reference.reachabilityFence(target);
    }

    private static void run(boolean encode, long job, long rows, long columns, CpuPool pool) {
        FfmBlocks.along(rows, columns, 1).run(pool, (task, row, n, block, m) -> {
            long column = block * FfmBlocks.BLOCK;
            long count = Math.min(m * FfmBlocks.BLOCK, columns - column);
            if (encode) {
                cast(job, row, n, column, count);
            } else {
                dequantize(job, row, n, column, count);
            }
        });
    }

    private static void cast(long job, long row, long rows, long column, long columns) {
        try {
            CAST.invokeExact(job, row, rows, column, columns);
        } catch (Throwable e) {
            throw GemmKernels.asUnchecked(e);
        }
    }

    /** One task; columns begin a block. */
    static void dequantize(long job, long row, long rows, long column, long columns) {
        try {
            DEQUANTIZE.invokeExact(job, row, rows, column, columns);
        } catch (Throwable e) {
            throw GemmKernels.asUnchecked(e);
        }
    }
}
