package dev.octet.fp8.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.DType;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * The GEMM for few rows of A, where reading B is what takes the time: B is read once, decoded in registers, and
 * multiplied with up to 4 rows of A at a time; further rows find it in L1. Three rows and more take their scales
 * beforehand where scales allow it ({@link GemmFoldedRows}), else products are scaled ({@link GemmRows}).
 *
 * <p>A task is a range of up to 128 rows of B, inside one block of its scales, so that the products of the scales are
 * made once for 128 rows. What a task computes does not depend on the pool.
 */
final class SkinnyGemm {
    private static final int L = Lanes.COUNT;
    private static final int BLOCK = 128;
    /** Above them the tiled GEMM is faster, since it decodes B once for all rows. */
    private static final int MAX_M = 8;
    private static final int MAX_FOLDED_M = 12;
    /** With few columns tiles end too seldom for C2, and vectors at their ends stay objects for hundreds of calls. */
    private static final int MAX_FOLDED_M_OF_FEW_COLUMNS = 16;
    private static final int FEW_COLUMNS = 512;
    /** Below it, with more than {@link #MAX_M} rows, what comes before and after each row of B takes too much. */
    private static final int MIN_FOLDED_K = 4096;
    /** Beyond it, with that many rows, A and its scales take more than half of L2. */
    private static final int MAX_FOLDED_K = 8192;
    /** Beyond it the decoded rows would not fit in an array. */
    private static final long MAX_K = 1L << 27;
    private static final int GROUP = GemmRows.MAX_ROWS;
    /** Scales of one row of A that lie further apart, or further from one, are not multiplied into it. */
    private static final int MAX_FOLDED_RANGE = 60;
    private static final int MAX_FOLDED_EXPONENT = 100;

    /** Codes of B that are read at once before they are multiplied: long against a pause of the stream, short of L2. */
    private static final long SCANNED_BYTES = 1 << 17;

    private static final int MAGNITUDES = 0x7F7F_7F7F;
    private static final int SIGNS = 0x8080_8080;

    private static final int SLOT_A = 0;
    private static final int SLOT_EDGE = 1;
    private static final int SLOT_FOLDED = 4;

    private final GemmOperand a;
    private final GemmOperand b;
    private final GemmOutput out;
    private GemmScaling scaling;
    private int m;
    private int blocks;
    /** K, rounded up to whole blocks. */
    private int length;
    private boolean[] specialRows = {};
    /** Address of {@code float[row][length]}, in packed order: aligned, unlike an array, for loads are scarce here. */
    private long packedA;
    /** {@code [block][row]}. */
    private float[] scalesA = {};
    private int scalesAt;
    /** Rows of B of a task, where all of the product is run at once. */
    private int taskRows;
    private final CpuPool.Task packing = this::packRow;
    private final CpuPool.Task multiplying = task -> multiply(task, taskRows);

    /** Products of these operands, whatever they are set to; {@link #place} comes before each. */
    SkinnyGemm(GemmOperand a, GemmOperand b, GemmOutput out) {
        this.a = a;
        this.b = b;
        this.out = out;
        scaling = GemmScaling.of(a, b);
    }

    /**
     * Begins a product whose parts are run by the caller, {@link #pack} first.
     *
     * @param packedA address of {@link #packedFloats} floats
     * @param scalesA for one float for each 128 of those
     * @param scalesAt where they begin
     */
    void place(long packedA, float[] scalesA, int scalesAt) {
        scaling = GemmScaling.of(a, b);
        m = (int) a.rows;
        blocks = a.blocks();
        length = blocks * BLOCK;
        if (specialRows.length < m) {
            specialRows = new boolean[m];
        }
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
        boolean folds = GemmFoldedRows.AVAILABLE && b.sharesScalesIn128Rows() && a.k >= MIN_FOLDED_K
                && a.k <= MAX_FOLDED_K;
        int maxFolded = b.rows < FEW_COLUMNS ? MAX_FOLDED_M_OF_FEW_COLUMNS : MAX_FOLDED_M;
        return a.rows <= (folds ? maxFolded : MAX_M) && b.kContiguous && b.format == DType.F8_E4M3 && a.k > 0
                && a.k < MAX_K;
    }

