package dev.octet.fp8.cpu;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Activation;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8Codec;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaledTensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The GEMM in plain Java: {@code D[M,N] = epilogue(A[M,K] * B[N,K]^T)}, for where the Vector API is not there.
 *
 * <p>Schedule: one task is a tile of D, 64 rows by 128 columns, whatever the pool, so results do not depend on it. For
 * each block of 128 along K the tile's part of B is decoded into a panel {@code float[128 k][128 n]} and swept once for
 * each row of A; the loops run along n, where C2 vectorises them, but only as long as each row of the panel is an array
 * of its own: with offsets into one array it did not, at less than a third of the speed. Codes' products are exact in FP32, so that a product
 * and an addition give the bits of a fused one; a block's products are added in increasing k.
 */
final class ScalarGemm {
    private static final int BLOCK = Granularity.BLOCK;
    /** Enough rows to pay for decoding a panel, few enough that tile, panel and rows stay in a 256 KiB cache. */
    private static final int ROWS = 64;

    /** For memory that only the caller may touch. */
    private static final CpuPool ALONE = new CpuPool(1);

    private static final float[] E4M3 = decoder(DType.F8_E4M3);
    private static final float[] E5M2 = decoder(DType.F8_E5M2);

    private ScalarGemm() {}

    private static float[] decoder(DType format) {
        float[] values = new float[256];
        for (int code = 0; code < 256; code++) {
            values[code] = Fp8Codec.decode(format, (byte) code);
        }
        return values;
    }

    /** A thread's working memory. */
    private static final class Panels {
        private static final ThreadLocal<Panels> MINE = ThreadLocal.withInitial(Panels::new);

        /** B: {@code [k][n]}. */
        final float[][] panel = new float[BLOCK][BLOCK];
        /** A: {@code [m][k]}. */
        final float[][] rows = new float[ROWS][BLOCK];
        /** D: {@code [m][n]}. */
        final float[] tile = new float[ROWS * BLOCK];
        final float[] sums = new float[BLOCK];
        final float[] scalesA = new float[ROWS];
        final float[] scalesB = new float[BLOCK];
    }

    static void gemm(ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue, CpuPool pool) {
        if (d.shape().elements() == 0) {
            return;
        }
        MemorySegment out = d.segment();
        long rowStride = d.stride(0);
        long columnStride = d.stride(1);
        forEachTile(a, b, epilogue, Tiles.isShared(out) ? pool : ALONE, (tile, m, n, rows, columns) -> {
            for (int i = 0; i < rows; i++) {
                for (int j = 0; j < columns; j++) {
                    ScalarElements.set(out, d.dtype(), (m + i) * rowStride + (n + j) * columnStride,
                            tile[i * BLOCK + j]);
                }
            }
        });
    }

    static void gemm(ScaledTensor a, ScaledTensor b, ScaledTensor d, Epilogue epilogue, CpuPool pool) {
        if (d.codes().shape().elements() == 0) {
            return;
        }
        MatrixView codes = MatrixView.of(d.codes());
        ScaleGrid scales = ScaleGrid.of(d);
        boolean shared = Tiles.isShared(codes.segment()) && Tiles.isShared(scales.segment());
        forEachTile(a, b, epilogue, shared ? pool : ALONE, (tile, m, n, rows, columns) -> {
            for (int i = 0; i < rows; i++) {
                int max = 0;
                for (int j = 0; j < columns; j++) {
                    // The bits of magnitudes order NaN after infinity after all else.
                    max = Math.max(max, Float.floatToRawIntBits(tile[i * BLOCK + j]) & 0x7FFF_FFFF);
                }
                float scale = scales.scale(max, Fp8Codec.max(d.format()));
                scales.store(m + i, n / BLOCK, scale);
                float factor = 1 / scale;
                for (int j = 0; j < columns; j++) {
                    float x = tile[i * BLOCK + j] * factor;
                    codes.segment().set(MatrixView.I8, codes.byteOffset(m + i, n + j),
                            Fp8Codec.encode(d.format(), x != x ? Float.NaN : x, Overflow.SATURATE));
                }
            }
        });
    }

    /** Takes a finished tile, {@code [m][128]}. */
    private interface Sink {
        void accept(float[] tile, long m, long n, int rows, int columns);
    }

    private static void forEachTile(ScaledTensor a, ScaledTensor b, Epilogue epilogue, CpuPool pool, Sink sink) {
        boolean shared = isShared(a.codes()) && isShared(a.scales()) && isShared(b.codes()) && isShared(b.scales())
                && isShared(epilogue.addend()) && isShared(epilogue.bias());
        long tileRows = Math.ceilDiv(a.rows(), (long) ROWS);
        long tileColumns = Math.ceilDiv(b.rows(), (long) BLOCK);
        (shared ? pool : ALONE).run(Math.toIntExact(tileRows * tileColumns), index -> {
            // Neighbouring tasks share columns of B, whose codes are then still in the last cache.
            long m = index % tileRows * ROWS;
            long n = index / tileRows * BLOCK;
            int rows = (int) Math.min(ROWS, a.rows() - m);
            int columns = (int) Math.min(BLOCK, b.rows() - n);
            Panels p = Panels.MINE.get();
            multiply(a, b, m, n, rows, columns, p);
            finish(epilogue, m, n, rows, columns, p.tile);
            sink.accept(p.tile, m, n, rows, columns);
        });
    }

