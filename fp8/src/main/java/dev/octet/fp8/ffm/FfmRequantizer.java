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
import java.lang.ref.Reference;

/**
 * Requantisation in native code, as that from 1x128 to 128x1 between a forward pass and its weight gradient: 128 rows and
 * some blocks at a time, which become FP32 in the second-level cache and codes from there. Not to be touched without
 * {@link Fp8Library#hasConverters}.
 */
final class FfmRequantizer {
    private static final long BLOCK = Granularity.BLOCK;
    /** Blocks of a task. */
    private static final long TASK_BLOCKS = 2;
    /** From row to row in scratch, in elements: no power of two, so that rows don't meet in the cache. */
    private static final long PITCH = TASK_BLOCKS * BLOCK + 16;
    private static final long STRUCT_BYTES = 128;
    private static final ValueLayout.OfLong I64 = ValueLayout.JAVA_LONG_UNALIGNED;
    /** Where {@code struct fp8_convert} has its floats, and {@code struct fp8_quantize} its x. */
    private static final long FLOATS_AT = 3 * 8;
    private static final long X_AT = 0;

    private FfmRequantizer() {}

    /** {@return whether there is a kernel for it: groups must lie within a task} */
    static boolean takes(ScaledTensor source, ScaledTensor target) {
        Granularity granularity = target.scaling().granularity();
        return source.codes().shape().elements() > 0 && granularity != Granularity.ROW
                && granularity != Granularity.TENSOR
                && (FfmBlocks.hasRows(source.codes()) && FfmBlocks.hasRows(target.codes())
                || FfmBlocks.hasColumns(source.codes()) && FfmBlocks.hasColumns(target.codes())
                && source.scaling().granularity() != Granularity.ROW);
    }

    static void requantize(ScaledTensor source, ScaledTensor target, CpuPool pool) {
        if (!FfmBlocks.hasRows(source.codes()) || !FfmBlocks.hasRows(target.codes())) {
            requantize(source.transpose(), target.transpose(), pool);
            return;
        }
        long rows = source.rows();
        long columns = source.columns();
        long jobs = Scratch.get(GemmJob.SLOT_CALLER, 2 * STRUCT_BYTES).address();
        Granularity from = source.scaling().granularity();
        Tensor codes = source.codes();
        Tensor scales = source.scales();
        FfmBlocks.put(jobs, codes.address(), codes.stride(0), codes.dtype() == DType.F8_E5M2 ? 1 : 0, 0, PITCH,
                FfmBlocks.type(DType.F32), scales.address(), scales.stride(0), scales.stride(1),
                source.scaling().format() == ScaleFormat.E8M0 ? 1 : 0, from.blockRows(), from.blockColumns(), 0, 0);
        FfmQuantizer.describe(jobs + STRUCT_BYTES, 0, PITCH, DType.F32, target, rows, columns);
        try {
            new FfmBlocks(rows, columns, BLOCK, Math.min(TASK_BLOCKS, FfmBlocks.blocks(columns))).run(pool,
                    (task, row, n, block, m) -> task(jobs, row, n, block, m, columns));
        } finally {
            Reference.reachabilityFence(source);
            Reference.reachabilityFence(target);
        }
    }

    private static void task(long jobs, long row, long rows, long block, long blocks, long columns) {
        long column = block * BLOCK;
        long floatBytes = Float.BYTES * BLOCK * PITCH;
        long floats = Scratch.get(GemmJob.SLOT_TASK, floatBytes + 2 * STRUCT_BYTES).address();
        long decode = floats + floatBytes;
        long encode = decode + STRUCT_BYTES;
        for (long i = 0; i < 2 * STRUCT_BYTES; i += Long.BYTES) {
            ALL.set(I64, decode + i, ALL.get(I64, jobs + i));
        }
        long origin = floats - Float.BYTES * (row * PITCH + column);
        ALL.set(I64, decode + FLOATS_AT, origin);
        ALL.set(I64, encode + X_AT, origin);
        FfmConverter.dequantize(decode, row, rows, column, Math.min(blocks * BLOCK, columns - column));
        FfmQuantizer.quantize(encode, row, rows, block, blocks);
    }
}
