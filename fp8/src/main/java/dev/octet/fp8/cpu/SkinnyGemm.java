package dev.octet.fp8.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.DType;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorShuffle;

/**
 * The GEMM for few rows of A, where reading B is what takes the time: B is read once, decoded in registers, and
 * multiplied with up to 4 rows of A at a time; further rows find it in L1. Three or four rows take their scales
 * beforehand where scales allow it ({@link GemmFoldedRows}), else products are scaled ({@link GemmRows}).
 *
 * <p>A task is a range of up to 128 rows of B, inside one block of its scales, so that the products of the scales are
 * made once for 128 rows. What a task computes does not depend on the pool.
 */
final class SkinnyGemm {
    private static final int L = Lanes.COUNT;
    private static final int BLOCK = 128;
    /** Above it the tiled GEMM is faster, since it decodes B once for all rows. */
    private static final int MAX_M = 8;
    /** Beyond it the decoded rows would not fit in an array. */
    private static final long MAX_K = 1L << 27;
    private static final int GROUP = GemmRows.MAX_ROWS;
    /** Scales of one row of A that lie further apart, or further from one, are not multiplied into it. */
    private static final int MAX_FOLDED_RANGE = 60;
    private static final int MAX_FOLDED_EXPONENT = 100;

    private static final int SLOT_A = 0;
    private static final int SLOT_EDGE = 1;
    private static final int SLOT_FOLDED = 4;

    private final GemmOperand a;
    private final GemmOperand b;
    private final GemmOutput out;
    private final GemmScaling scaling;
    private final int m;
    private final int blocks;
    /** K, rounded up to whole blocks. */
    private final int length;
    private final boolean[] specialRows;
    /** Address of {@code float[row][length]}, in packed order: aligned, unlike an array, for loads are scarce here. */
    private final long packedA;
    /** {@code [block][row]}. */
    private final float[] scalesA;
    private final int scalesAt;

    /**
     * A product whose parts are run by the caller, {@link #pack} first.
     *
     * @param packedA address of {@link #packedFloats} floats
     * @param scalesA for one float for each 128 of those
     * @param scalesAt where they begin
     */
    SkinnyGemm(GemmOperand a, GemmOperand b, GemmOutput out, long packedA, float[] scalesA, int scalesAt) {
        this.a = a;
        this.b = b;
        this.out = out;
        scaling = new GemmScaling(a, b);
        m = (int) a.rows;
        blocks = a.blocks();
        length = blocks * BLOCK;
        specialRows = new boolean[m];
        this.packedA = packedA;
        this.scalesA = scalesA;
        this.scalesAt = scalesAt;
    }

    /** Rows of A, rounded up to whole groups. */
    private int padded() {
        return (m + GROUP - 1) / GROUP * GROUP;
    }

    /** {@return the floats that packed A takes} */
    static long packedFloats(GemmOperand a) {
        return (a.rows + GROUP - 1) / GROUP * GROUP * a.blocks() * BLOCK;
    }

    /** {@return whether this is the kernel for the operands} */
    static boolean takes(GemmOperand a, GemmOperand b) {
        return a.rows <= MAX_M && b.kContiguous && b.format == DType.F8_E4M3 && a.k > 0 && a.k < MAX_K;
    }

    static void gemm(GemmOperand a, GemmOperand b, GemmOutput out, CpuPool pool) {
        long floats = packedFloats(a);
        float[] scales = GemmWorkspace.mine().scalesA(0, (int) (floats / BLOCK));
        new SkinnyGemm(a, b, out, Scratch.get(SLOT_A, 4 * floats).address(), scales, 0).run(pool);
    }

    private void run(CpuPool pool) {
        pack();
        int rows = taskRows(b.rows, pool.threads());
        pool.run(tasks(rows), t -> multiply(t, rows));
    }

