package dev.octet.fp8.cuda;

import java.lang.foreign.MemorySegment;

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

    /**
     * {@return the address of memory for what one launch leaves to the next, {@link Fp8Kernel#SCRATCH_BYTES} long; only
     * launches in the order of the calling thread's share it}
     */
    long scratch();
}