    /** All of the product that the operands are set to. */
    void multiply(CpuPool pool) {
        long floats = packedFloats(a);
        float[] scales = GemmWorkspace.mine().scalesA(0, (int) (floats / BLOCK));
        place(Scratch.get(SLOT_A, 4 * floats).address(), scales, 0);
        pool.run(padded(), packing);
        taskRows = taskRows(b.rows, pool.threads());
        pool.run(tasks(taskRows), multiplying);
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
        for (int i = 0; i < padded(); i++) {
            packRow(i);
        }
    }

    /** One row of it, or of those that make the last group whole; all may be packed at a time. */
    private void packRow(int row) {
        if (row < m) {
            decodeRow(row, packedA + 4L * row * length);
        } else if (row == m && m % GROUP == 3) { // three rows count as four; no other missing row is read
            GemmPacking.clear(packedA + 4L * row * length, 4L * length);
        }
        for (int block = 0; block < blocks; block++) {
            scalesA[scalesAt + block * padded() + row] = row < m ? a.scale(row, block) : 0;
        }
    }

    /**
     * By a table, in plain Java: a row of A is decoded once in a call, so that code on the Vector API would box its
     * vectors for some thousand calls, until C2 has it.
     */
    private void decodeRow(int row, long target) {
        float[] values = scaling.values;
        int probe = a.probe;
        int seen = 0;
        int whole = a.kContiguous ? (int) (a.k / 4) : 0;
        long source = a.address + row * a.rowStride;
        for (int i = 0; i < whole; i++) {
            int codes = ALL.get(MatrixView.I32, source + 4L * i);
            seen |= (codes & MAGNITUDES) + probe;
            decodeFour(codes, values, target + 4L * GemmPacking.packed(4 * i + 3));
        }
        for (int i = whole; i < length / 4; i++) {
            int codes = fourCodes(row, 4L * i);
            seen |= (codes & MAGNITUDES) + probe;
            decodeFour(codes, values, target + 4L * GemmPacking.packed(4 * i + 3));
        }
        specialRows[row] = (seen & SIGNS) != 0;
    }

    private static void decodeFour(int codes, float[] values, long target) {
        ALL.set(MatrixView.F32, target, values[codes >>> 24]);
        ALL.set(MatrixView.F32, target + 4 * L, values[codes >>> 16 & 0xFF]);
        ALL.set(MatrixView.F32, target + 8 * L, values[codes >>> 8 & 0xFF]);
        ALL.set(MatrixView.F32, target + 12 * L, values[codes & 0xFF]);
    }

    /** {@return four codes of a row of A, with zeros beyond its end} */
    private int fourCodes(int row, long from) {
        int codes = 0;
        for (int j = 0; j < 4 && from + j < a.k; j++) {
            codes |= (a.code(row, from + j) & 0xFF) << 8 * j;
        }
        return codes;
    }

    // ---------------------------------------------------------------------------------------------- a task