    /**
     * {@return the rows of B that a task should have: the longer its two streams, the better; a few tasks for each
     * thread, so that a slow one costs little}
     *
     * @param rows of B, in all
     * @param threads that share them
     */
    static int taskRows(long rows, int threads) {
        long share = rows / threads;
        return share >= 8 * BLOCK ? BLOCK : share >= 4 * BLOCK ? BLOCK / 2 : BLOCK / 4;
    }

    /** {@return how many tasks of so many rows of B there are} */
    int tasks(int rows) {
        return Math.toIntExact(Math.ceilDiv(b.rows, (long) rows));
    }

    /** One of those tasks. */
    void multiply(int task, int rows) {
        long first = (long) task * rows;
        multiplyRange(first, (int) Math.min(rows, b.rows - first));
    }

    // ---------------------------------------------------------------------------------------------- A

    /** Decodes A. */
    void pack() {
        int padded = padded();
        float[] row = GemmWorkspace.mine().decodedB(length);
        for (int i = 0; i < padded; i++) {
            long target = packedA + 4L * i * length;
            if (i < m) {
                decodeRow(i, row);
                MemorySegment.copy(row, 0, ALL, ValueLayout.JAVA_FLOAT_UNALIGNED, target, length);
            } else if (i == m && m % GROUP == 3) { // three rows count as four; no other missing row is read
                ALL.asSlice(target, 4L * length).fill((byte) 0);
            }
            for (int block = 0; block < blocks; block++) {
                scalesA[scalesAt + block * padded + i] = i < m ? a.scale(i, block) : 0;
            }
        }
    }

    private void decodeRow(int row, float[] target) {
        long source = a.address + row * a.rowStride;
        if (!a.kContiguous || a.k % BLOCK != 0) {
            MemorySegment codes = Scratch.get(SLOT_EDGE, length);
            if (a.kContiguous) {
                GemmPacking.copyPadded(source, 0, 1, (int) a.k, codes, length, 1);
            } else {
                codes.asSlice(0, length).fill((byte) 0);
                for (long k = 0; k < a.k; k++) {
                    codes.set(ValueLayout.JAVA_BYTE, k, a.code(row, k));
                }
            }
            source = codes.address();
        }
        specialRows[row] = GemmPacking.scan(a, source, 0, 1, length);
        GemmPacking.decodeRows(a, source, BLOCK, blocks, target, 0);
        GemmPacking.scale(target, 0, length, scaling.first, scaling.second);
    }

    // ---------------------------------------------------------------------------------------------- a task

    private void multiplyRange(long firstRow, int rows) {
        GemmWorkspace work = GemmWorkspace.mine();
        float[] result = work.rows(m * rows);
        boolean shared = b.sharesScalesIn128Rows();
        int tableFloats = blocks * GemmRows.GROUPS * GROUP;
        float[] table = work.scales(shared ? tableFloats + GROUP : GemmRows.rowsB(1) * tableFloats);
        for (int first = 0; first < m; first += GROUP) {
            int count = Math.min(GROUP, m - first);
            boolean infinite = shared && fillScales(table, 0, first, firstRow);
            if (shared && !infinite && count > 2 && GemmFoldedRows.AVAILABLE && canFold(table, tableFloats, count)) {
                multiplyFolded(firstRow, rows, first, count, table, tableFloats, result);
            } else {
                multiplyStreams(firstRow, rows, first, count, shared, infinite, table, tableFloats, result);
            }
        }
        for (int i = 0; i < m; i++) {
            if (specialRows[i]) {
                for (int n = 0; n < rows; n++) {
                    result[i * rows + n] = GemmCodes.sum(a, b, i, firstRow + n);
                }
            }
            out.write(i, firstRow, result, i * rows, rows);
        }
    }

