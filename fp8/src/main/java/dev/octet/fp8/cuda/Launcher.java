package dev.octet.fp8.cuda;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * Where kernels run. What is launched by one thread is done in that order, each launch after the one before. Safe for
 * use by several threads.
 */
interface Launcher {
    /** {@code -Doctet.fp8.cuda.splitK=false}: a plain product has a group's bits, and takes longer. */
    boolean SPLITS_K = Boolean.parseBoolean(System.getProperty("octet.fp8.cuda.splitK", "true"));

    /**
     * Runs a kernel.
     *
     * @param kernel which
     * @param blocks blocks of the grid, at least 1
     * @param parameters the kernel's only parameter, a struct; it may be changed as soon as this returns
     */
    void launch(Fp8Kernel kernel, long blocks, MemorySegment parameters);

    /** {@return what a Hopper GPU's GEMM may count on, or null where there is no Hopper GPU} */
    default HopperModel.@Nullable Gpu hopper() {
        return null;
    }

    /**
     * {@return whether the Hopper GEMM may split K of a small plain product among blocks, whose sums are then added in
     * another order than a group's}
     */
    default boolean splitsK() {
        return SPLITS_K;
    }

    /**
     * Runs the Hopper GEMM.
     *
     * @param launch what was prepared for it; it may be changed as soon as this returns
     */
    default void launch(HopperLaunch launch) {
        throw new IllegalStateException("no Hopper GPU");
    }

    /**
     * {@return the address of memory for what one launch leaves to the next, {@link Fp8Kernel#SCRATCH_BYTES} long; to
     * be asked for and used with {@link #order} locked}
     */
    long scratch();

    /**
     * {@return the address of memory, a multiple of 256, for what the next launches of the calling thread leave to each
     * other; it may be that of {@link #scratch}. 0 where there can be none: work that is recorded into a graph would
     * find others' in it. As {@link #scratch}, with {@link #order} locked}
     *
     * @param bytes at least so much
     */
    default long workspace(long bytes) {
        return 0;
    }

    /**
     * {@return what is to be locked from the first to the last of launches that leave something to each other: threads
     * can share a stream, and with it this memory}
     */
    default Object order() {
        return this;
    }
}
