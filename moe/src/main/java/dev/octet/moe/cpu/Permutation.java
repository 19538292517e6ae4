package dev.octet.moe.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.ScaledTensor;
import dev.octet.moe.TokenPermutation;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;

/**
 * The way of rows to experts and back, for both CPU backends. Memory limits it, so it is read and written in the order
 * in which it lies wherever there is a choice.
 *
 * <p>Schedule: to the experts a task is a block of tokens that stays in L2; it writes the positions that one expert has
 * for them, then those of the next. Padding is filled by tasks of its own. Back a task is a few tokens; it reads all rows
 * of a token at once, so that each is a stream of its own, and sums never leave the registers. No row is written by two
 * tasks, and what is written does not depend on the cut.
 */
final class Permutation {
    /** Few enough that threads end together, enough that handing out a task costs nothing beside moving its rows. */
    private static final int TASK_TOKENS = 8;
    private static final int TASK_POSITIONS = 512;
    /** Of a block of tokens; half of an L2. */
    private static final long BLOCK_BYTES = 512 << 10;

    private Permutation() {}

    // ---------------------------------------------------------------------------------------------- expand

    static void expand(TokenPermutation p, Tensor tokens, @Nullable Tensor weights, Tensor out, RowKernels kernels,
            CpuPool pool) {
        Rows from = new Rows(tokens);
        Rows to = new Rows(out);
        if (weights == null) {
            forRows(p, from, pool, (i, t) -> to.copy(i, from, t, kernels), (first, end) -> to.clear(p, first, end));
        } else {
            Rows w = new Rows(weights);
            forRows(p, from, pool, (i, t) -> to.scale(i, from, t, w.get(t, p.slotAt(i)), kernels),
                    (first, end) -> to.clear(p, first, end));
        }
        Reference.reachabilityFence(tokens);
        Reference.reachabilityFence(weights);
        Reference.reachabilityFence(out);
    }

    static void expand(TokenPermutation p, ScaledTensor tokens, ScaledTensor out, RowKernels kernels, CpuPool pool) {
        Rows codes = new Rows(tokens.codes());
        Rows scales = new Rows(tokens.scales());
        Rows toCodes = new Rows(out.codes());
        Rows toScales = new Rows(out.scales());
        forRows(p, codes, pool, (i, t) -> toCodes.copy(i, codes, t, kernels), (first, end) -> {
            // Scales lie column by column, so that a line of them in memory belongs to many rows: runs of positions
            // write whole lines, blocks of tokens would each write to all of them.
            toScales.gather(p, scales, first, end);
            toCodes.clear(p, first, end);
        });
        Reference.reachabilityFence(tokens);
        Reference.reachabilityFence(out);
    }

    /** What is done for a position that a token has. */
    private interface Move {
        void row(int position, int token);
    }

    /** What is done for a run of positions, padding among them. */
    private interface Run {
        void positions(int first, int end);
    }

    private static void forRows(TokenPermutation p, Rows tokens, CpuPool pool, Move move, Run run) {
        // Blocks for all threads, even if there are few tokens.
        int block = Math.clamp(Math.min(p.tokens() / (4L * pool.threads()), BLOCK_BYTES / tokens.rowSize()), 1,
                Integer.MAX_VALUE);
        int blocks = Math.ceilDiv(p.tokens(), block);
        pool.run(blocks + Math.ceilDiv(p.positions(), TASK_POSITIONS), task -> {
            if (task >= blocks) {
                int first = (task - blocks) * TASK_POSITIONS;
                run.positions(first, (int) Math.min(p.positions(), (long) first + TASK_POSITIONS));
                return;
            }
            int first = task * block;
            int end = (int) Math.min(p.tokens(), (long) first + block);
            for (int e = 0; e < p.experts(); e++) {
                int segmentEnd = p.begin(e + 1);
                for (int i = from(p, first, p.begin(e), segmentEnd); i < segmentEnd; i++) {
                    int t = p.tokenAt(i);
                    if (t < 0 || t >= end) {
                        break;
                    }
                    move.row(i, t);
                }
            }
        });
    }

