package dev.octet.fp8.reference;

import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaledTensor;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The sums over blocks of 128 along K that every form of the reference GEMM is made of, in double:
 * {@code SUM over k in block: A[m,k] * B[n,k]}, without scales.
 *
 * <p>Codes are decoded exactly and a product of two is exact. Between two E4M3 matrices the sum is exact too: products
 * are multiples of 2<sup>-18</sup> below 2<sup>18</sup>, so a sum of 128 needs 43 bits. With an E5M2 matrix it may
 * round (products of two E5M2 values are multiples of 2<sup>-32</sup> up to nearly 2<sup>32</sup>, a sum needs 71
 * bits): products are added in increasing k, with a relative error against the sum of their magnitudes of at most 127 *
 * 2<sup>-53</sup>, 2<sup>-29</sup> of what FP32 sums may have.
 */
final class BlockSums {
    private static final int BLOCK = Granularity.BLOCK;
    /** Rows of a tile; its columns are {@link #BLOCK}, so that a tile holds whole 1x128 groups of the result. */
    private static final int ROWS = 64;

    /** What is done with the sums of a tile of the result. */
    interface Fold {
        /**
         * Takes one element's sum over one block; for each element blocks come in increasing k.
         *
         * @param i the element's index in the tile, {@code row * 128 + column}
         * @param sum the sum of the products
         * @param magnitude the sum of the products' magnitudes
         * @param scaleA the block's scale in A
         * @param scaleB the block's scale in B
         */
        void add(int i, double sum, double magnitude, float scaleA, float scaleB);

        /**
         * Called once, after all blocks.
         *
         * @param m the first row of the tile in the result
         * @param n its first column
         * @param rows its rows
         * @param columns its columns, at most 128
         */
        void finish(long m, long n, int rows, int columns);
    }

    /** Makes one tile's fold. */
    interface FoldFactory {
        /** {@return a fold for a tile of at most {@code size} elements} */
        Fold create(int size);
    }

    /** For memory that only the caller may touch. */
    static final CpuPool ALONE = new CpuPool(1);
    /** Never started; stands for any thread but the caller. */
    private static final Thread ANOTHER = new Thread(() -> { });

    private BlockSums() {}

    /** Whether threads other than the caller may use a tensor's memory; those of a confined arena may not. */
    static boolean isShared(@Nullable Tensor t) {
        return t == null || t.segment().isAccessibleBy(ANOTHER);
    }

    /** Calls a fold of its own for every tile of {@code A * B^T}, several at a time. */
    static void forEachTile(ScaledTensor a, ScaledTensor b, CpuPool pool, FoldFactory folds) {
        if (!isShared(a.codes()) || !isShared(a.scales()) || !isShared(b.codes()) || !isShared(b.scales())) {
            pool = ALONE;
        }
        QuantizedMatrix qa = new QuantizedMatrix(a);
        QuantizedMatrix qb = new QuantizedMatrix(b);
        long tileRows = Math.ceilDiv(a.rows(), (long) ROWS);
        long tileColumns = Math.ceilDiv(b.rows(), (long) BLOCK);
        pool.run(Math.toIntExact(tileRows * tileColumns), index -> {
            long m = index / tileColumns * ROWS;
            long n = index % tileColumns * BLOCK;
            int rows = (int) Math.min(ROWS, a.rows() - m);
            int columns = (int) Math.min(BLOCK, b.rows() - n);
            Fold fold = folds.create(rows * BLOCK);
            sum(qa, qb, m, n, rows, columns, a.columns(), fold);
            fold.finish(m, n, rows, columns);
        });
    }

    private static void sum(QuantizedMatrix a, QuantizedMatrix b, long m, long n, int rows, int columns, long depth,
            Fold fold) {
        double[] panel = new double[BLOCK * BLOCK];
        double[] sums = new double[BLOCK];
        double[] magnitudes = new double[BLOCK];
        for (long k = 0; k < depth; k += BLOCK) {
            int length = (int) Math.min(BLOCK, depth - k);
            for (int j = 0; j < columns; j++) {
                for (int t = 0; t < length; t++) {
                    panel[t * BLOCK + j] = b.code(n + j, k + t);
                }
            }
            for (int i = 0; i < rows; i++) {
                Arrays.fill(sums, 0);
                Arrays.fill(magnitudes, 0);
                for (int t = 0; t < length; t++) {
                    addProducts(a.code(m + i, k + t), panel, t * BLOCK, columns, sums, magnitudes);
                }
                float scaleA = a.scale(m + i, k);
                for (int j = 0; j < columns; j++) {
                    fold.add(i * BLOCK + j, sums[j], magnitudes[j], scaleA, b.scale(n + j, k));
                }
            }
        }
    }

    /** Along the columns, not along k: each element's order of additions is plain, and the loop is still quick. */
    private static void addProducts(double x, double[] panel, int from, int columns, double[] sums,
            double[] magnitudes) {
        for (int j = 0; j < columns; j++) {
            double product = x * panel[from + j];
            sums[j] += product;
            magnitudes[j] += Math.abs(product);
        }
    }
}
