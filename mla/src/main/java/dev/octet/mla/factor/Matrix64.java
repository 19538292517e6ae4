package dev.octet.mla.factor;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;

/**
 * A matrix of doubles, row by row, and its products. A product's rows are shared among the pool's threads; each element
 * is added up in the same order whatever their number.
 *
 * @param rows the rows
 * @param columns the columns
 * @param data {@code rows * columns} values; not copied
 */
record Matrix64(int rows, int columns, double[] data) {
    /** Rows of one task of a product. */
    private static final int TASK_ROWS = 8;

    Matrix64(int rows, int columns) {
        this(rows, columns, new double[Math.multiplyExact(rows, columns)]);
    }

    /** Reads a matrix, or a vector as one row; refuses what is not finite, from which no decomposition would return. */
    static Matrix64 read(String name, Tensor t) {
        float[] values = t.toFloatArray();
        int columns = (int) t.dim(t.shape().rank() - 1);
        double[] data = new double[values.length];
        for (int i = 0; i < values.length; i++) {
            if (!Float.isFinite(values[i])) {
                throw new IllegalArgumentException(name + "[" + (t.shape().rank() == 1 ? "" : i / columns + ", ")
                        + i % columns + "] is " + values[i] + ", all elements must be finite");
            }
            data[i] = values[i];
        }
        return new Matrix64(t.shape().rank() == 1 ? 1 : (int) t.dim(0), columns, data);
    }

    /** Rows {@code from} to {@code to} of the transposed matrix. */
    Tensor transposedTensor(int from, int to, int takeRows, DType dtype) {
        float[] out = new float[(to - from) * takeRows];
        for (int r = 0; r < takeRows; r++) {
            for (int c = from; c < to; c++) {
                out[(c - from) * takeRows + r] = (float) data[r * columns + c];
            }
        }
        return tensor(out, dtype, to - from, takeRows);
    }

    static Tensor tensor(float[] values, DType dtype, long... dims) {
        Tensor t = Tensor.allocate(dtype, Shape.of(dims));
        t.copyFrom(values);
        return t;
    }

    Matrix64 copy() {
        return new Matrix64(rows, columns, data.clone());
    }

    Matrix64 transpose() {
        Matrix64 t = new Matrix64(columns, rows);
        for (int r = 0; r < rows; r++) {
            for (int c = 0; c < columns; c++) {
                t.data[c * rows + r] = data[r * columns + c];
            }
        }
        return t;
    }

    /** {@code this * b}. */
    Matrix64 times(Matrix64 b) {
        Matrix64 c = new Matrix64(rows, b.columns);
        c.addProduct(this, b, 0, columns);
        return c;
    }

    /** {@code this += a[:, from..to] * b[from..to, :]}. */
    void addProduct(Matrix64 a, Matrix64 b, int from, int to) {
        if (a.rows != rows || b.columns != columns || a.columns != b.rows) {
            throw new IllegalArgumentException("a is " + a.rows + "x" + a.columns + " and b " + b.rows + "x" + b.columns
                    + ", the sum " + rows + "x" + columns);
        }
        CpuPool.shared().run(Math.ceilDiv(rows, TASK_ROWS), task -> {
            for (int r = task * TASK_ROWS; r < Math.min(rows, (task + 1) * TASK_ROWS); r++) {
                addRow(a.data, r * a.columns, b.data, from, to, data, r * columns, columns);
            }
        });
    }

    /** One row of the product, four terms at a time, so that the sums are loaded and stored a quarter as often. */
    private static void addRow(double[] a, int aRow, double[] b, int from, int to, double[] c, int cRow, int n) {
        int k = from;
        for (; k + 4 <= to; k += 4) {
            double a0 = a[aRow + k];
            double a1 = a[aRow + k + 1];
            double a2 = a[aRow + k + 2];
            double a3 = a[aRow + k + 3];
            int b0 = k * n;
            int b1 = b0 + n;
            int b2 = b1 + n;
            int b3 = b2 + n;
            for (int j = 0; j < n; j++) {
                c[cRow + j] += a0 * b[b0 + j] + a1 * b[b1 + j] + a2 * b[b2 + j] + a3 * b[b3 + j];
            }
        }
        for (; k < to; k++) {
            double ak = a[aRow + k];
            int bk = k * n;
            for (int j = 0; j < n; j++) {
                c[cRow + j] += ak * b[bk + j];
            }
        }
    }

    /** Adds a vector to each row. */
    void addToRows(double[] vector) {
        for (int r = 0; r < rows; r++) {
            for (int c = 0; c < columns; c++) {
                data[r * columns + c] += vector[c];
            }
        }
    }

    /** Multiplies each row by a factor of its own. */
    void scaleRows(double[] factors) {
        for (int r = 0; r < rows; r++) {
            for (int c = 0; c < columns; c++) {
                data[r * columns + c] *= factors[r];
            }
        }
    }

    /** Multiplies each column by a factor of its own. */
    void scaleColumns(double[] factors) {
        for (int r = 0; r < rows; r++) {
            for (int c = 0; c < columns; c++) {
                data[r * columns + c] *= factors[c];
            }
        }
    }

    /** The Frobenius norm of columns {@code from} to {@code to}. */
    double norm(int from, int to) {
        double sum = 0;
        for (int r = 0; r < rows; r++) {
            for (int c = from; c < to; c++) {
                double v = data[r * columns + c];
                sum += v * v;
            }
        }
        return Math.sqrt(sum);
    }
}