    /** {@return the first position of an expert's segment that is padding or has this token or one behind it} */
    private static int from(TokenPermutation p, int token, int begin, int end) {
        int low = begin;
        int high = end;
        while (low < high) {
            int middle = (low + high) >>> 1;
            int t = p.tokenAt(middle);
            if (t >= 0 && t < token) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }

    // ---------------------------------------------------------------------------------------------- reduce

    static void reduce(TokenPermutation p, Tensor rows, @Nullable Tensor weights, Tensor out, RowKernels kernels,
            CpuPool pool) {
        Rows from = new Rows(rows);
        Rows to = new Rows(out);
        Rows w = weights == null ? null : new Rows(weights);
        pool.run(Math.ceilDiv(p.tokens(), TASK_TOKENS), task -> {
            Arrays scratch = Arrays.MINE.get();
            for (int t = task * TASK_TOKENS, end = Math.min(p.tokens(), t + TASK_TOKENS); t < end; t++) {
                int[] positions = scratch.positions(p.topK());
                float[] by = scratch.weights;
                int count = 0;
                for (int j = 0; j < p.topK(); j++) {
                    int position = p.positionOf(t, j);
                    if (position >= 0) {
                        positions[count] = position;
                        by[count++] = w == null ? 1 : w.get(t, j);
                    }
                }
                to.sum(t, from, positions, by, count, scratch.addresses, kernels);
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
                Arrays scratch = Arrays.MINE.get();
                float[] mine = g.load(t, scratch.row(1, g.columns), kernels);
                for (int j = 0; j < p.topK(); j++) {
                    int position = p.positionOf(t, j);
                    to.set(t, j, position < 0 ? 0
                            : dot(from.load(position, scratch.row(0, g.columns), kernels), mine, g.columns));
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

    /** A thread's arrays, which grow as they must. */
    private static final class Arrays {
        static final ThreadLocal<Arrays> MINE = ThreadLocal.withInitial(Arrays::new);

        private final float[][] rows = new float[2][0];
        private int[] positions = new int[0];
        float[] weights = new float[0];
        long[] addresses = new long[0];

        /** {@return a row in float} */
        float[] row(int which, int count) {
            if (rows[which].length < count) {
                rows[which] = new float[count];
            }
            return rows[which];
        }

        /** {@return one for each slot; weights and addresses have the same length then} */
        int[] positions(int slots) {
            if (positions.length < slots) {
                positions = new int[slots];
                weights = new float[slots];
                addresses = new long[slots];
            }
            return positions;
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

        /** {@return the bytes of a row, at least 1} */
        long rowSize() {
            return Math.max(1, columns * size);
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

        private float value(long at) {
            return bf16 ? BFloat16.toFloat(ALL.get(I16, at)) : ALL.get(F32, at);
        }

        /** Writes a value, rounded to BF16 if that is the type. */
        private void put(long at, float value) {
            if (bf16) {
                ALL.set(I16, at, BFloat16.fromFloat(value));
            } else {
                ALL.set(F32, at, value);
            }
        }

        /** {@return the array, which a row is read into} */
        float[] load(int row, float[] x, RowKernels kernels) {
            long from = at(row, 0);
            if (unit) {
                kernels.load(from, bf16, x, columns);
            } else {
                for (int i = 0; i < columns; i++) {
                    x[i] = value(from + i * columnBytes);
                }
            }
            return x;
        }

        /** Makes a row the weighted sum of rows of another matrix. */
        void sum(int row, Rows other, int[] otherRows, float[] weights, int count, long[] addresses,
                RowKernels kernels) {
            for (int j = 0; j < count; j++) {
                addresses[j] = other.at(otherRows[j], 0);
            }
            long to = at(row, 0);
            if (unit && other.unit) {
                kernels.sum(addresses, weights, count, other.bf16, to, bf16, 0, columns);
                return;
            }
            for (int i = 0; i < columns; i++) {
                float sum = 0;
                for (int j = 0; j < count; j++) {
                    sum = Math.fma(other.value(addresses[j] + i * other.columnBytes), weights[j], sum);
                }
                put(to + i * columnBytes, sum);
            }
        }

        /** Makes a row that of another matrix of the same type times a weight. */
        void scale(int row, Rows other, int otherRow, float weight, RowKernels kernels) {
            long to = at(row, 0);
            long from = other.at(otherRow, 0);
            if (unit && other.unit) {
                kernels.scale(from, weight, to, bf16, 0, columns);
                return;
            }
            for (int i = 0; i < columns; i++) {
                put(to + i * columnBytes, other.value(from + i * other.columnBytes) * weight);
            }
        }

        /** Copies a row of another matrix of the same type. */
        void copy(int row, Rows other, int otherRow, RowKernels kernels) {
            long to = at(row, 0);
            long from = other.at(otherRow, 0);
            if (unit && other.unit) {
                kernels.copy(from, to, columns * size);
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

        /** Fills the rows of padding among a run of positions with zeros. */
        void clear(TokenPermutation p, int first, int end) {
            for (int i = first; i < end; i++) {
                if (p.tokenAt(i) < 0) {
                    zero(i);
                }
            }
        }

        private void zero(int row) {
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
