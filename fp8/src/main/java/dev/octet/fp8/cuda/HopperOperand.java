package dev.octet.fp8.cuda;

import static dev.octet.fp8.cuda.ParameterBlock.setInt;
import static dev.octet.fp8.cuda.ParameterBlock.setLong;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaledTensor;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A or B of a Hopper product: where codes and scales lie, and whether TMA and {@code wgmma} can read them there. What
 * they can't, {@code fp8_stage.cu} first brings into memory of the stream: codes that are not contiguous along K or not
 * at multiples of 16 bytes, and scales of rows that are not FP32 in aligned columns. Scales of blocks are read by
 * ordinary loads, whatever their strides and format. A thread has two and uses them again for every product.
 */
final class HopperOperand {
    /** What pieces of the memory of the stream begin at multiples of. */
    private static final long PIECE = 256;
    private static final long STAGE_TILE = 128;
    private static final long STAGE_SCALES = 4096;
    private static final int CODES_JOB = 88;
    private static final int SCALES_JOB = 72;
    private static final int SCALES_JOBS = 2 * CODES_JOB;

    long rows;       // of one group
    long columns;
    int groups;
    DType format = DType.F8_E4M3;
    boolean vector;  // a scale for each row, else one for each 128, or for all
    boolean everyBlock; // scales change along K

    long codes;
    long pitch;      // bytes from a row to the next
    long apart;      // bytes from a group to the next
    long scales;
    long scalePitch; // of rows: from 128 of K to the next
    long scaleRow;   // of blocks: from 128 rows to the next, along K, between groups
    long scaleStep;
    long scalesApart;
    boolean e8m0;

    private long rowStride;
    private long kStride;
    private long scaleRowStride;
    private long scaleBlockStride;
    private long scaleBlocks;
    private int scaleFormat;
    private boolean stagesCodes;
    private boolean stagesScales;

    /** A matrix. */
    void read(ScaledTensor t) {
        Tensor c = t.codes();
        Tensor s = t.scales();
        Granularity g = t.scaling().granularity();
        rows = c.dim(0);
        columns = c.dim(1);
        groups = 1;
        format = c.dtype();
        vector = g.blockRows() == 1;
        everyBlock = g.blockColumns() != Long.MAX_VALUE;
        codes = c.address();
        rowStride = c.stride(0);
        kStride = c.stride(1);
        scales = s.address();
        e8m0 = s.dtype() == DType.F8_E8M0;
        scaleFormat = t.scaling().format().ordinal();
        scaleRowStride = s.stride(0);
        scaleBlockStride = s.stride(1);
        scaleBlocks = s.dim(1);
        scaleRow = g == Granularity.TENSOR ? 0 : scaleRowStride;
        scaleStep = everyBlock ? scaleBlockStride : 0;
        apart = 0;
        scalesApart = 0;

        // A single row may have any stride.
        pitch = rows > 1 ? rowStride : roundUp(columns, 16);
        stagesCodes = kStride != 1 && columns > 1 || codes % 16 != 0 || pitch % 16 != 0 || pitch < columns
                || pitch >= 1L << 40;
        scalePitch = scaleBlocks > 1 ? scaleBlockStride : roundUp(rows, 4);
        stagesScales = vector && (e8m0 || scales % 16 != 0 || scaleRowStride != 1 && rows > 1 || scalePitch % 4 != 0
                || scalePitch < rows || scalePitch >= 1L << 38);
    }

    /** Matrices of one layout at equal distances, of which {@link #stacked} is true. */
    void read(List<ScaledTensor> all) {
        ScaledTensor first = all.get(0);
        read(first);
        groups = all.size();
        if (groups > 1) {
            apart = all.get(1).codes().address() - codes;
            scalesApart = (all.get(1).scales().address() - scales) / (e8m0 ? 1 : 4);
            stagesCodes |= apart % 16 != 0 || apart < pitch * rows || apart >= 1L << 40;
        }
    }

