package dev.octet.fp8.cuda;

import static dev.octet.fp8.cuda.ParameterBlock.setInt;
import static dev.octet.fp8.cuda.ParameterBlock.setLong;

import dev.octet.core.Tensor;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaledTensor;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;

/** Launches the quantisers and the dequantiser; {@code fp8_tiles.cuh} explains them. */
final class CudaQuantizer {
    private static final int TILE = 128;
    /** Rows that a block of the row quantiser takes. */
    private static final int ROWS = 16;
    private static final int PARTIALS = Fp8Kernel.SCRATCH_BYTES / 4;

    // Fields of struct Source, which begins every parameter here.
    private static final int DATA = 0;
    private static final int SCALES = 8;
    private static final int ROW_STRIDE = 16;
    private static final int COLUMN_STRIDE = 24;
    private static final int SCALE_ROW_STRIDE = 32;
    private static final int SCALE_COLUMN_STRIDE = 40;
    private static final int TYPE = 48;
    private static final int VECTORS = 52;
    private static final int SCALE_FORMAT = 56;
    private static final int SCALE_ROW_SHIFT = 60;
    private static final int SCALE_COLUMN_SHIFT = 64;

    private static final int ROWS_AT = 72;
    private static final int COLUMNS_AT = 80;

    private CudaQuantizer() {}

    /** Which of a matrix's two directions a kernel calls rows, and with it all extents and strides. */
    private enum Turn {
        AS_IT_IS, TRANSPOSED;

        long rows(Tensor t) {
            return t.dim(ordinal());
        }

        long columns(Tensor t) {
            return t.dim(1 - ordinal());
        }

        long rowStride(Tensor t) {
            return t.stride(ordinal());
        }

        long columnStride(Tensor t) {
            return t.stride(1 - ordinal());
        }

        boolean turned() {
            return this == TRANSPOSED;
        }

        Turn other() {
            return turned() ? AS_IT_IS : TRANSPOSED;
        }
    }

    /** Kernels read along what they call a row; the source decides which direction that is. */
    private static Turn direction(Tensor source) {
        return source.stride(1) != 1 && source.stride(0) == 1 ? Turn.TRANSPOSED : Turn.AS_IT_IS;
    }

    private static boolean aligned(Tensor t, Turn as, int bytes) {
        int size = t.dtype().byteSize();
        return as.columnStride(t) == 1 && t.address() % bytes == 0 && as.rowStride(t) * size % bytes == 0;
    }

    // ---------------------------------------------------------------------------------------------- quantise

    static void quantize(Launcher launcher, Tensor source, ScaledTensor target) {
        Turn as = direction(source);
        MemorySegment p = ParameterBlock.mine().quantize;
        source(p, source, as);
        launch(launcher, p, target, as);
        Reference.reachabilityFence(source);
        Reference.reachabilityFence(target);
    }

    static void requantize(Launcher launcher, ScaledTensor source, ScaledTensor target) {
        Turn as = direction(source.codes());
        MemorySegment p = ParameterBlock.mine().quantize;
        source(p, source, as);
        launch(launcher, p, target, as);
        Reference.reachabilityFence(source);
        Reference.reachabilityFence(target);
    }

    private static void launch(Launcher launcher, MemorySegment p, ScaledTensor target, Turn as) {
        Tensor codes = target.codes();
        Tensor scales = target.scales();
        if (scales.shape().elements() == 0) {
            return;
        }
        long rows = as.rows(codes);
        long columns = as.columns(codes);
        setLong(p, ROWS_AT, rows);
        setLong(p, COLUMNS_AT, columns);
        setLong(p, 88, codes.address());
        setLong(p, 96, as.rowStride(codes));
        setLong(p, 104, as.columnStride(codes));
        setLong(p, 112, scales.address());
        setLong(p, 120, as.rowStride(scales));
        setLong(p, 128, as.columnStride(scales));
        setLong(p, 136, 0);
        setInt(p, 144, target.format().ordinal());
        setInt(p, 148, target.scaling().format().ordinal());
        setInt(p, 152, layout(codes, as));
        setInt(p, 156, 0);
        long tiles = Math.ceilDiv(rows, (long) TILE) * Math.ceilDiv(columns, (long) TILE);
        switch (target.scaling().granularity()) {
            case BLOCK_1X128 -> launcher.launch(
                    as.turned() ? Fp8Kernel.QUANTIZE_128X1 : Fp8Kernel.QUANTIZE_1X128, tiles, p);
            case BLOCK_128X1 -> launcher.launch(
                    as.turned() ? Fp8Kernel.QUANTIZE_1X128 : Fp8Kernel.QUANTIZE_128X1, tiles, p);
            case BLOCK_128X128 -> launcher.launch(Fp8Kernel.QUANTIZE_128X128, tiles, p);
            case ROW -> {
                if (as.turned()) {
                    launcher.launch(Fp8Kernel.QUANTIZE_COLUMN, Math.ceilDiv(columns, (long) TILE), p);
                } else {
                    launcher.launch(Fp8Kernel.QUANTIZE_ROW, Math.ceilDiv(rows, (long) ROWS), p);
                }
            }
            case TENSOR -> {
                // A matrix without elements has its scale all the same.
                int partials = Math.clamp(tiles, 1, PARTIALS);
                setInt(p, 156, partials);
                synchronized (launcher.order()) {
                    setLong(p, 136, launcher.scratch());
                    launcher.launch(Fp8Kernel.AMAX_TENSOR, partials, p);
                    launcher.launch(Fp8Kernel.QUANTIZE_TENSOR, Math.max(1, tiles), p);
                }
            }
        }
    }

