package dev.octet.fp8.cpu;

import dev.octet.core.cpu.Scratch;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * A slab of A, rows times blocks of K, decoded and transposed for {@link GemmTiles}: panels of up to 64 rows, in which
 * lanes run along the rows.
 *
 * <pre>
 * values   float[block][panel][128 k][panel rows]     k in the packed order of {@link GemmPacking}
 * scales   float[block][rows]
 * </pre>
 *
 * <p>The last panel has its rows rounded up to whole vectors, with zeros. Packing is cut into tasks that write to
 * different panels or blocks: with neighbouring rows of a panel, two threads would write to the same cache lines.
 */
final class GemmPanels {
    private static final int L = Lanes.COUNT;
    private static final int BLOCK = 128;
    static final int ROWS = GemmTiles.PANEL_VECTORS * L;
    /** Blocks that a task packs: 8 KiB to 64 KiB of codes, short against the products with them. */
    private static final int TASK_BLOCKS = 8;
    private static final int SLOT_EDGE = 0;

    private final GemmOperand a;
    private GemmScaling scaling;
    private float[] values;
    private float[] scales;
    /** Where the slab begins in both. */
    private int valuesBase;
    private int scalesBase;
    /** Rows with a NaN or infinity among their codes; another slab of the same rows may have added to it. */
    private boolean[] special;

    private long firstRow;
    private int rows;
    private int paddedRows;
    private long firstBlock;
    private int blocks;

    /**
     * Panels for slabs of up to so many floats and scales.
     *
     * @param values where to, for the largest slab
     * @param scales where their scales go
     */
    GemmPanels(GemmOperand a, GemmScaling scaling, float[] values, float[] scales) {
        this.a = a;
        this.scaling = scaling;
        this.values = values;
        this.scales = scales;
        special = new boolean[0];
    }

    /**
     * Moves into arrays that hold other panels too.
     *
     * @param values where to
     * @param valuesBase where these panels begin
     * @param scales where their scales go
     * @param scalesBase where those begin
     */
    void move(GemmScaling scaling, float[] values, int valuesBase, float[] scales, int scalesBase) {
        this.scaling = scaling;
        this.values = values;
        this.valuesBase = valuesBase;
        this.scales = scales;
        this.scalesBase = scalesBase;
    }

    /** {@return rows rounded up to whole vectors} */
    static int padded(int rows) {
        return (rows + L - 1) / L * L;
    }

    /** Chooses the slab that {@link #pack} packs; rows found to have a NaN or infinity are set in {@code special}. */
    void place(long firstRow, int rows, long firstBlock, int blocks, boolean[] special) {
        this.firstRow = firstRow;
        this.rows = rows;
        this.firstBlock = firstBlock;
        this.blocks = blocks;
        this.special = special;
        paddedRows = padded(rows);
    }

    float[] values() {
        return values;
    }

    float[] scales() {
        return scales;
    }

    long firstRow() {
        return firstRow;
    }

    int rows() {
        return rows;
    }

    int paddedRows() {
        return paddedRows;
    }

    long firstBlock() {
        return firstBlock;
    }

    int blocks() {
        return blocks;
    }

    /** {@return whether a row has a NaN or infinity in one of the slabs packed so far} */
    boolean isSpecial(int row) {
        return special[row];
    }

    /** {@return rows of the panel that holds a row} */
    int panelRows(int row) {
        return Math.min(ROWS, paddedRows - row / ROWS * ROWS);
    }

    /** {@return where the panel that begins with a row lies in a block of the slab} */
    int panelAt(int block, int row) {
        return valuesBase + (block * paddedRows + row) * BLOCK;
    }

    /** {@return where the scale of a row lies in a block of the slab} */
    int scaleAt(int block, int row) {
        return scalesBase + block * paddedRows + row;
    }

    // ---------------------------------------------------------------------------------------------- packing

    private int taskRanges() {
        return (blocks + TASK_BLOCKS - 1) / TASK_BLOCKS;
    }

    /** {@return how many tasks pack the slab} */
    int tasks() {
        return taskRanges() * ((paddedRows + ROWS - 1) / ROWS);
    }

    /** Packs one panel over some blocks. */
    void pack(int task) {
        int panel = task / taskRanges() * ROWS;
        int from = task % taskRanges() * TASK_BLOCKS;
        GemmWorkspace work = GemmWorkspace.mine();
        int squares = work.squaresBegin();
        int valid = Math.min(ROWS, rows - panel);
        boolean found = false;
        int to = Math.min(blocks, from + TASK_BLOCKS);
        for (int block = from; block < to; block++) {
            long k = (firstBlock + block) * BLOCK;
            int length = (int) Math.min(BLOCK, a.k - k);
            long source = a.address + (firstRow + panel) * a.rowStride + k * a.kStride;
            found |= a.kContiguous
                    ? packRows(source, valid, length, block, panel, work.squares, squares)
                    : packLines(source, valid, length, block, panel);
            int at = scaleAt(block, panel);
            for (int i = 0; i < valid; i++) {
                scales[at + i] = a.scale(firstRow + panel + i, firstBlock + block);
            }
            Arrays.fill(scales, at + valid, at + panelRows(panel), 0);
        }
        if (found) {
            for (int i = panel; i < panel + valid; i++) {
                special[i] |= a.hasSpecial(firstRow + i, (firstBlock + from) * BLOCK, (firstBlock + to) * BLOCK);
            }
        }
    }

    /** A block of rows that are contiguous along K: L rows at a time are transposed. */
    private boolean packRows(long source, int valid, int length, int block, int panel, int[] t, int squares) {
        long stride = a.rowStride;
        if (length < BLOCK) {
            MemorySegment edge = Scratch.get(SLOT_EDGE, (long) ROWS * BLOCK);
            GemmPacking.copyPadded(source, stride, valid, length, edge, BLOCK, ROWS);
            source = edge.address();
            stride = BLOCK;
        }
        int step = panelRows(panel);
        int target = panelAt(block, panel);
        boolean found = false;
        for (int row = 0; row < valid; row += L) {
            for (int q = 0; q < BLOCK; q += 4 * L) {
                found |= GemmPacking.transpose(a, source + row * stride + q, stride, Math.min(L, valid - row),
                        scaling.first, scaling.second, values, target + row + (q + 3 * L) * step, step, -L * step,
                        t, squares);
            }
        }
        return found;
    }

    /** A block of a matrix that is contiguous along its rows, as in a weight gradient: a line is one k. */
    private boolean packLines(long source, int valid, int length, int block, int panel) {
        long stride = a.kStride;
        int width = (valid + 4 * L - 1) / (4 * L) * (4 * L);
        if (length < BLOCK || valid < width) {
            MemorySegment edge = Scratch.get(SLOT_EDGE, (long) BLOCK * width);
            GemmPacking.copyPadded(source, stride, length, valid, edge, width, BLOCK);
            source = edge.address();
            stride = width;
        }
        return GemmPacking.decodeLines(a, source, stride, scaling.first, scaling.second, values, panelAt(block, panel),
                panelRows(panel));
    }
}