    private void multiplyRange(long firstRow, int rows) {
        float[] result = GemmWorkspace.mine().rows(m * rows);
        boolean shared = b.sharesScalesIn128Rows();
        if (!(shared && m > 2 && GemmFoldedRows.AVAILABLE && multiplyFolded(firstRow, rows, result))) {
            int tableFloats = tableFloats();
            float[] table = GemmWorkspace.mine().scales(shared ? tableFloats : GemmRows.rowsB(1) * tableFloats);
            for (int first = 0; first < m; first += GROUP) {
                boolean infinite = shared && fillScales(table, 0, first, firstRow);
                multiplyStreams(firstRow, rows, first, Math.min(GROUP, m - first), shared, infinite, table, tableFloats,
                        result);
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

    /** {@return scales of a group of rows of A times those of a row of B} */
    private int tableFloats() {
        return blocks * GemmRows.GROUPS * GROUP;
    }

    /** Up to four rows of A, times some streams of rows of B, each through its part of the task. */
    private void multiplyStreams(long firstRow, int rows, int first, int count, boolean shared, boolean infinite,
            float[] table, int tableFloats, float[] result) {
        int rowsA = count == 3 ? 4 : count;
        int streams = GemmRows.rowsB(rowsA);
        // Equally far from each other; the last ends on the task's last row, and where the parts overlap, a row is
        // computed twice.
        int apart = rows / streams;
        int length = rows - (streams - 1) * apart;
        int step = rowsA * streams;
        int together = Math.max(1, L / step); // steps whose sums' lanes are added at once
        float[] lanes = GemmWorkspace.mine().sums.array(Math.max(L, step) * L);
        for (int row = 0; row < length; row += together) {
            int steps = Math.min(together, length - row);
            boolean special = infinite;
            for (int t = 0; t < steps; t++) {
                if (!shared) {
                    for (int r = 0; r < streams; r++) {
                        special |= fillScales(table, r * tableFloats, first, firstRow + row + t + r * apart);
                    }
                }
                special |= multiplyRows(rowsA, streams, first, firstRow + row + t, apart, table,
                        shared ? 0 : tableFloats, lanes, t * step * L);
            }
            for (int from = 0; from < steps * step; from += L) {
                GemmRows.addLanes(lanes, from * L);
            }
            for (int t = 0; t < steps; t++) {
                for (int r = 0; r < streams; r++) {
                    int n = row + t + r * apart;
                    for (int i = 0; i < count; i++) {
                        result[(first + i) * rows + n] = lanes[GemmRows.placeOfSum(t * step + r * rowsA + i)];
                    }
                    if (special) {
                        replaceSpecial(firstRow, n, rows, first, count, result);
                    }
                }
            }
        }
    }

    /**
     * Writes {@code float[group of codes][GROUP]}: the products of the scales of rows first, first + 1, ... of A with
     * those of a row of B, again for each group of a block.
     *
     * @return whether a scale of B has no room for its part of the missing power of two, or is infinite
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
            float[] lanes, int at) {
        Arrays.fill(lanes, at, at + rowsA * rowsB * L, 0);
        long source = b.address + row * b.rowStride;
        long stride = apart * b.rowStride;
        if (a.k % GemmRows.GROUP != 0) {
            source = padded(source, stride, rowsB, rowsB);
            stride = length;
        }
        return GemmRows.multiply(rowsA, packedA + 4L * first * length, 4L * length, source, stride, groups(), table,
                tableStride, lanes, at);
    }

    /** {@return groups along K, of which the last may be padded} */
    private int groups() {
        return a.k % GemmRows.GROUP == 0 ? (int) (a.k / GemmRows.GROUP) : blocks * GemmRows.GROUPS;
    }

    /**
     * Copies rows of B and pads them with zeros.
     *
     * @return where the copy begins, with rows of {@link #length}
     */
    private long padded(long source, long stride, int rows, int paddedRows) {
        MemorySegment copy = Scratch.get(SLOT_EDGE, (long) paddedRows * length);
        GemmPacking.copyPadded(source, stride, rows, (int) b.k, copy, length, paddedRows);
        return copy.address();
    }

    // ---------------------------------------------------------------------------------------------- scales in A

    /**
     * {@return whether FP32 holds these rows of A times their scales, given a power of two for each row: the one that
     * brings its largest scale below 1, since values take all the range that there is; these are written behind the
     * scales}
     */
    private static boolean canFold(float[] table, int from, int floats, int count) {
        for (int i = 0; i < GROUP; i++) {
            int min = MAX_FOLDED_EXPONENT;
            int max = -MAX_FOLDED_EXPONENT;
            for (int at = i; at < floats && i < count; at += GROUP * GemmRows.GROUPS) {
                if (table[from + at] != 0) {
                    int exponent = Math.getExponent(table[from + at]); // of a NaN or infinity 128
                    min = Math.min(min, exponent);
                    max = Math.max(max, exponent);
                }
            }
            if (max > MAX_FOLDED_EXPONENT || min < -MAX_FOLDED_EXPONENT || max - min > MAX_FOLDED_RANGE) {
                return false;
            }
            table[from + floats + i] = Math.scalb(1f, -max - 1);
        }
        return true;
    }

    /**
     * All rows of A, four at a time, times six rows of B at a time, which are first read and looked at for NaN.
     *
     * @return false, and nothing is computed, where scales don't allow it
     */
    private boolean multiplyFolded(long firstRow, int rows, float[] result) {
        int floats = tableFloats();
        int tableStride = floats + GROUP;
        float[] table = GemmWorkspace.mine().scales(padded() / GROUP * tableStride);
        for (int first = 0; first < m; first += GROUP) {
            int at = first / GROUP * tableStride;
            if (fillScales(table, at, first, firstRow) || !canFold(table, at, floats, Math.min(GROUP, m - first))) {
                return false;
            }
        }
        int groups = groups();
        long folded = Scratch.get(SLOT_FOLDED, 4L * padded() * length).address();
        for (int i = 0; i < padded(); i++) {
            int at = i / GROUP * tableStride;
            long row = packedA + 4L * Math.min(i, m - 1) * length; // a row too many has scales of zero
            GemmFoldedRows.fold(row, i % GROUP, groups, table, at, table[at + floats + i % GROUP],
                    folded + 4L * (i / GROUP * GROUP) * length);
        }
        boolean copied = rows < GemmFoldedRows.ROWS_B || a.k % GemmRows.GROUP != 0;
        long codes = (long) groups * GemmRows.GROUP;
        int ahead = Math.clamp(SCANNED_BYTES / (GemmFoldedRows.ROWS_B * codes), 1, BLOCK) * GemmFoldedRows.ROWS_B;
        boolean special = false;
        for (int done = 0; done < rows; done += GemmFoldedRows.ROWS_B) {
            // The last six, some of them perhaps again.
            int row = Math.max(0, Math.min(done, rows - GemmFoldedRows.ROWS_B));
            int valid = Math.min(GemmFoldedRows.ROWS_B, rows);
            long source = b.address + (firstRow + row) * b.rowStride;
            long stride = b.rowStride;
            if (copied) {
                source = padded(source, stride, valid, GemmFoldedRows.ROWS_B);
                stride = length;
            }
            if (copied || done % ahead == 0) {
                int lines = copied ? GemmFoldedRows.ROWS_B : Math.min(ahead, rows - row);
                special = stride == codes
                        ? GemmPacking.scan(b, source, 0, 1, (int) (lines * codes))
                        : GemmPacking.scan(b, source, stride, lines, (int) codes);
            }
            for (int first = 0; first < m; first += GROUP) {
                multiplySix(folded + 4L * first * length, source, stride, table, first / GROUP * tableStride + floats,
                        first, row, valid, rows, result);
                for (int r = 0; special && r < valid; r++) {
                    replaceSpecial(firstRow, row + r, rows, first, Math.min(GROUP, m - first), result);
                }
            }
        }
        return true;
    }

    /** Four folded rows of A times six rows of B, {@code factors} made good. */
    private void multiplySix(long folded, long source, long stride, float[] factors, int at, int first, int row,
            int valid, int rows, float[] result) {
        int step = GROUP * GemmFoldedRows.ROWS_B;
        float[] lanes = GemmWorkspace.mine().sums.array(Math.ceilDiv(step, L) * L * L);
        Arrays.fill(lanes, 0, step * L, 0);
        GemmFoldedRows.multiply(folded, source, stride, groups(), lanes);
        for (int from = 0; from < step; from += L) {
            GemmRows.addLanes(lanes, from * L);
        }
        for (int i = 0; i < GROUP && first + i < m; i++) {
            float unfold = 1 / factors[at + i];
            for (int r = 0; r < valid; r++) {
                result[(first + i) * rows + row + r] = lanes[GemmRows.placeOfSum(r * GROUP + i)] * unfold;
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
}
