package dev.octet.fp8.ffm;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import dev.octet.core.ffi.InstructionSet;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.ref.Reference;

/** The quantisers in native code: F32 and BF16 with unit stride along rows, 1x128 and 128x128, with AVX-512. */
final class FfmQuantizer {
    private static final ValueLayout.OfLong I64 = ValueLayout.JAVA_LONG_UNALIGNED;
    private static final int BLOCK = Granularity.BLOCK;
    /** The size of {@code struct fp8_quantize}. */
    private static final int STRUCT_BYTES = 128;
    /** Blocks of a task: 64 Ki elements. */
    private static final long TASK_BLOCKS = 512;
    /** The same where 128 rows share their scales, which are read twice: 512 KiB at most, in the second-level cache. */
    private static final long SQUARES_BF16 = 16;
    private static final long SQUARES_F32 = 8;
    /** Below this a second thread costs more than it brings. */
    private static final long SERIAL_ELEMENTS = 1 << 15;
    /** From so many codes on they are written past the caches: more than a second-level cache holds. */
    private static final long PAST_CACHE = 4 << 20;
    private static final int LINE = 64;
    /** Rows whose scales, which lie column by column, share a cache line: two threads should not write to one. */
    private static final int SCALES_OF_LINE = 16;
    private static final MethodHandle QUANTIZE =
            Fp8Library.procedureFor(InstructionSet.AVX512, "quantize", 5);

    private FfmQuantizer() {}

    /** {@return whether there is a kernel for it here} */
    static boolean takes(Tensor source, ScaledTensor target) {
        Granularity g = target.scaling().granularity();
        return Fp8Library.has(InstructionSet.AVX512)
                && (source.dtype() == DType.F32 || source.dtype() == DType.BF16)
                && source.stride(1) == 1 && target.codes().stride(1) == 1
                && (g == Granularity.BLOCK_1X128 || g == Granularity.BLOCK_128X128)
                && source.shape().elements() > 0;
    }

    static void quantize(Tensor source, ScaledTensor target, CpuPool pool) {
        long rows = target.rows();
        long columns = target.columns();
        boolean bf16 = source.dtype() == DType.BF16;
        boolean squares = target.scaling().granularity() == Granularity.BLOCK_128X128;
        long job = Scratch.get(GemmJob.SLOT_CALLER, STRUCT_BYTES).address();
        Tensor codes = target.codes();
        Tensor scales = target.scales();
        ScaleFormat format = target.scaling().format();
        boolean aligned = codes.address() % LINE == 0 && codes.stride(0) % LINE == 0;
        long[] fields = {source.address(), source.stride(0), bf16 ? 1 : 0, codes.address(), codes.stride(0),
            target.format() == DType.F8_E5M2 ? 1 : 0, scales.address(), scales.stride(0), scales.stride(1),
            format == ScaleFormat.E8M0 ? 1 : 0, format.isPowerOfTwo() ? 1 : 0, squares ? BLOCK : 1, rows, columns,
            aligned && rows * columns >= PAST_CACHE ? 1 : 0};
        for (int i = 0; i < fields.length; i++) {
            ALL.set(I64, job + 8L * i, fields[i]);
        }
        long blocks = Math.ceilDiv(columns, (long) BLOCK);
        long taskBlocks = Math.min(blocks, squares ? bf16 ? SQUARES_BF16 : SQUARES_F32 : TASK_BLOCKS);
        long taskRows = squares ? BLOCK : GemmLayout.roundUp(Math.max(1, TASK_BLOCKS / taskBlocks), SCALES_OF_LINE);
        long across = Math.ceilDiv(blocks, taskBlocks);
        int tasks = Math.toIntExact(Math.multiplyExact(across, Math.ceilDiv(rows, taskRows)));
        CpuPool.Task task = t -> {
            long row = t / across * taskRows;
            long block = t % across * taskBlocks;
            call(job, row, Math.min(taskRows, rows - row), block, Math.min(taskBlocks, blocks - block));
        };
        try {
            if (rows * columns <= SERIAL_ELEMENTS) {
                for (int t = 0; t < tasks; t++) {
                    task.run(t);
                }
            } else {
                pool.run(tasks, task);
            }
        } finally {
            Reference.reachabilityFence(source);
            Reference.reachabilityFence(target);
        }
    }

    private static void call(long job, long row, long rows, long block, long blocks) {
        try {
            QUANTIZE.invokeExact(job, row, rows, block, blocks);
        } catch (Throwable e) {
            throw GemmKernels.asUnchecked(e);
        }
    }
}