    /** Up to four rows of A, times some streams of rows of B, each through its part of the task. */
    private void multiplyStreams(long firstRow, int rows, int first, int count, boolean shared, boolean infinite,
            float[] table, int tableFloats, float[] result) {
        int rowsA = count == 3 ? 4 : count;
        int streams = GemmRows.rowsB(rowsA);
        float[] lanes = GemmWorkspace.mine().sums(rowsA * streams * L);
        // Equally far from each other; the last ends on the task's last row, and where the parts overlap, a row is
        // computed twice.
        int apart = rows / streams;
        int length = rows - (streams - 1) * apart;
        for (int row = 0; row < length; row++) {
            boolean special = infinite;
            if (!shared) {
                for (int r = 0; r < streams; r++) {
                    special |= fillScales(table, r * tableFloats, first, firstRow + row + r * apart);
                }
            }
            special |= multiplyRows(rowsA, streams, first, firstRow + row, apart, table, shared ? 0 : tableFloats,
                    lanes);
            for (int r = 0; r < streams; r++) {
                addLanes(lanes, r * rowsA, result, first * rows + row + r * apart, count, rows);
                if (special) {
                    replaceSpecial(firstRow, row + r * apart, rows, first, count, result);
                }
            }
        }
    }

    /**
     * Writes {@code float[group of codes][GROUP]}: the products of the scales of rows first, first + 1, ... of A with
     * those of a row of B, again for each group of a block; {@return whether a scale of B has no room for its part of
     * the missing power of two, or is infinite}
     */
    private boolean fillScales(float[] table, int at, int first, long rowB) {
        int padded = padded();
        boolean infinite = false;
        for (int block = 0; block < blocks; block++) {
            float sB = scaling.scaleB(b, rowB, block);
            infinite |= Float.isInfinite(sB);
            for (int i = 0; i < GROUP; i++) {
                float product = scalesA[scalesAt + block * padded + first + i] * sB;
                for (int g = 0; g < GemmRows.GROUPS; g++) {
                    table[at + (block * GemmRows.GROUPS + g) * GROUP + i] = product;
                }
            }
        }
        return infinite;
    }

    /** Multiplies rows {@code first...} of A with some rows of B, {@code apart} rows from each other. */
    private boolean multiplyRows(int rowsA, int rowsB, int first, long row, int apart, float[] table, int tableStride,
            float[] lanes) {
        Arrays.fill(lanes, 0, rowsA * rowsB * L, 0);
        long source = b.address + row * b.rowStride;
        long stride = apart * b.rowStride;
        if (a.k % GemmRows.GROUP != 0) {
            source = padded(source, stride, rowsB, rowsB);
            stride = length;
        }
        return GemmRows.multiply(rowsA, packedA + 4L * first * length, 4L * length, source, stride, groups(), table,
                tableStride, lanes, 0);
    }

    /** {@return groups along K, of which the last may be padded} */
    private int groups() {
        return a.k % GemmRows.GROUP == 0 ? (int) (a.k / GemmRows.GROUP) : blocks * GemmRows.GROUPS;
    }

    /** Copies rows of B and pads them with zeros; {@return where the copy begins, whose rows have the {@link #length}} */
    private long padded(long source, long stride, int rows, int paddedRows) {
        MemorySegment copy = Scratch.get(SLOT_EDGE, (long) paddedRows * length);
        GemmPacking.copyPadded(source, stride, rows, (int) b.k, copy, length, paddedRows);
        return copy.address();
    }

    // ---------------------------------------------------------------------------------------------- scales in A

    /** {@return whether FP32 holds these rows of A times their scales, given a power of two for each row} */
    private static boolean canFold(float[] table, int floats, int count) {
        for (int i = 0; i < count; i++) {
            int min = MAX_FOLDED_EXPONENT;
            int max = -MAX_FOLDED_EXPONENT;
            for (int at = i; at < floats; at += GROUP) {
                if (table[at] != 0) {
                    int exponent = Math.getExponent(table[at]); // of a NaN or infinity 128
                    min = Math.min(min, exponent);
                    max = Math.max(max, exponent);
                }
            }
            if (max > MAX_FOLDED_EXPONENT || min < -MAX_FOLDED_EXPONENT || max - min > MAX_FOLDED_RANGE) {
                return false;
            }
        }
        return true;
    }

