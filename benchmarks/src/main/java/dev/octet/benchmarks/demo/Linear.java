package dev.octet.benchmarks.demo;

import dev.octet.core.Tensor;
import java.util.List;

/**
 * A linear layer {@code y = x W + b} for any number of rows. Not safe for several threads at a time; it shares its work
 * among a pool itself.
 */
interface Linear extends AutoCloseable {
    /**
     * Applies the layer.
     *
     * @param x {@code [rows, in]} F32, contiguous
     * @param y {@code [rows, out]} F32, contiguous; all of it is written
     */
    void apply(Tensor x, Tensor y);

    /** Bytes of the weights, scales included, bias not. */
    long weightBytes();

    @Override
    void close();

    /** Makes layers of one kind. */
    interface Factory {
        /**
         * Makes one layer out of matrices that read the same input, side by side.
         *
         * @param parts weights {@code [in, out]} and biases; only read during the call
         * @return a layer whose rows are the parts' outputs one after the other
         */
        Linear linear(List<MiniLm.Dense> parts);
    }
}
