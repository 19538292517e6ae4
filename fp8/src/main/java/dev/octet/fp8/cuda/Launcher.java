package dev.octet.fp8.cuda;

import java.lang.foreign.MemorySegment;
import java.util.Optional;

/**
 * Where kernels run. What is launched by one thread is done in that order, each launch after the one before. Safe for
 * use by several threads.
 */
interface Launcher {
    /**
     * Runs a kernel.
     *
     * @param kernel which
     * @param blocks blocks of the grid, at least 1
     * @param parameters the kernel's only parameter, a struct; it may be changed as soon as this returns
     */
    void launch(Fp8Kernel kernel, long blocks, MemorySegment parameters);

    /** {@return what a Hopper GPU's GEMM may count on, or nothing where there is no Hopper GPU} */
    default Optional<HopperModel.Gpu> hopper() {
        return Optional.empty();
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
     * {@return the address of memory for what one launch leaves to the next, {@link Fp8Kernel#SCRATCH_BYTES} long; only
     * launches in the order of the calling thread's share it}
     */
    long scratch();
}