    private static boolean isShared(@Nullable Tensor t) {
        return t == null || Tiles.isShared(t.segment());
    }

    private static void multiply(ScaledTensor a, ScaledTensor b, long m, long n, int rows, int columns, Panels p) {
        Arrays.fill(p.tile, 0, rows * BLOCK, 0);
        for (long k = 0; k < a.columns(); k += BLOCK) {
            int length = (int) Math.min(BLOCK, a.columns() - k);
            decode(a, m, k, rows, length, p.rows);
            decodeTransposed(b, n, k, columns, length, p.panel);
            scales(a, m, k, rows, p.scalesA);
            scales(b, n, k, columns, p.scalesB);
            for (int i = 0; i < rows; i++) {
                Arrays.fill(p.sums, 0);
                float[] x = p.rows[i];
                float[][] y = p.panel;
                int t = 0;
                for (; t + 3 < length; t += 4) {
                    add4(p.sums, columns, x[t], y[t], x[t + 1], y[t + 1], x[t + 2], y[t + 2], x[t + 3], y[t + 3]);
                }
                for (; t < length; t++) {
                    add1(p.sums, columns, x[t], y[t]);
                }
                promote(p.tile, i * BLOCK, p.sums, columns, p.scalesA[i], p.scalesB);
            }
        }
    }

    private static void add4(float[] sums, int columns, float x0, float[] y0, float x1, float[] y1, float x2, float[] y2,
            float x3, float[] y3) {
        for (int j = 0; j < columns; j++) {
            sums[j] = sums[j] + x0 * y0[j] + x1 * y1[j] + x2 * y2[j] + x3 * y3[j];
        }
    }

    private static void add1(float[] sums, int columns, float x, float[] y) {
        for (int j = 0; j < columns; j++) {
            sums[j] += x * y[j];
        }
    }

    /** Brings a block's sums to their scale. */
    private static void promote(float[] tile, int to, float[] sums, int columns, float scaleA, float[] scalesB) {
        for (int j = 0; j < columns; j++) {
            float scale = scaleA * scalesB[j];
            tile[to + j] += scale * sums[j];
        }
    }

    /** Decodes codes {@code [row.., k..]} to {@code target[row][k]}, without scales. */
    private static void decode(ScaledTensor x, long row, long k, int rows, int length, float[][] target) {
        float[] values = x.format() == DType.F8_E4M3 ? E4M3 : E5M2;
        MatrixView codes = MatrixView.of(x.codes());
        for (int i = 0; i < rows; i++) {
            long from = codes.byteOffset(row + i, k);
            for (int t = 0; t < length; t++) {
                target[i][t] = values[codes.segment().get(MatrixView.I8, from + t * codes.columnStride()) & 0xFF];
            }
        }
    }

    /** Decodes codes {@code [row.., k..]} to {@code target[k][row]}, without scales. */
    private static void decodeTransposed(ScaledTensor x, long row, long k, int rows, int length, float[][] target) {
        float[] values = x.format() == DType.F8_E4M3 ? E4M3 : E5M2;
        MatrixView codes = MatrixView.of(x.codes());
        if (codes.columnStride() <= codes.rowStride()) {
            for (int i = 0; i < rows; i++) {
                long from = codes.byteOffset(row + i, k);
                for (int t = 0; t < length; t++) {
                    target[t][i] = values[codes.segment().get(MatrixView.I8, from + t * codes.columnStride()) & 0xFF];
                }
            }
        } else {
            for (int t = 0; t < length; t++) {
                long from = codes.byteOffset(row, k + t);
                for (int i = 0; i < rows; i++) {
                    target[t][i] = values[codes.segment().get(MatrixView.I8, from + i * codes.rowStride()) & 0xFF];
                }
            }
        }
    }

    private static void scales(ScaledTensor x, long row, long k, int rows, float[] target) {
        ScaleGrid scales = ScaleGrid.of(x);
        long blockRows = x.scaling().granularity().blockRows();
        long blockColumn = k / x.scaling().granularity().blockColumns();
        for (int i = 0; i < rows; i++) {
            target[i] = scales.load((row + i) / blockRows, blockColumn);
        }
    }

    private static void finish(Epilogue epilogue, long m, long n, int rows, int columns, float[] tile) {
        @Nullable Tensor addend = epilogue.addend();
        if (addend != null) {
            MemorySegment c = addend.segment();
            for (int i = 0; i < rows; i++) {
                for (int j = 0; j < columns; j++) {
                    long at = (m + i) * addend.stride(0) + (n + j) * addend.stride(1);
                    tile[i * BLOCK + j] += ScalarElements.get(c, addend.dtype(), at);
                }
            }
        }
        @Nullable Tensor bias = epilogue.bias();
        if (bias != null) {
            MemorySegment v = bias.segment();
            for (int j = 0; j < columns; j++) {
                float x = ScalarElements.get(v, bias.dtype(), (n + j) * bias.stride(0));
                for (int i = 0; i < rows; i++) {
                    tile[i * BLOCK + j] += x;
                }
            }
        }
        if (epilogue.activation() == Activation.SILU) {
            for (int i = 0; i < rows * BLOCK; i++) {
                float x = tile[i];
                tile[i] = x / (1 + (float) Math.exp(-x));
            }
        }
    }
}