    /** {@return whether matrices can be one operand: scales of blocks, one layout, equal distances} */
    static boolean stacked(List<ScaledTensor> all) {
        ScaledTensor first = all.get(0);
        if (all.size() == 1) {
            return true;
        }
        if (first.scaling().granularity().blockRows() == 1) {
            return false; // TMA reads scales of rows of one matrix
        }
        long codes = all.get(1).codes().address() - first.codes().address();
        long scales = all.get(1).scales().address() - first.scales().address();
        if (scales % first.scales().dtype().byteSize() != 0) {
            return false;
        }
        for (int g = 1; g < all.size(); g++) {
            ScaledTensor t = all.get(g);
            if (t.codes().address() != first.codes().address() + g * codes
                    || t.scales().address() != first.scales().address() + g * scales || !alike(first, t)) {
                return false;
            }
        }
        return true;
    }

    private static boolean alike(ScaledTensor x, ScaledTensor y) {
        return x.format() == y.format() && x.scaling().equals(y.scaling())
                && x.codes().stride(0) == y.codes().stride(0) && x.codes().stride(1) == y.codes().stride(1)
                && x.scales().stride(0) == y.scales().stride(0) && x.scales().stride(1) == y.scales().stride(1);
    }

    // ---------------------------------------------------------------------------------------------- staging

    /** {@return bytes of the stream's memory that it wants} */
    long stagedBytes() {
        return codesBytes() + scalesBytes();
    }

    private long codesBytes() {
        return stagesCodes ? roundUp(groups * rows * roundUp(columns, 16), PIECE) : 0;
    }

    private long scalesBytes() {
        return stagesScales ? roundUp(scaleBlocks * roundUp(rows, 4) * 4, PIECE) : 0;
    }

    /**
     * Brings what can't be read in place of one or two operands into memory.
     *
     * @param at {@link #stagedBytes} of all, at a multiple of 256
     */
    static void stage(Launcher launcher, long at, HopperOperand a, @Nullable HopperOperand b) {
        MemorySegment p = ParameterBlock.mine().stage;
        long blocks = a.stageCodes(p, 0, at, 0);
        at += a.codesBytes();
        blocks = b != null ? b.stageCodes(p, CODES_JOB, at, blocks) : none(p, CODES_JOB + 72, blocks);
        at += b != null ? b.codesBytes() : 0;
        blocks = a.stageScales(p, SCALES_JOBS, at, blocks);
        at += a.scalesBytes();
        blocks = b != null ? b.stageScales(p, SCALES_JOBS + SCALES_JOB, at, blocks)
                : none(p, SCALES_JOBS + SCALES_JOB + 56, blocks);
        if (blocks > 0) {
            launcher.launch(Fp8Kernel.STAGE, blocks, p);
        }
    }

    /** A job without blocks begins where the next one does. */
    private static long none(MemorySegment p, long firstBlock, long blocks) {
        setLong(p, firstBlock, blocks);
        return blocks;
    }

    private long stageCodes(MemorySegment p, long job, long to, long first) {
        if (!stagesCodes) {
            return none(p, job + 72, first);
        }
        setLong(p, job + 72, first);
        setLong(p, job, codes);
        setLong(p, job + 8, to);
        setLong(p, job + 16, rowStride);
        setLong(p, job + 24, kStride);
        setLong(p, job + 32, apart);
        setLong(p, job + 40, rows);
        setLong(p, job + 48, columns);
        setLong(p, job + 56, groups);
        pitch = roundUp(columns, 16);
        setLong(p, job + 64, pitch);
        boolean alongRows = rowStride == 1 && codes % 16 == 0 && kStride % 16 == 0 && apart % 16 == 0;
        setInt(p, job + 80, alongRows);
        codes = to;
        apart = pitch * rows;
        return first + groups * Math.ceilDiv(rows, STAGE_TILE) * Math.ceilDiv(columns, STAGE_TILE);
    }

    private long stageScales(MemorySegment p, long job, long to, long first) {
        if (!stagesScales) {
            return none(p, job + 56, first);
        }
        setLong(p, job + 56, first);
        setLong(p, job, scales);
        setLong(p, job + 8, to);
        setLong(p, job + 16, scaleRowStride);
        setLong(p, job + 24, scaleBlockStride);
        setLong(p, job + 32, rows);
        setLong(p, job + 40, scaleBlocks);
        scalePitch = roundUp(rows, 4);
        setLong(p, job + 48, scalePitch);
        setInt(p, job + 64, scaleFormat);
        scales = to;
        e8m0 = false;
        return first + Math.ceilDiv(rows * scaleBlocks, STAGE_SCALES);
    }

    private static long roundUp(long n, long to) {
        return (n + to - 1) / to * to;
    }
}
