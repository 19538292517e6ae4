package dev.octet.fp8.cpu;

import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/**
 * The GEMM for many rows of A.
 *
 * <p>Schedule, for each chunk of up to 256 rows of A:
 * <ol>
 *   <li>A is decoded and transposed once, into panels of 64 rows (4 vectors) for each block of K: it stays in L2 and L3.
 *   <li>A task is a range of columns (rows of B). For each block of K it decodes its part of B, 48 columns at a
 *       time, and sweeps them with each panel of A, 32 KiB. Running sums stay in L2.
 *   <li>The sums, whose lanes run along the rows of A, are transposed, finished and written row by row.
 * </ol>
 * What a task computes does not depend on the thread that runs it, nor a sum on the cut into tasks, so results are the
 * same for every pool.
 */
final class TiledGemm {
    private static final int L = Lanes.COUNT;
    private static final int BLOCK = 128;
    private static final int PANEL = GemmTiles.PANEL_VECTORS * L;
    private static final int CHUNK_ROWS = 256;
    /** Packed A of a chunk, in floats: 16 MiB, half of a usual L3. */
    private static final long CHUNK_FLOATS = 4 << 20;
    /** What an array holds. */
    private static final long MAX_FLOATS = Integer.MAX_VALUE - 8;
    /** Columns of a task: its running sums for 256 rows, its codes and a block of A take 330 KiB, a third of L2. */
    private static final int TASK_COLUMNS = 96;
    /**
     * Blocks of K whose codes are fetched at once. The hardware fetches ahead only along a row: when each block was
     * fetched as it was decoded, 128 bytes of each row, that took 16 % of the whole.
     */
    private static final int FETCHED_BLOCKS = 8;
    /** Columns that are decoded at once: 24 KiB, most of which stay in L1 beside a panel of A. */
    private static final int DECODED_COLUMNS = 48;
    /** A multiple of the tiles' columns and of every vector's lanes. */
    private static final int COLUMN_STEP = 48;
    private static final int SLOT_EDGE = 0;

    private final GemmOperand a;
    private final GemmOperand b;
    private final GemmOutput out;
    private final GemmScaling scaling;
    private final int blocks;

    /** The current chunk of A: its first row, its rows, and those rounded up to whole vectors. */
    private long firstRow;
    private int rows;
    private int paddedRows;
    /** {@code [block][panel][128][panel rows]}. */
    private float[] packedA = new float[0];
    /** {@code [block][paddedRows]}. */
    private float[] scalesA = new float[0];
    /** Rows of the chunk with a NaN or infinity among their codes. */
    private boolean[] specialRows = new boolean[0];

    private TiledGemm(GemmOperand a, GemmOperand b, GemmOutput out) {
        this.a = a;
        this.b = b;
        this.out = out;
        scaling = new GemmScaling(a, b);
        blocks = a.blocks();
    }

    static void gemm(GemmOperand a, GemmOperand b, GemmOutput out, CpuPool pool) {
        new TiledGemm(a, b, out).run(pool);
    }

    private void run(CpuPool pool) {
        long fit = CHUNK_FLOATS / Math.max(1, (long) blocks * BLOCK) / PANEL * PANEL;
        int chunk = (int) Math.min(Math.clamp(fit, PANEL, CHUNK_ROWS), a.rows);
        int padded = (chunk + L - 1) / L * L;
        long floats = (long) blocks * BLOCK * padded;
        if (floats > MAX_FLOATS) {
            throw new IllegalArgumentException("a has " + a.k + " columns (K), backend cpu takes at most "
                    + MAX_FLOATS / padded / BLOCK * BLOCK + " with " + chunk + " rows at a time: add up products over"
                    + " parts of K with Epilogue.withAddend");
        }
        GemmWorkspace work = GemmWorkspace.mine();
        packedA = work.packedA((int) floats);
        scalesA = work.scalesA(blocks * padded);
        int columns = taskColumns(pool.threads());
        int tasks = Math.toIntExact(Math.ceilDiv(b.rows, (long) columns));
        for (firstRow = 0; firstRow < a.rows; firstRow += chunk) {
            rows = (int) Math.min(chunk, a.rows - firstRow);
            paddedRows = (rows + L - 1) / L * L;
            specialRows = new boolean[rows];
            if (a.kContiguous) {
                pool.run(paddedRows / L, this::packRows);
            } else {
                pool.run(blocks, this::packBlock);
            }
            pool.run(tasks, t -> multiply((long) t * columns, (int) Math.min(columns, b.rows - (long) t * columns)));
        }
    }

    /** At least four tasks a thread, if the columns are enough for that, so that a slow thread costs little. */
    private int taskColumns(int threads) {
        long even = Math.ceilDiv(b.rows, 4L * threads);
        return Math.clamp(Math.ceilDiv(even, (long) COLUMN_STEP) * COLUMN_STEP, COLUMN_STEP, TASK_COLUMNS);
    }

