package dev.octet.mla.factor;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;
import org.ejml.data.DMatrixRMaj;
import org.ejml.dense.row.decomposition.eig.SymmetricQRAlgorithmDecomposition_DDRM;
import org.ejml.dense.row.decomposition.svd.SvdImplicitQrDecompose_DDRM;
import org.jspecify.annotations.Nullable;

/**
 * The joint low-rank factorisation of a layer's key and value projections, for all ranks at once:
 * {@code W = [W_K; W_V]}, {@code [kvHeads * (qkDim + vDim), hidden]}, becomes {@code Up * Down} with a latent of any
 * rank up to {@link #maxRank()} between the two. The factors of a rank are the first so many of the factors of the
 * largest.
 *
 * <p><b>Data-free</b> ({@link #ofWeights}): the rank-r matrix nearest to W in the Frobenius norm is its truncated
 * singular value decomposition (Eckart and Young 1936). Down has orthonormal rows.
 *
 * <p><b>Activation-aware</b> ({@link #ofActivations}): nearest where the layer's inputs are. Among all {@code W_r} of
 * rank r the one is taken for which {@code |(W - W_r) X|} is least, X the sample's tokens as columns, less their mean
 * if the options say so. It comes from {@code X X^T / tokens + ridge * I = R R^T}, R from the eigenvectors and the
 * roots of the eigenvalues:
 * <ol>
 * <li>{@code |E X|^2 / tokens + ridge |E|^2 = trace(E R R^T E^T) = |E R|^2} for every E, so {@code |W R - W_r R|} is
 *     what is to be least.
 * <li>{@code W_r R} has at most rank r, so it is no nearer to {@code W R} than the truncated decomposition
 *     {@code (W R)_r}; {@code W_r = (W R)_r R^-1} has rank r and reaches that.
 * </ol>
 * Over the sample, elements of its latent have mean 0 (if centered) and a variance of at most 1, and are uncorrelated
 * but for the ridge: a latent for formats of few bits. With fewer tokens than channels, or channels that depend on each
 * other, {@code X X^T} has no inverse; the ridge gives it one. See {@link FactorOptions#ridge()}.
 *
 * <p>In both, {@link Weighting} says how keys count against values, and the biases of the model stay outside of the
 * latent, exactly.
 *
 * <p><b>Rotary embeddings.</b> The factorisation is of the projections alone, and exact arithmetic about them. Where a
 * model turns keys by their positions after the projection (RoPE), the keys can still be made from cached latents and
 * then turned, so the memory is saved; but the decode form of latent attention is not open to it, since keyUp can't be
 * absorbed through a rotation that differs from token to token. DeepSeek-V2 &sect;2.1.3 keeps separate rotated channels
 * for that reason, which takes training and is not done here. {@link AttentionProbe} computes attention without any
 * rotation: its figures for keys and values hold for such models, those for the output do not.
 *
 * <p>Decompositions are EJML's, on one thread each; several may run at once. Instances are immutable and safe for use
 * by several threads.
 */
public final class LatentFactorization {
    /** Below this share of the largest eigenvalue one is rounding: sums of 10^6 products, 2^-53 each. */
    private static final double SINGULAR = 1e-10;

    private final int hidden;
    private final int keys;
    private final double[] singularValues;
    /** {@code [hidden, maxRank]}. */
    private final Matrix64 downT;
    /** {@code [maxRank, keys + values]}. */
    private final Matrix64 upT;
    /** {@code [maxRank]}: zero unless centered. */
    private final double[] downBias;
    /** {@code [keys + values]}: the model's biases, and the mean's keys and values if centered. */
    private final double[] upBias;
    private final boolean centered;
    private final boolean keyBias;
    private final boolean valueBias;

