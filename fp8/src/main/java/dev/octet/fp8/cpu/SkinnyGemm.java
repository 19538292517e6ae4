package dev.octet.fp8.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.DType;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShuffle;

/**
 * The GEMM for few rows of A, where reading B is what takes the time: B is read once, decoded in registers, and
 * multiplied with up to 4 rows of A at a time; further rows find it in L1.
 *
 * <p>A task is a range of up to 128 rows of B, inside one block of its scales, so that the products of the scales are
 * made once for 128 rows. What a task computes does not depend on the pool.
 */
final class SkinnyGemm {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final int L = Lanes.COUNT;
    private static final int BLOCK = 128;
    /** Above it the tiled GEMM is faster, since it decodes B once for all rows. */
    private static final int MAX_M = 16;
    private static final int GROUP = GemmRows.MAX_ROWS;
    private static final int ROWS_B = GemmRows.ROWS_B;

    private static final int SLOT_A = 0;
    private static final int SLOT_EDGE = 1;

    private final GemmOperand a;
    private final GemmOperand b;
    private final GemmOutput out;
    private final GemmScaling scaling;
    private final int m;
    private final int blocks;
    private final int fullBlocks;
    private final long strideA;
    private final boolean[] specialRows;
    private long packedA;
    private long scalesA;

    private SkinnyGemm(GemmOperand a, GemmOperand b, GemmOutput out) {
        this.a = a;
        this.b = b;
        this.out = out;
        scaling = new GemmScaling(a, b);
        m = (int) a.rows;
        blocks = a.blocks();
        fullBlocks = (int) (a.k / BLOCK);
        strideA = 4L * BLOCK * blocks;
        specialRows = new boolean[m];
    }

    /** {@return whether this is the kernel for the operands} */
    static boolean takes(GemmOperand a, GemmOperand b) {
        return a.rows <= MAX_M && b.kContiguous && b.format == DType.F8_E4M3 && a.k > 0;
    }

    static void gemm(GemmOperand a, GemmOperand b, GemmOutput out, CpuPool pool) {
        new SkinnyGemm(a, b, out).run(pool);
    }

    private void run(CpuPool pool) {
        int padded = (m + GROUP - 1) / GROUP * GROUP;
        MemorySegment memory = Scratch.get(SLOT_A, padded * strideA + 4L * padded * blocks);
        packedA = memory.address();
        scalesA = packedA + padded * strideA;
        packA(padded);
        int rows = b.rows >= 32L * BLOCK * pool.threads() ? BLOCK : b.rows >= 8L * BLOCK ? BLOCK / 2 : BLOCK / 4;
        pool.run(Math.toIntExact(Math.ceilDiv(b.rows, (long) rows)),
                t -> multiply((long) t * rows, (int) Math.min(rows, b.rows - (long) t * rows)));
    }

    // ---------------------------------------------------------------------------------------------- A

    private void packA(int padded) {
        for (int row = 0; row < padded; row++) {
            long target = packedA + row * strideA;
            if (row < m) {
                packRow(row, target);
            } else {
                ALL.asSlice(target, strideA).fill((byte) 0);
            }
            for (int block = 0; block < blocks; block++) {
                float s = row < m ? scaling.scaleA(a, row, block) : 0;
                ALL.set(F32, scalesA + 4L * ((long) block * padded + row), s);
            }
        }
    }

    private void packRow(int row, long target) {
        boolean special = false;
        if (a.kContiguous) {
            long source = a.address + row * a.rowStride;
            if (fullBlocks > 0) {
                special = GemmPacking.decodeRows(a, source, BLOCK, fullBlocks, target, 4L * BLOCK);
            }
            if (fullBlocks < blocks) {
                long k = (long) fullBlocks * BLOCK;
                MemorySegment edge = Scratch.get(SLOT_EDGE, BLOCK);
                GemmPacking.copyPadded(source + k, 0, 1, (int) (a.k - k), edge, BLOCK, 1);
                special |= GemmPacking.decodeRows(a, edge.address(), BLOCK, 1, target + 4 * k, 4L * BLOCK);
            }
            GemmPacking.scale(target, (long) blocks * BLOCK, scaling.first, scaling.second);
            specialRows[row] = special;
            return;
        }
        for (long k = 0; k < (long) blocks * BLOCK; k++) {
            float value = k < a.k ? GemmCodes.decode(a, row, k) : 0;
            if (!Float.isFinite(value)) {
                special = true;
                value = 0;
            }
            ALL.set(F32, target + 4 * (k / BLOCK * BLOCK + GemmPacking.packed((int) (k % BLOCK))),
                    value * scaling.second);
        }
        specialRows[row] = special;
    }

