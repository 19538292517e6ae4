package dev.octet.moe.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.ScaledTensor;
import dev.octet.moe.TokenPermutation;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The way of rows to experts and back, for both CPU backends. Memory limits it, so each row is read and written once,
 * and sums stay in L1 meanwhile.
 *
 * <p>Schedule: a task is a few tokens, with all of their positions; padding is filled by tasks of its own. No row is
 * written by two tasks, and what is written does not depend on the cut.
 */
final class Permutation {
    /** Few enough that threads end together, enough that handing out a task costs nothing beside moving its rows. */
    private static final int TASK_TOKENS = 8;
    private static final int TASK_POSITIONS = 512;

    private Permutation() {}

    // ---------------------------------------------------------------------------------------------- expand

    static void expand(TokenPermutation p, Tensor tokens, @Nullable Tensor weights, Tensor out, RowKernels kernels,
            CpuPool pool) {
        if (out.dim(1) == 0) {
            return;
        }
        Rows from = new Rows(tokens);
        Rows to = new Rows(out);
        Rows w = weights == null ? null : new Rows(weights);
        int fill = Math.ceilDiv(p.positions(), TASK_POSITIONS);
        int move = Math.ceilDiv(p.tokens(), TASK_TOKENS);
        pool.run(move + fill, task -> {
            if (task >= move) {
                forPadding(p, task - move, to::clear);
                return;
            }
            for (int t = task * TASK_TOKENS, end = Math.min(p.tokens(), t + TASK_TOKENS); t < end; t++) {
                for (int j = 0; j < p.topK(); j++) {
                    int position = p.positionOf(t, j);
                    if (position < 0) {
                        continue;
                    }
                    if (w == null) {
                        to.copy(position, from, t);
                    } else {
                        float[] row = from.load(t, 0, kernels);
                        scale(row, w.get(t, j), from.columns);
                        to.store(position, row, kernels);
                    }
                }
            }
        });
        Reference.reachabilityFence(tokens);
        Reference.reachabilityFence(weights);
        Reference.reachabilityFence(out);
    }

    private static void scale(float[] row, float by, int n) {
        for (int i = 0; i < n; i++) {
            row[i] *= by;
        }
    }

    static void expand(TokenPermutation p, ScaledTensor tokens, ScaledTensor out, CpuPool pool) {
        if (p.positions() == 0 || out.columns() == 0) {
            return;
        }
        Rows codes = new Rows(tokens.codes());
        Rows scales = new Rows(tokens.scales());
        Rows toCodes = new Rows(out.codes());
        Rows toScales = new Rows(out.scales());
        int fill = Math.ceilDiv(p.positions(), TASK_POSITIONS);
        int move = Math.ceilDiv(p.tokens(), TASK_TOKENS);
        // Scales lie column by column, so that a line of them in memory belongs to many rows: tasks of positions write
        // whole lines, tasks of tokens would each write to all of them.
        pool.run(move + fill, task -> {
            if (task >= move) {
                int first = (task - move) * TASK_POSITIONS;
                toScales.gather(p, scales, first, Math.min(p.positions(), first + TASK_POSITIONS));
                forPadding(p, task - move, toCodes::clear);
                return;
            }
            for (int t = task * TASK_TOKENS, end = Math.min(p.tokens(), t + TASK_TOKENS); t < end; t++) {
                for (int j = 0; j < p.topK(); j++) {
                    int position = p.positionOf(t, j);
                    if (position >= 0) {
                        toCodes.copy(position, codes, t);
                    }
                }
            }
        });
        Reference.reachabilityFence(tokens);
        Reference.reachabilityFence(out);
    }

    /** What is done with a position. */
    private interface Fill {
        void at(int position);
    }

