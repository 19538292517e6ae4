package dev.octet.fp8.cuda;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A thread's memory for the parameters of the next launch, so that a launch allocates nothing. The structs are those of
 * the {@code .cu} files; all of their fields are 4 or 8 bytes wide and lie where the file's order puts them.
 */
final class ParameterBlock {
    static final int CAST_BYTES = 136;
    static final int QUANTIZE_BYTES = 160;
    static final int DEQUANTIZE_BYTES = 120;
    static final int GEMM_BYTES = 2776;
    static final int STAGE_BYTES = 320;

    private static final ThreadLocal<ParameterBlock> MINE = ThreadLocal.withInitial(ParameterBlock::new);

    final MemorySegment cast;
    final MemorySegment quantize;
    final MemorySegment dequantize;
    final MemorySegment gemm;
    final MemorySegment stage;

    private ParameterBlock() {
        Arena arena = Arena.ofAuto(); // lives as long as the segments
        cast = arena.allocate(CAST_BYTES, 16);
        quantize = arena.allocate(QUANTIZE_BYTES, 16);
        dequantize = arena.allocate(DEQUANTIZE_BYTES, 16);
        gemm = arena.allocate(GEMM_BYTES, 16);
        stage = arena.allocate(STAGE_BYTES, 16);
    }

    /** {@return that of the calling thread} */
    static ParameterBlock mine() {
        return MINE.get();
    }

    static void setInt(MemorySegment block, long at, int value) {
        block.set(ValueLayout.JAVA_INT, at, value);
    }

    static void setInt(MemorySegment block, long at, boolean value) {
        block.set(ValueLayout.JAVA_INT, at, value ? 1 : 0);
    }

    static void setLong(MemorySegment block, long at, long value) {
        block.set(ValueLayout.JAVA_LONG, at, value);
    }
}