    private LatentFactorization(AttentionWeights weights, @Nullable Matrix64 moment, double @Nullable [] mean,
            FactorOptions options) {
        hidden = weights.hidden();
        keys = (int) weights.key().dim(0);
        Matrix64 wT = stacked(weights);
        int n = wT.columns();
        centered = mean != null;
        keyBias = weights.keyBias() != null;
        valueBias = weights.valueBias() != null;

        @Nullable Whitening whitening = moment == null ? null : Whitening.of(moment, options.ridge());
        Matrix64 target = whitening == null ? wT.copy() : whitening.apply(wT); // (W R)^T
        double[] scale = new double[n];
        Arrays.fill(scale, 1);
        if (options.weighting() == Weighting.BALANCED) {
            Arrays.fill(scale, 0, keys, inverseOrOne(target.norm(0, keys)));
            Arrays.fill(scale, keys, n, inverseOrOne(target.norm(keys, n)));
        }
        target.scaleColumns(scale);

        // (W R)^T = V S U^T: what EJML calls U are the right singular vectors of W R.
        SvdImplicitQrDecompose_DDRM svd = new SvdImplicitQrDecompose_DDRM(true, true, true, false);
        if (!svd.decompose(DMatrixRMaj.wrap(hidden, n, target.data()))) {
            throw new ArithmeticException("the singular value decomposition did not converge");
        }
        int rank = svd.numberOfSingularValues();
        double[] values = svd.getSingularValues();
        int[] order = descending(values, rank);
        DMatrixRMaj v = svd.getU(null, false);
        DMatrixRMaj uT = svd.getV(null, true);
        singularValues = new double[rank];
        Matrix64 right = new Matrix64(hidden, rank);
        upT = new Matrix64(rank, n);
        for (int i = 0; i < rank; i++) {
            singularValues[i] = values[order[i]];
            for (int h = 0; h < hidden; h++) {
                right.data()[h * rank + i] = v.get(h, order[i]);
            }
            for (int j = 0; j < n; j++) {
                upT.data()[i * n + j] = singularValues[i] * uT.get(order[i], j) / scale[j];
            }
        }
        downT = whitening == null ? right : whitening.undo(right);

        upBias = biases(weights);
        downBias = new double[rank];
        if (mean != null) {
            Matrix64 row = new Matrix64(1, hidden, mean);
            double[] keysAndValues = row.times(wT).data();
            for (int j = 0; j < n; j++) {
                upBias[j] += keysAndValues[j];
            }
            double[] latent = row.times(downT).data();
            for (int i = 0; i < rank; i++) {
                downBias[i] = -latent[i];
            }
        }
    }

    /**
     * Factorises from the weights alone.
     *
     * @param weights the layer; only keys, values and their biases are read, and only during the call
     * @param weighting how the errors of keys and values count against each other
     * @return the factors for every rank
     * @throws IllegalArgumentException if a weight is not finite; the message names it
     */
    public static LatentFactorization ofWeights(AttentionWeights weights, Weighting weighting) {
        return new LatentFactorization(weights, null, null, FactorOptions.DEFAULT.with(weighting));
    }

    /**
     * Factorises for the activations that the layer sees.
     *
     * @param weights the layer; only keys, values and their biases are read, and only during the call
     * @param activations of a sample; only read during the call
     * @param options weighting, ridge and centering
     * @return the factors for every rank
     * @throws IllegalArgumentException if widths differ, a weight is not finite, the sample is empty or has no spread,
     *     or it spans too few directions for a ridge of 0; the message names it
     */
    public static LatentFactorization ofActivations(AttentionWeights weights, ActivationStatistics activations,
            FactorOptions options) {
        if (activations.hidden() != weights.hidden()) {
            throw new IllegalArgumentException("activations have " + activations.hidden() + " channels, weights read "
                    + weights.hidden());
        }
        if (activations.tokens() == 0) {
            throw new IllegalArgumentException("activations hold no tokens, at least one is needed");
        }
        return new LatentFactorization(weights, activations.moment(options.centered()),
                options.centered() ? activations.mean() : null, options);
    }

    /** {@code [W_K; W_V]^T}, {@code [hidden, keys + values]}. */
    static Matrix64 stacked(AttentionWeights weights) {
        Matrix64 k = Matrix64.read("key", weights.key());
        Matrix64 v = Matrix64.read("value", weights.value());
        Matrix64 w = new Matrix64(k.rows() + v.rows(), k.columns());
        System.arraycopy(k.data(), 0, w.data(), 0, k.data().length);
        System.arraycopy(v.data(), 0, w.data(), k.data().length, v.data().length);
        return w.transpose();
    }

    /** The biases of keys and values one after the other, zeros where there are none. */
    static double[] biases(AttentionWeights weights) {
        double[] b = new double[weights.cachedElements()];
        if (weights.keyBias() != null) {
            System.arraycopy(Matrix64.read("keyBias", weights.keyBias()).data(), 0, b, 0, (int) weights.key().dim(0));
        }
        if (weights.valueBias() != null) {
            System.arraycopy(Matrix64.read("valueBias", weights.valueBias()).data(), 0, b, (int) weights.key().dim(0),
                    (int) weights.value().dim(0));
        }
        return b;
    }

    private static double inverseOrOne(double norm) {
        return norm > 0 ? 1 / norm : 1;
    }

    private static int[] descending(double[] values, int count) {
        return IntStream.range(0, count).boxed()
                .sorted(Comparator.<Integer>comparingDouble(i -> values[i]).reversed()).mapToInt(i -> i).toArray();
    }

    /**
     * {@return the largest rank: the smaller of {@code hidden} and {@code kvHeads * (qkDim + vDim)}, which is exact}
     */
    public int maxRank() {
        return singularValues.length;
    }

    /**
     * {@return the singular values of what was decomposed, largest first, as a new array of {@link #maxRank()}: W, or
     * {@code W R}, with the rows of keys and values weighted}
     */
    public double[] singularValues() {
        return singularValues.clone();
    }