    /** {@return the power of two that brings the largest scale of one row of A below 1, so that A keeps its range} */
    private static int foldedExponent(float[] table, int floats, int row) {
        int max = -MAX_FOLDED_EXPONENT;
        for (int at = row; at < floats; at += GROUP) {
            if (table[at] != 0) {
                max = Math.max(max, Math.getExponent(table[at]));
            }
        }
        return -max - 1;
    }

    /** Three or four rows of A, times six rows of B at a time, which are first read and looked at for NaN. */
    private void multiplyFolded(long firstRow, int rows, int first, int count, float[] table, int tableFloats,
            float[] result) {
        int groups = groups();
        long folded = Scratch.get(SLOT_FOLDED, 4L * GROUP * length).address();
        for (int i = 0; i < GROUP; i++) {
            int exponent = foldedExponent(table, tableFloats, i);
            GemmFoldedRows.fold(packedA + 4L * (first + i) * length, i, groups, table, Math.scalb(1f, exponent), folded);
            table[tableFloats + i] = Math.scalb(1f, -exponent);
        }
        int together = GemmFoldedRows.ROWS_B;
        float[] lanes = GemmWorkspace.mine().sums(GROUP * together * L);
        for (int done = 0; done < rows; done += together) {
            int row = Math.max(0, Math.min(done, rows - together)); // the last six, some of them perhaps again
            int valid = Math.min(together, rows);
            long source = b.address + (firstRow + row) * b.rowStride;
            long stride = b.rowStride;
            if (valid < together || a.k % GemmRows.GROUP != 0) {
                source = padded(source, stride, valid, together);
                stride = length;
            }
            long codes = (long) groups * GemmRows.GROUP;
            boolean special = stride == codes
                    ? GemmPacking.scan(b, source, 0, 1, (int) (together * codes))
                    : GemmPacking.scan(b, source, stride, together, (int) codes);
            Arrays.fill(lanes, 0, GROUP * together * L, 0);
            GemmFoldedRows.multiply(folded, source, stride, groups, lanes);
            for (int r = 0; r < valid; r++) {
                int at = first * rows + row + r;
                addLanes(lanes, r * GROUP, result, at, count, rows);
                for (int i = 0; i < count; i++) {
                    result[at + i * rows] *= table[tableFloats + i];
                }
                if (special) {
                    replaceSpecial(firstRow, row + r, rows, first, count, result);
                }
            }
        }
    }

    private void replaceSpecial(long firstRow, int r, int rows, int first, int count, float[] result) {
        if (b.hasSpecial(firstRow + r) || scaling.overflows(b, firstRow + r)) {
            for (int i = first; i < first + count; i++) {
                result[i * rows + r] = GemmCodes.sum(a, b, i, firstRow + r);
            }
        }
    }

    private static final VectorShuffle<Float> ROTATE_8 = rotate(8);
    private static final VectorShuffle<Float> ROTATE_4 = rotate(4);
    private static final VectorShuffle<Float> ROTATE_2 = rotate(2);
    private static final VectorShuffle<Float> ROTATE_1 = rotate(1);

    private static VectorShuffle<Float> rotate(int by) {
        return VectorShuffle.fromOp(Lanes.F, i -> (i + by) % L);
    }

    /** Adds the lanes of each sum in a fixed order, halves first, so that no compiler can choose another. */
    private static void addLanes(float[] lanes, int from, float[] result, int at, int count, int step) {
        for (int i = 0; i < count; i++) {
            FloatVector v = FloatVector.fromArray(Lanes.F, lanes, (from + i) * L);
            if (L > 8) {
                v = v.add(v.rearrange(ROTATE_8));
            }
            if (L > 4) {
                v = v.add(v.rearrange(ROTATE_4));
            }
            v = v.add(v.rearrange(ROTATE_2));
            v = v.add(v.rearrange(ROTATE_1));
            result[at + i * step] = v.lane(0);
        }
    }
}
