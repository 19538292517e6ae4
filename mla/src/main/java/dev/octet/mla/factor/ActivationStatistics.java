package dev.octet.mla.factor;

import dev.octet.core.Tensor;

/**
 * Mean and covariance of the activations that enter a layer's attention, collected batch by batch, so that any number
 * of tokens takes the memory of one {@code hidden x hidden} matrix of doubles. One thread at a time may use an
 * instance.
 */
public final class ActivationStatistics {
    private final int hidden;
    /** The first token, from which all are counted: the mean is far larger than the spread in some channels. */
    private double[] origin = {};
    private final double[] sum;
    private final Matrix64 squares;
    private long tokens;

    /**
     * Makes empty statistics.
     *
     * @param hidden the width of the activations; positive
     * @throws IllegalArgumentException if it is not positive
     */
    public ActivationStatistics(int hidden) {
        if (hidden < 1) {
            throw new IllegalArgumentException("hidden is " + hidden + ", it must be positive");
        }
        this.hidden = hidden;
        sum = new double[hidden];
        squares = new Matrix64(hidden, hidden);
    }

    /**
     * Adds tokens.
     *
     * @param activations {@code [tokens, hidden]} of F32 or BF16 on the CPU, of any strides; what the layer's key and
     *     value projections read, so after the norm of a pre-norm layer. Only read during the call
     * @throws IllegalArgumentException if the shape, dtype or device does not fit, or an element is not finite; nothing
     *     was added then
     */
    public void add(Tensor activations) {
        requireActivations(activations, hidden);
        Matrix64 x = Matrix64.read("activations", activations);
        if (x.rows() == 0) {
            return;
        }
        if (tokens == 0) {
            origin = java.util.Arrays.copyOf(x.data(), hidden);
        }
        double[] shift = new double[hidden];
        for (int c = 0; c < hidden; c++) {
            shift[c] = -origin[c];
        }
        x.addToRows(shift);
        for (int r = 0; r < x.rows(); r++) {
            for (int c = 0; c < hidden; c++) {
                sum[c] += x.data()[r * hidden + c];
            }
        }
        squares.addProduct(x.transpose(), x, 0, x.rows());
        tokens += x.rows();
    }

    static void requireActivations(Tensor activations, int hidden) {
        AttentionWeights.requireFloat("activations", activations);
        if (activations.shape().rank() != 2 || activations.dim(1) != hidden) {
            throw new IllegalArgumentException(
                    "activations has shape " + activations.shape() + ", it must be [tokens, " + hidden + "]");
        }
    }

    /** {@return how many tokens were added} */
    public long tokens() {
        return tokens;
    }

    /** {@return the width of the activations} */
    public int hidden() {
        return hidden;
    }

    /** The mean token. */
    double[] mean() {
        double[] mean = new double[hidden];
        for (int c = 0; c < hidden; c++) {
            mean[c] = origin[c] + sum[c] / tokens;
        }
        return mean;
    }

    /** The mean of {@code (x - center)(x - center)^T}; center is the mean, or zero. */
    Matrix64 moment(boolean centered) {
        Matrix64 m = squares.copy();
        double[] mean = mean();
        for (int r = 0; r < hidden; r++) {
            for (int c = 0; c < hidden; c++) {
                double spread = m.data()[r * hidden + c] / tokens - sum[r] / tokens * (sum[c] / tokens);
                m.data()[r * hidden + c] = centered ? spread : spread + mean[r] * mean[c];
            }
        }
        return m;
    }
}