    /** As the kernel's enum Layout has it: one by one, 8 of a row at once, 16 of a column at once. */
    private static int layout(Tensor codes, Turn as) {
        return aligned(codes, as, 8) ? 1 : aligned(codes, as.other(), 16) ? 2 : 0;
    }

    private static void source(MemorySegment p, Tensor t, Turn as) {
        strides(p, t, as, null);
        setInt(p, VECTORS, aligned(t, as, 16) && as.columns(t) % 8 == 0);
    }

    private static void source(MemorySegment p, ScaledTensor t, Turn as) {
        strides(p, t.codes(), as, t);
        Granularity g = t.scaling().granularity();
        boolean together = (as.turned() ? g.blockRows() : g.blockColumns()) > 1; // 8 neighbours have one scale
        setInt(p, VECTORS, together && aligned(t.codes(), as, 8) && as.columns(t.codes()) % 8 == 0);
    }

    private static void strides(MemorySegment p, Tensor t, Turn as, @Nullable ScaledTensor scaled) {
        setLong(p, DATA, t.address());
        setLong(p, ROW_STRIDE, as.rowStride(t));
        setLong(p, COLUMN_STRIDE, as.columnStride(t));
        setInt(p, TYPE, t.dtype().ordinal());
        if (scaled == null) {
            return;
        }
        Granularity g = scaled.scaling().granularity();
        setLong(p, SCALES, scaled.scales().address());
        setLong(p, SCALE_ROW_STRIDE, as.rowStride(scaled.scales()));
        setLong(p, SCALE_COLUMN_STRIDE, as.columnStride(scaled.scales()));
        setInt(p, SCALE_FORMAT, scaled.scaling().format().ordinal());
        setInt(p, SCALE_ROW_SHIFT, shift(as.turned() ? g.blockColumns() : g.blockRows()));
        setInt(p, SCALE_COLUMN_SHIFT, shift(as.turned() ? g.blockRows() : g.blockColumns()));
    }

    /** {@return by how much an index is shifted to that of its block; 63 if there is but one} */
    static int shift(long block) {
        return block == Long.MAX_VALUE ? 63 : Long.numberOfTrailingZeros(block);
    }

    // ---------------------------------------------------------------------------------------------- dequantise

    static void dequantize(Launcher launcher, ScaledTensor source, Tensor target) {
        if (target.shape().elements() == 0) {
            return;
        }
        Turn as = direction(source.codes());
        MemorySegment p = ParameterBlock.mine().dequantize;
        source(p, source, as);
        long rows = as.rows(target);
        long columns = as.columns(target);
        setLong(p, ROWS_AT, rows);
        setLong(p, COLUMNS_AT, columns);
        setLong(p, 88, target.address());
        setLong(p, 96, as.rowStride(target));
        setLong(p, 104, as.columnStride(target));
        setInt(p, 112, target.dtype().ordinal());
        setInt(p, 116, aligned(target, as, 16));
        launcher.launch(Fp8Kernel.DEQUANTIZE, Math.ceilDiv(rows, (long) TILE) * Math.ceilDiv(columns, (long) TILE), p);
        Reference.reachabilityFence(source);
        Reference.reachabilityFence(target);
    }
}