    // ---------------------------------------------------------------------------------------------- a task

    private void multiply(long firstRow, int rows) {
        GemmWorkspace work = GemmWorkspace.mine();
        float[] lanes = work.sums(GROUP * ROWS_B * L);
        float[] result = work.rows(m * rows);
        boolean shared = b.sharesScalesIn128Rows();
        int tableFloats = blocks * GemmRows.GROUPS * GROUP;
        float[] table = work.scales(ROWS_B * tableFloats);
        for (int first = 0; first < m; first += GROUP) {
            int count = Math.min(GROUP, m - first);
            int rowsA = count == 3 ? 4 : count;
            if (shared) {
                fillScales(table, 0, first, firstRow);
            }
            // Two streams, each through half of the rows; the second ends on the last row, if need be twice.
            int half = (rows + 1) / 2;
            for (int row = 0; row < half; row++) {
                int other = Math.min(row + half, rows - 1);
                if (!shared) {
                    fillScales(table, 0, first, firstRow + row);
                    fillScales(table, tableFloats, first, firstRow + other);
                }
                boolean special = multiplyRows(rowsA, first, firstRow + row, other - row, table,
                        shared ? 0 : tableFloats, lanes);
                addLanes(lanes, 0, result, first * rows + row, count, rows);
                addLanes(lanes, rowsA, result, first * rows + other, count, rows);
                if (special) {
                    replaceSpecial(firstRow, row, rows, first, count, result);
                    replaceSpecial(firstRow, other, rows, first, count, result);
                }
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

    /**
     * Writes {@code float[group of codes][GROUP]}: the products of the scales of rows first, first + 1, ... of A with
     * those of a row of B, again for each group of a block.
     */
    private void fillScales(float[] table, int at, int first, long rowB) {
        int padded = (m + GROUP - 1) / GROUP * GROUP;
        for (int block = 0; block < blocks; block++) {
            float sB = scaling.scaleB(b, rowB, block);
            long from = scalesA + 4L * ((long) block * padded + first);
            for (int i = 0; i < GROUP; i++) {
                float product = ALL.get(F32, from + 4 * i) * sB;
                for (int g = 0; g < GemmRows.GROUPS; g++) {
                    table[at + (block * GemmRows.GROUPS + g) * GROUP + i] = product;
                }
            }
        }
    }

    /** Multiplies rows {@code first...} of A with two rows of B, {@code apart} rows from each other. */
    private boolean multiplyRows(int rowsA, int first, long row, int apart, float[] table, int tableStride,
            float[] lanes) {
        Arrays.fill(lanes, 0, rowsA * ROWS_B * L, 0);
        long source = b.address + row * b.rowStride;
        long stride = apart * b.rowStride;
        int groups = (int) (a.k / GemmRows.GROUP);
        if (a.k % GemmRows.GROUP != 0) {
            int length = blocks * BLOCK;
            MemorySegment copy = Scratch.get(SLOT_EDGE, (long) ROWS_B * length);
            GemmPacking.copyPadded(source, stride, ROWS_B, (int) b.k, copy, length, ROWS_B);
            source = copy.address();
            stride = length;
            groups = blocks * GemmRows.GROUPS;
        }
        return GemmRows.multiply(rowsA, packedA + first * strideA, strideA, source, stride, groups, table, tableStride,
                lanes, 0);
    }

    private void replaceSpecial(long firstRow, int r, int rows, int first, int count, float[] result) {
        if (b.hasSpecial(firstRow + r)) {
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