    /**
     * {@return the error of a rank in the norm that the factorisation minimises, relative to W in that norm: no factors
     * of this rank have a smaller one}
     *
     * @param rank 0 to {@link #maxRank()}
     * @throws IllegalArgumentException if there is no such rank
     */
    public double leastError(int rank) {
        if (rank != 0) {
            requireRank(rank);
        }
        double all = 0;
        double tail = 0;
        for (int i = singularValues.length - 1; i >= 0; i--) { // the smallest first, so that they count
            all += singularValues[i] * singularValues[i];
            if (i == rank) {
                tail = all;
            }
        }
        return tail == 0 ? 0 : Math.sqrt(tail / all);
    }

    /**
     * Makes the factors of one rank.
     *
     * @param rank 1 to {@link #maxRank()}
     * @param dtype F32 or BF16, to which the matrices are rounded; biases are F32
     * @return new tensors; close them
     * @throws IllegalArgumentException if there is no such rank, or the dtype is another
     */
    public LatentFactors factors(int rank, DType dtype) {
        requireRank(rank);
        if (dtype != DType.F32 && dtype != DType.BF16) {
            throw new IllegalArgumentException("dtype is " + dtype + ", it must be F32 or BF16");
        }
        int n = upBias.length;
        return new LatentFactors(rank,
                downT.transposedTensor(0, rank, hidden, dtype), bias(centered, downBias, 0, rank),
                upT.transposedTensor(0, keys, rank, dtype), bias(centered || keyBias, upBias, 0, keys),
                upT.transposedTensor(keys, n, rank, dtype), bias(centered || valueBias, upBias, keys, n));
    }

    private static @Nullable Tensor bias(boolean there, double[] from, int begin, int end) {
        if (!there) {
            return null;
        }
        float[] values = new float[end - begin];
        for (int i = begin; i < end; i++) {
            values[i - begin] = (float) from[i];
        }
        return Matrix64.tensor(values, DType.F32, values.length);
    }

    void requireRank(int rank) {
        if (rank < 1 || rank > maxRank()) {
            throw new IllegalArgumentException("rank is " + rank + ", it must be from 1 to " + maxRank());
        }
    }

    Matrix64 downT() {
        return downT;
    }

    Matrix64 upT() {
        return upT;
    }

    double[] downBias() {
        return downBias;
    }

    double[] upBias() {
        return upBias;
    }

    /** {@code R = Q sqrt(L)} of {@code moment + ridge * mean diagonal * I = Q L Q^T}. */
    private record Whitening(Matrix64 q, double[] roots) {
        static Whitening of(Matrix64 moment, double ridge) {
            int h = moment.rows();
            double trace = 0;
            for (int i = 0; i < h; i++) {
                trace += moment.data()[i * h + i];
            }
            if (!(trace > 0)) {
                throw new IllegalArgumentException("activations are all the same, they need some spread");
            }
            SymmetricQRAlgorithmDecomposition_DDRM eigen = new SymmetricQRAlgorithmDecomposition_DDRM(true);
            if (!eigen.decompose(DMatrixRMaj.wrap(h, h, moment.data()))) {
                throw new ArithmeticException("the eigenvalue decomposition did not converge");
            }
            double largest = 0;
            for (int i = 0; i < h; i++) {
                largest = Math.max(largest, eigen.getEigenvalue(i).getReal());
            }
            Matrix64 q = new Matrix64(h, h);
            double[] roots = new double[h];
            int spanned = 0;
            for (int i = 0; i < h; i++) {
                double value = eigen.getEigenvalue(i).getReal();
                spanned += value > SINGULAR * largest ? 1 : 0;
                roots[i] = Math.sqrt(Math.max(value, 0) + ridge * trace / h);
                DMatrixRMaj vector = eigen.getEigenVector(i);
                for (int j = 0; j < h; j++) {
                    q.data()[j * h + i] = vector.get(j);
                }
            }
            if (ridge < SINGULAR && spanned < h) {
                throw new IllegalArgumentException("ridge is " + ridge + ", but activations span only " + spanned
                        + " of " + h + " directions: it must be at least " + SINGULAR);
            }
            return new Whitening(q, roots);
        }

        /** {@code R^T W^T}. */
        Matrix64 apply(Matrix64 wT) {
            Matrix64 m = q.transpose().times(wT);
            m.scaleRows(roots);
            return m;
        }

        /** {@code R^-T V}. */
        Matrix64 undo(Matrix64 v) {
            Matrix64 scaled = v.copy();
            double[] inverse = new double[roots.length];
            Arrays.setAll(inverse, i -> 1 / roots[i]);
            scaled.scaleRows(inverse);
            return q.times(scaled);
        }
    }
}
