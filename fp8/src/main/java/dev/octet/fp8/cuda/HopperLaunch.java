package dev.octet.fp8.cuda;

import dev.octet.cuda.TensorMap;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A launch of {@code fp8_gemm_hopper.cu} but for the GPU: what {@link TensorCoreGemm} prepares, and a GPU or an
 * emulation runs.
 *
 * @param choice the variant, the grid and the cluster
 * @param maps tensor maps of left, right, the scales of left's and of right's rows, and D; null where the variant has
 *     no use for one
 * @param arguments the struct {@code GemmArguments}
 */
record HopperLaunch(HopperModel.Choice choice, List<@Nullable Map> maps, MemorySegment arguments) {
    /** Groups that a launch passes by value. */
    static final int MOST_GROUPS = 256;
    /** Bytes of {@code GemmArguments}. */
    static final int ARGUMENT_BYTES = 160 + 2 * 4 * MOST_GROUPS;
    /** Parameters of the kernel that are maps. */
    static final int MAPS = 5;

    /**
     * A tensor map before it is encoded.
     *
     * @param layout extents, strides, box and swizzle
     * @param address of the first element
     */
    record Map(TensorMap.Layout layout, long address) {}
}