    // ---------------------------------------------------------------------------------------------- A

    /** Where lane 0 of a row's vector at k = 0 of a block lies, in floats from the block's start. */
    private int placeOfGroup(int group) {
        int row = group * L;
        int panel = row / PANEL;
        return panel * PANEL * BLOCK + row - panel * PANEL;
    }

    private int panelRows(int row) {
        return Math.min(PANEL, paddedRows - row / PANEL * PANEL);
    }

    /** Packs L rows that are contiguous along K, over all blocks. */
    private void packRows(int group) {
        int[][] square = GemmWorkspace.mine().square;
        int row = group * L;
        int valid = Math.min(L, rows - row);
        int step = panelRows(row);
        boolean special = false;
        for (int block = 0; block < blocks; block++) {
            long source = a.address + (firstRow + row) * a.rowStride + (long) block * BLOCK;
            long stride = a.rowStride;
            long left = a.k - (long) block * BLOCK;
            if (left < BLOCK) {
                MemorySegment edge = Scratch.get(SLOT_EDGE, (long) L * BLOCK);
                GemmPacking.copyPadded(source, stride, valid, (int) left, edge, BLOCK, L);
                source = edge.address();
                stride = BLOCK;
            }
            int target = block * paddedRows * BLOCK + placeOfGroup(group);
            for (int q = 0; q < BLOCK; q += 4 * L) {
                special |= GemmPacking.transpose(a, source + q, stride, valid, scaling.first, scaling.second, packedA,
                        target + (q + 3 * L) * step, step, -L * step, square);
            }
            fillScalesA(row, valid, block);
        }
        if (special) {
            for (int i = row; i < row + valid; i++) {
                specialRows[i] = a.hasSpecial(firstRow + i);
            }
        }
    }

    private void fillScalesA(int row, int valid, int block) {
        for (int i = 0; i < L; i++) {
            scalesA[block * paddedRows + row + i] = i < valid ? scaling.scaleA(a, firstRow + row + i, block) : 0;
        }
    }

