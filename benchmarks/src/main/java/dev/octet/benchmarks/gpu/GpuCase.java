package dev.octet.benchmarks.gpu;

import dev.octet.cuda.CudaDevice;
import dev.octet.cuda.CudaStream;
import java.util.List;

/**
 * Something whose time on a GPU is measured.
 */
interface GpuCase {
    /** {@return its name, for example {@code launch/prepared}} */
    String name();

    /**
     * Makes everything ready. Closing the result frees it.
     *
     * @param gpu the GPU
     * @return what to measure
     * @throws UnsupportedOperationException if it can't run on this GPU; the message has the reason
     */
    Prepared prepare(CudaDevice gpu);

    /** A case that is ready to run. */
    interface Prepared extends AutoCloseable {
        /** {@return over how many sets of data the calls go round, so that none finds its data in the cache} */
        int sets();

        /** Gives the work to a stream, without waiting. */
        void run(CudaStream stream, int set);

        /** {@return what one call achieves, for rates: what and how much of it} */
        List<Amount> amounts();

        /** {@return whether a call can be recorded into a graph} */
        default boolean recordable() {
            return true;
        }

        @Override
        void close();
    }

    /**
     * An amount of work in one call.
     *
     * @param unit its rate's unit for a thousand millions in a second, for example {@code GB/s} or {@code GFLOP/s}
     * @param count how much
     */
    record Amount(String unit, double count) {}
}
