package dev.octet.fp8.ffm;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.ref.Reference;

/**
 * The quantisers in native code, with AVX2 or AVX-512: matrices whose rows, or whose columns, are contiguous. Not to be
 * touched without {@link Fp8Library#hasConverters}.
 */
final class FfmQuantizer {
    /** The size of {@code struct fp8_quantize}. */
    private static final int STRUCT_BYTES = 128;
    /** Blocks across a task where 128 rows share their scales. All but the first are fetched ahead. */
    private static final long SQUARES = 16;
    /** Rows whose scales, which lie column by column, share a cache line: two threads should not write to one. */
    private static final int SCALES_OF_LINE = 16;
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT_UNALIGNED;
    private static final MethodHandle QUANTIZE = Fp8Library.converter("quantize", 5);
    private static final MethodHandle AMAX = Fp8Library.converter("amax", 6);
    private static final MethodHandle SCALE = Fp8Library.converter("scale", 2);
    private static final MethodHandle ENCODE = Fp8Library.converter("encode", 6);

    private FfmQuantizer() {}

    /** {@return whether there is a kernel for it} */
    static boolean takes(Tensor source, ScaledTensor target) {
        return source.shape().elements() > 0
                && (FfmBlocks.hasRows(source) && FfmBlocks.hasRows(target.codes()) || isTransposed(source, target));
    }

    private static boolean isTransposed(Tensor source, ScaledTensor target) {
        return FfmBlocks.hasColumns(source) && FfmBlocks.hasColumns(target.codes())
                && target.scaling().granularity() != Granularity.ROW;
    }

    static void quantize(Tensor source, ScaledTensor target, CpuPool pool) {
        if (!FfmBlocks.hasRows(source) || !FfmBlocks.hasRows(target.codes())) {
            quantize(source.transpose(), target.transpose(), pool);
            return;
        }
        Granularity granularity = target.scaling().granularity();
        Tensor codes = target.codes();
        boolean dense = granularity == Granularity.TENSOR && source.isContiguous() && codes.isContiguous();
        long rows = dense ? 1 : target.rows();
        long columns = dense ? source.shape().elements() : target.columns();
        FfmBlocks blocks = cut(rows, columns, granularity);
        boolean whole = granularity == Granularity.TENSOR;
        long job = Scratch.get(GemmJob.SLOT_CALLER, STRUCT_BYTES + (whole ? 4L * blocks.tasks() : 0)).address();
        describe(job, source.address(), source.stride(0), source.dtype(), target, rows, columns);
        try {
            if (whole) {
                wholeMatrix(job, blocks, pool);
            } else {
                blocks.run(pool, (task, row, n, block, m) -> quantize(job, row, n, block, m));
            }
        } finally {
            Reference.reachabilityFence(source);
            Reference.reachabilityFence(target);
        }
    }

    /** Writes {@code struct fp8_quantize}. A target that is seen as one row has its codes side by side. */
    static void describe(long job, long x, long xRow, DType type, ScaledTensor target, long rows, long columns) {
        Granularity granularity = target.scaling().granularity();
        Tensor codes = target.codes();
        Tensor scales = target.scales();
        ScaleFormat format = target.scaling().format();
        FfmBlocks.put(job, x, xRow, FfmBlocks.type(type), codes.address(), codes.stride(0),
                target.format() == DType.F8_E5M2 ? 1 : 0, scales.address(), scales.stride(0), scales.stride(1),
                format == ScaleFormat.E8M0 ? 1 : 0, format.isPowerOfTwo() ? 1 : 0, granularity.blockRows(),
                granularity.blockColumns(), rows, columns,
                FfmBlocks.isPastCache(codes, rows, columns, codes.stride(0)) ? 1 : 0);
    }

    private static FfmBlocks cut(long rows, long columns, Granularity granularity) {
        long blocks = FfmBlocks.blocks(columns);
        return switch (granularity) {
            case BLOCK_128X128, BLOCK_128X1 -> new FfmBlocks(rows, columns, FfmBlocks.BLOCK, Math.min(blocks, SQUARES));
            case BLOCK_1X128 -> FfmBlocks.along(rows, columns, SCALES_OF_LINE);
            case ROW -> new FfmBlocks(rows, columns, rows == 1 ? 1 : GemmLayout.roundUp(
                    Math.max(1, FfmBlocks.TASK_BLOCKS / blocks), SCALES_OF_LINE), blocks);
            case TENSOR -> FfmBlocks.along(rows, columns, 1);
        };
    }

    /** Twice: first for the largest magnitude of all, whatever the order of the tasks. */
    private static void wholeMatrix(long job, FfmBlocks blocks, CpuPool pool) {
        long results = job + STRUCT_BYTES;
        blocks.run(pool, (task, row, n, block, m) -> amax(job, row, n, block, m, results + 4L * task));
        int max = 0;
        for (int t = 0; t < blocks.tasks(); t++) {
            max = Math.max(max, ALL.get(I32, results + 4L * t));
        }
        long bits = max;
        scale(job, bits);
        blocks.run(pool, (task, row, n, block, m) -> encode(job, row, n, block, m, bits));
    }

    /** One task. */
    static void quantize(long job, long row, long rows, long block, long blocks) {
        try {
            QUANTIZE.invokeExact(job, row, rows, block, blocks);
        } catch (Throwable e) {
            throw GemmKernels.asUnchecked(e);
        }
    }

    private static void amax(long job, long row, long rows, long block, long blocks, long result) {
        try {
            AMAX.invokeExact(job, row, rows, block, blocks, result);
        } catch (Throwable e) {
            throw GemmKernels.asUnchecked(e);
        }
    }

    private static void scale(long job, long maxBits) {
        try {
            SCALE.invokeExact(job, maxBits);
        } catch (Throwable e) {
            throw GemmKernels.asUnchecked(e);
        }
    }

    private static void encode(long job, long row, long rows, long block, long blocks, long maxBits) {
        try {
            ENCODE.invokeExact(job, row, rows, block, blocks, maxBits);
        } catch (Throwable e) {
            throw GemmKernels.asUnchecked(e);
        }
    }
}