    /** Packs one block of a matrix that is contiguous along its rows, as in a weight gradient. */
    private void packBlock(int block) {
        int length = (int) Math.min(BLOCK, a.k - (long) block * BLOCK);
        float factor = scaling.second;
        for (int row = 0; row < paddedRows; row += L) {
            int target = block * paddedRows * BLOCK + placeOfGroup(row / L);
            int step = panelRows(row);
            int valid = Math.min(L, rows - row);
            fillScalesA(row, valid, block);
            for (int k = 0; k < BLOCK; k++) {
                int to = target + GemmPacking.packed(k) * step;
                for (int i = 0; i < L; i++) {
                    float value = 0;
                    if (k < length && i < valid) {
                        value = GemmCodes.decode(a, firstRow + row + i, (long) block * BLOCK + k);
                        if (!Float.isFinite(value)) {
                            specialRows[row + i] = true;
                            value = 0;
                        }
                    }
                    packedA[to + i] = value * factor;
                }
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- a task

    private void multiply(long firstColumn, int columns) {
        GemmWorkspace work = GemmWorkspace.mine();
        int stored = (columns + COLUMN_STEP - 1) / COLUMN_STEP * COLUMN_STEP;
        float[] sums = work.sums(stored * paddedRows);
        Arrays.fill(sums, 0, stored * paddedRows, 0);
        float[] scalesB = work.scales(stored);
        Arrays.fill(scalesB, 0, stored, 0);
        float[] decoded = work.decodedB((DECODED_COLUMNS + 4 * L) * BLOCK);
        boolean special = false;
        for (int block = 0; block < blocks; block++) {
            if (b.kContiguous && block % FETCHED_BLOCKS == 0) {
                special |= fetch(firstColumn, columns, block);
            }
            fillScales(firstColumn, columns, block, scalesB);
            int panels = block * paddedRows * BLOCK;
            for (int n = 0; n < columns; n += DECODED_COLUMNS) {
                int count = Math.min(DECODED_COLUMNS, columns - n);
                special |= decode(firstColumn + n, count, block, decoded, work);
                int swept = (count + GemmTiles.COLUMN_GROUP - 1) / GemmTiles.COLUMN_GROUP * GemmTiles.COLUMN_GROUP;
                for (int row = 0; row < paddedRows; row += PANEL) {
                    int width = panelRows(row);
                    GemmTiles.sweep(width / L, packedA, panels + row * BLOCK, decoded, swept, sums,
                            row * stored + n * width, scalesA, block * paddedRows + row, scalesB, n);
                }
            }
        }
        finish(firstColumn, columns, stored, sums, special, work);
    }

    private void fillScales(long firstColumn, int columns, int block, float[] scalesB) {
        if (!b.sharesScalesIn128Rows()) {
            for (int i = 0; i < columns; i++) {
                scalesB[i] = scaling.scaleB(b, firstColumn + i, block);
            }
            return;
        }
        for (int i = 0; i < columns;) {
            float s = scaling.scaleB(b, firstColumn + i, block);
            int end = (int) Math.min(columns, (firstColumn + i | BLOCK - 1) + 1 - firstColumn);
            Arrays.fill(scalesB, i, end, s);
            i = end;
        }
    }

    /** Brings the codes of some blocks into L2; {@return whether one of them is not finite} */
    private boolean fetch(long firstColumn, int columns, int block) {
        long k = (long) block * BLOCK;
        int length = (int) Math.min((long) FETCHED_BLOCKS * BLOCK, b.k - k);
        return GemmPacking.scan(b, b.address + firstColumn * b.rowStride + k, b.rowStride, columns, length);
    }

    /** Decodes a part of a block of B to {@code float[column][128]}. */
    private boolean decode(long firstColumn, int columns, int block, float[] target, GemmWorkspace work) {
        long k = (long) block * BLOCK;
        int length = (int) Math.min(BLOCK, b.k - k);
        long source = b.address + firstColumn * b.rowStride + k * b.kStride;
        if (b.kContiguous) {
            long stride = b.rowStride;
            if (length < BLOCK) {
                MemorySegment edge = Scratch.get(SLOT_EDGE, (long) columns * BLOCK);
                GemmPacking.copyPadded(source, stride, columns, length, edge, BLOCK, columns);
                source = edge.address();
                stride = BLOCK;
            }
            GemmPacking.decodeRows(b, source, stride, columns, target, 0);
            return false;
        }
        // Contiguous along the columns: lines of one k each. L lines that are neighbours in the packed order, four apart
        // in k, are transposed at once.
        int width = (columns + 4 * L - 1) / (4 * L) * (4 * L);
        MemorySegment lines = Scratch.get(SLOT_EDGE, (long) BLOCK * width);
        GemmPacking.copyPadded(source, b.kStride, length, columns, lines, width, BLOCK);
        boolean special = false;
        for (int group = 0; group < BLOCK; group += 4 * L) {
            for (int j = 0; j < 4; j++) {
                long from = lines.address() + (long) (group + j) * width;
                int to = group + (3 - j) * L;
                for (int n = 0; n < columns; n += 4 * L) {
                    special |= GemmPacking.transpose(b, from + n, 4L * width, L, 1, 1, target, to + n * BLOCK,
                            4 * BLOCK, BLOCK, work.square);
                }
            }
        }
        return special;
    }

    // ---------------------------------------------------------------------------------------------- finish

    private void finish(long firstColumn, int columns, int stored, float[] sums, boolean special, GemmWorkspace work) {
        if (special) {
            for (int n = 0; n < columns; n++) {
                if (b.hasSpecial(firstColumn + n)) {
                    for (int m = 0; m < rows; m++) {
                        sums[place(m, n, stored)] = GemmCodes.sum(a, b, firstRow + m, firstColumn + n);
                    }
                }
            }
        }
        for (int m = 0; m < rows; m++) {
            if (specialRows[m]) {
                for (int n = 0; n < columns; n++) {
                    sums[place(m, n, stored)] = GemmCodes.sum(a, b, firstRow + m, firstColumn + n);
                }
            }
        }
        float[] finished = work.rows(L * stored);
        for (int row = 0; row < rows; row += L) {
            transposeSums(sums, place(row, 0, stored), panelRows(row), columns, finished, stored, work.square);
            for (int i = 0; i < L && row + i < rows; i++) {
                out.write(firstRow + row + i, firstColumn, finished, i * stored, columns);
            }
        }
    }

    private int place(int m, int n, int stored) {
        int first = m / PANEL * PANEL;
        return first * stored + n * panelRows(m) + m - first;
    }

    /** {@code [columns][L rows]}, lines {@code step} apart, to {@code [L rows][columns]}, lines {@code stored} apart. */
    private static void transposeSums(float[] sums, int at, int step, int columns, float[] target, int stored,
            int[][] square) {
        for (int n = 0; n < columns; n += L) {
            for (int i = 0; i < L; i++) {
                FloatVector.fromArray(Lanes.F, sums, at + (n + i) * step).reinterpretAsInts()
                        .intoArray(square[0], i * L);
            }
            int[] result = GemmPacking.transposeInts(square);
            for (int i = 0; i < L; i++) {
                IntVector.fromArray(Lanes.I, result, i * L).reinterpretAsFloats().intoArray(target, i * stored + n);
            }
        }
    }
}
