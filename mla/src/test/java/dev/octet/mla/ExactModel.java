package dev.octet.mla;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.mla.reference.AttentionError.Products;
import java.lang.foreign.Arena;
import java.util.SplittableRandom;
import java.util.function.DoubleSupplier;

/**
 * One layer's attention whose numbers are multiples of powers of two so coarse that decompressed keys and values and
 * absorbed queries are exact in FP32, and latents in BF16: the naive and the absorbed form then compute the same real
 * numbers from the same inputs. Indices are those of {@link dev.octet.mla.reference.ReferenceAttention}.
 */
final class ExactModel {
    static final int NOPE = 128;
    static final int ROPE = 64;
    static final int LATENT = 512;
    static final int VALUE = 128;

    final int heads;
    final int queries;
    final int keys;
    final double[][][] queryNope;
    final double[][][] queryRope;
    final double[][] latents;
    final double[][] ropeKeys;
    final double[][][] upKeys;
    final double[][][] upValues;

    ExactModel(long seed, int heads, int queries, int keys) {
        this.heads = heads;
        this.queries = queries;
        this.keys = keys;
        SplittableRandom random = new SplittableRandom(seed);
        DoubleSupplier activations = () -> random.nextInt(-8, 9) / 8.0;
        DoubleSupplier weights = () -> random.nextInt(-8, 9) / 64.0;
        queryNope = fill(activations, heads, queries, NOPE);
        queryRope = fill(activations, heads, queries, ROPE);
        latents = fill(activations, 1, keys, LATENT)[0];
        ropeKeys = fill(activations, 1, keys, ROPE)[0];
        upKeys = fill(weights, heads, NOPE, LATENT);
        upValues = fill(weights, heads, VALUE, LATENT);
    }

    private static double[][][] fill(DoubleSupplier next, int heads, int rows, int columns) {
        double[][][] values = new double[heads][rows][columns];
        for (double[][] head : values) {
            for (double[] row : head) {
                for (int c = 0; c < columns; c++) {
                    row[c] = next.getAsDouble();
                }
            }
        }
        return values;
    }

    /** A value of each index, exact in the dtype, as a tensor {@code [n0, n1, n2]}. */
    private interface Element {
        double at(int i, int j, int k);
    }

    private static Tensor tensor(Arena arena, DType dtype, int n0, int n1, int n2, Element element) {
        float[] values = new float[n0 * n1 * n2];
        for (int i = 0; i < values.length; i++) {
            double value = element.at(i / n2 / n1, i / n2 % n1, i % n2);
            values[i] = (float) value;
            if (values[i] != value) {
                throw new IllegalStateException(value + " is not exact");
            }
        }
        Tensor t = Tensor.allocate(arena, dtype, Shape.of(n0, n1, n2));
        t.copyFrom(values);
        return t;
    }

    /** {@code [queries, heads, 192]}. */
    Tensor query(Arena arena) {
        return tensor(arena, DType.F32, queries, heads, NOPE + ROPE,
                (t, h, c) -> c < NOPE ? queryNope[h][t][c] : queryRope[h][t][c - NOPE]);
    }

    /** {@code [keys, heads, 128]}. */
    Tensor keys(Arena arena) {
        return tensor(arena, DType.F32, keys, heads, NOPE, (t, h, c) -> dot(upKeys[h][c], latents[t]));
    }

    /** {@code [keys, heads, 128]}. */
    Tensor values(Arena arena) {
        return tensor(arena, DType.F32, keys, heads, VALUE, (t, h, c) -> dot(upValues[h][c], latents[t]));
    }

    /** {@code [keys, 64]}. */
    Tensor ropeKeys(Arena arena) {
        return tensor(arena, DType.F32, 1, keys, ROPE, (i, t, c) -> ropeKeys[t][c]).reshape(keys, ROPE);
    }

    /** {@code [keys, 512]}. */
    Tensor latents(Arena arena) {
        return tensor(arena, DType.F32, 1, keys, LATENT, (i, t, c) -> latents[t][c]).reshape(keys, LATENT);
    }

    /** {@code [queries, heads, 576]}. */
    Tensor absorbedQuery(Arena arena) {
        return tensor(arena, DType.F32, queries, heads, LATENT + ROPE, (t, h, c) -> {
            if (c >= LATENT) {
                return queryRope[h][t][c - LATENT];
            }
            double sum = 0;
            for (int k = 0; k < NOPE; k++) {
                sum += queryNope[h][t][k] * upKeys[h][k][c];
            }
            return sum;
        });
    }

    static double dot(double[] x, double[] y) {
        double sum = 0;
        for (int i = 0; i < x.length; i++) {
            sum += x[i] * y[i];
        }
        return sum;
    }

    /** What the naive form has to give, from the decompressed keys and values. */
    ExpectedAttention expectedNaive(AttentionOptions options) {
        ExpectedAttention expected = new ExpectedAttention(queries, heads, Products.FP32);
        for (int h = 0; h < heads; h++) {
            int head = h;
            double[][] q = rows(queries, NOPE + ROPE,
                    (t, c) -> c < NOPE ? queryNope[head][t][c] : queryRope[head][t][c - NOPE]);
            double[][] k = rows(keys, NOPE + ROPE,
                    (t, c) -> c < NOPE ? dot(upKeys[head][c], latents[t]) : ropeKeys[t][c - NOPE]);
            double[][] v = rows(keys, VALUE, (t, c) -> dot(upValues[head][c], latents[t]));
            expected.add(0, h, q, k, v, VALUE, options);
        }
        return expected;
    }

    /** What attention over the latents has to give. */
    ExpectedAttention expectedOverLatents(Tensor absorbedQuery, AttentionOptions options) {
        ExpectedAttention expected = new ExpectedAttention(queries, heads, TestedBackends.decodeProducts());
        float[] q = absorbedQuery.toFloatArray();
        double[][] k = rows(keys, LATENT + ROPE, (t, c) -> c < LATENT ? latents[t][c] : ropeKeys[t][c - LATENT]);
        for (int h = 0; h < heads; h++) {
            expected.add(0, h, ExpectedAttention.head(q, heads, LATENT + ROPE, 0, queries, h), k, k, LATENT, options);
        }
        return expected;
    }

    private interface RowElement {
        double at(int row, int column);
    }

    private static double[][] rows(int rows, int columns, RowElement element) {
        double[][] values = new double[rows][columns];
        for (int i = 0; i < rows; i++) {
            for (int c = 0; c < columns; c++) {
                values[i][c] = element.at(i, c);
            }
        }
        return values;
    }
}