    private static void forPadding(TokenPermutation p, int task, Fill fill) {
        int first = task * TASK_POSITIONS;
        for (int i = first, end = Math.min(p.positions(), first + TASK_POSITIONS); i < end; i++) {
            if (p.expertAt(i) < 0) {
                fill.at(i);
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- reduce

    static void reduce(TokenPermutation p, Tensor rows, @Nullable Tensor weights, Tensor out, RowKernels kernels,
            CpuPool pool) {
        if (out.dim(1) == 0) {
            return;
        }
        Rows from = new Rows(rows);
        Rows to = new Rows(out);
        Rows w = weights == null ? null : new Rows(weights);
        pool.run(Math.ceilDiv(p.tokens(), TASK_TOKENS), task -> {
            for (int t = task * TASK_TOKENS, end = Math.min(p.tokens(), t + TASK_TOKENS); t < end; t++) {
                float[] sum = RowArrays.zeros(1, to.columns);
                for (int j = 0; j < p.topK(); j++) {
                    int position = p.positionOf(t, j);
                    if (position >= 0) {
                        from.addTo(sum, position, w == null ? 1 : w.get(t, j), kernels);
                    }
                }
                to.store(t, sum, kernels);
            }
        });
        Reference.reachabilityFence(rows);
        Reference.reachabilityFence(weights);
        Reference.reachabilityFence(out);
    }

    static void weightGradients(TokenPermutation p, Tensor rows, Tensor gradient, Tensor out, RowKernels kernels,
            CpuPool pool) {
        Rows from = new Rows(rows);
        Rows g = new Rows(gradient);
        Rows to = new Rows(out);
        pool.run(Math.ceilDiv(p.tokens(), TASK_TOKENS), task -> {
            for (int t = task * TASK_TOKENS, end = Math.min(p.tokens(), t + TASK_TOKENS); t < end; t++) {
                float[] mine = g.load(t, 1, kernels);
                for (int j = 0; j < p.topK(); j++) {
                    int position = p.positionOf(t, j);
                    to.set(t, j, position < 0 ? 0 : dot(from.load(position, 0, kernels), mine, g.columns));
                }
            }
        });
        Reference.reachabilityFence(rows);
        Reference.reachabilityFence(gradient);
        Reference.reachabilityFence(out);
    }

    /** In double, where products of F32 are exact, eight sums so that no addition waits for the one before. */
    private static float dot(float[] x, float[] y, int n) {
        double s0 = 0;
        double s1 = 0;
        double s2 = 0;
        double s3 = 0;
        double s4 = 0;
        double s5 = 0;
        double s6 = 0;
        double s7 = 0;
        int i = 0;
        for (; i + 8 <= n; i += 8) {
            s0 += (double) x[i] * y[i];
            s1 += (double) x[i + 1] * y[i + 1];
            s2 += (double) x[i + 2] * y[i + 2];
            s3 += (double) x[i + 3] * y[i + 3];
            s4 += (double) x[i + 4] * y[i + 4];
            s5 += (double) x[i + 5] * y[i + 5];
            s6 += (double) x[i + 6] * y[i + 6];
            s7 += (double) x[i + 7] * y[i + 7];
        }
        for (; i < n; i++) {
            s0 += (double) x[i] * y[i];
        }
        return (float) (((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7)));
    }

    // ---------------------------------------------------------------------------------------------- rows

    /** A thread's rows in float. */
    private static final class RowArrays {
        private static final ThreadLocal<RowArrays> MINE = ThreadLocal.withInitial(RowArrays::new);

        private final float[][] floats = new float[2][0];

        static float[] get(int which, int count) {
            float[][] mine = MINE.get().floats;
            if (mine[which].length < count) {
                mine[which] = new float[count];
            }
            return mine[which];
        }

        static float[] zeros(int which, int count) {
            float[] x = get(which, count);
            Arrays.fill(x, 0, count, 0);
            return x;
        }
    }

    /** A matrix by its address; the caller keeps the tensor reachable. */
    private static final class Rows {
        private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;
        private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED;
        /** FP32 1, and the code of 2^0 in E8M0. */
        private static final byte ONE_E8M0 = 127;

        final int columns;
        private final boolean bf16;
        private final long size;
        private final long address;
        private final long rowBytes;
        private final long columnBytes;
        private final boolean unit;

        Rows(Tensor t) {
            columns = Math.toIntExact(t.dim(1));
            bf16 = t.dtype() == DType.BF16;
            size = t.dtype().byteSize();
            address = t.shape().elements() == 0 ? 0 : t.address();
            rowBytes = t.stride(0) * size;
            columnBytes = t.stride(1) * size;
            unit = columnBytes == size || columns == 1;
        }

        private long at(int row, int column) {
            return address + row * rowBytes + column * columnBytes;
        }

        float get(int row, int column) {
            return ALL.get(F32, at(row, column));
        }

        void set(int row, int column, float value) {
            ALL.set(F32, at(row, column), value);
        }

        /** {@return a row as floats, in one of the thread's arrays} */
        float[] load(int row, int which, RowKernels kernels) {
            float[] x = RowArrays.get(which, columns);
            long from = at(row, 0);
            if (unit) {
                kernels.load(from, bf16, x, columns);
                return x;
            }
            for (int i = 0; i < columns; i++) {
                long at = from + i * columnBytes;
                x[i] = bf16 ? BFloat16.toFloat(ALL.get(I16, at)) : ALL.get(F32, at);
            }
            return x;
        }

        /** Adds a weighted row to sums. */
        void addTo(float[] sums, int row, float weight, RowKernels kernels) {
            if (unit) {
                kernels.add(at(row, 0), bf16, weight, sums, columns);
                return;
            }
            float[] x = load(row, 0, kernels);
            for (int i = 0; i < columns; i++) {
                sums[i] = Math.fma(x[i], weight, sums[i]);
            }
        }

        /** Writes a row of floats, rounded to BF16 if that is the type. */
        void store(int row, float[] x, RowKernels kernels) {
            long to = at(row, 0);
            if (unit) {
                kernels.store(x, to, bf16, columns);
                return;
            }
            for (int i = 0; i < columns; i++) {
                long at = to + i * columnBytes;
                if (bf16) {
                    ALL.set(I16, at, BFloat16.fromFloat(x[i]));
                } else {
                    ALL.set(F32, at, x[i]);
                }
            }
        }

        /** Copies a row of another matrix of the same type. */
        void copy(int row, Rows other, int otherRow) {
            long to = at(row, 0);
            long from = other.at(otherRow, 0);
            if (unit && other.unit) {
                MemorySegment.copy(ALL, from, ALL, to, columns * size);
                return;
            }
            for (int i = 0; i < columns; i++) {
                move(from + i * other.columnBytes, to + i * columnBytes);
            }
        }

        private void move(long from, long to) {
            switch ((int) size) {
                case 1 -> ALL.set(ValueLayout.JAVA_BYTE, to, ALL.get(ValueLayout.JAVA_BYTE, from));
                case 2 -> ALL.set(I16, to, ALL.get(I16, from));
                default -> ALL.set(ValueLayout.JAVA_INT_UNALIGNED, to, ALL.get(ValueLayout.JAVA_INT_UNALIGNED, from));
            }
        }

        /** Fills a row with zeros. */
        void clear(int row) {
            if (unit) {
                ALL.asSlice(at(row, 0), columns * size).fill((byte) 0);
                return;
            }
            for (int i = 0; i < columns; i++) {
                for (int b = 0; b < size; b++) {
                    ALL.set(ValueLayout.JAVA_BYTE, at(row, i) + b, (byte) 0);
                }
            }
        }

        /** Copies the rows of a range of positions, column by column; those of padding become ones. */
        void gather(TokenPermutation p, Rows from, int first, int end) {
            for (int c = 0; c < columns; c++) {
                for (int i = first; i < end; i++) {
                    int token = p.tokenAt(i);
                    if (token >= 0) {
                        move(from.at(token, c), at(i, c));
                    } else if (size == 1) {
                        ALL.set(ValueLayout.JAVA_BYTE, at(i, c), ONE_E8M0);
                    } else {
                        ALL.set(F32, at(i, c), 1);
                    }
                }
            }
        }
    }
}
