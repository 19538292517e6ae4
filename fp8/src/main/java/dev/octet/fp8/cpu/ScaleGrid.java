package dev.octet.fp8.cpu;

import static dev.octet.fp8.cpu.MatrixView.F32;
import static dev.octet.fp8.cpu.MatrixView.I8;

import dev.octet.core.Tensor;
import dev.octet.fp8.Fp8Codec;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import java.lang.foreign.MemorySegment;

/**
 * The scales of a matrix in memory, and the recipe that makes them: DeepSeek-V3 section 3.3.2, with the lower bound on
 * the largest magnitude and the true divisions of DeepGEMM.
 */
record ScaleGrid(MemorySegment segment, ScaleFormat format, long rowStride, long columnStride) {
    /** The largest magnitude of a group counts as at least this, so that a group of zeros has a scale. */
    private static final float LEAST_MAX = 1e-4f;

    static ScaleGrid of(ScaledTensor matrix) {
        Tensor scales = matrix.scales();
        return new ScaleGrid(scales.segment(), matrix.scaling().format(), scales.stride(0), scales.stride(1));
    }

    /**
     * The scale of a group.
     *
     * @param maxBits the bits of its largest magnitude, which may be those of an infinity or NaN
     * @param formatMax the largest value of the format of the codes
     */
    float scale(int maxBits, float formatMax) {
        float scale = Math.max(Float.intBitsToFloat(maxBits), LEAST_MAX) / formatMax;
        return format.isPowerOfTwo() ? Fp8Codec.ceilPowerOfTwo(scale) : scale;
    }

    void store(long blockRow, long blockColumn, float scale) {
        long at = blockRow * rowStride + blockColumn * columnStride;
        if (format == ScaleFormat.E8M0) {
            segment.set(I8, at, Fp8Codec.encodeE8M0(scale));
        } else {
            segment.set(F32, 4 * at, scale != scale ? Float.NaN : scale);
        }
    }

    float load(long blockRow, long blockColumn) {
        long at = blockRow * rowStride + blockColumn * columnStride;
        return format == ScaleFormat.E8M0 ? Fp8Codec.decodeE8M0(segment.get(I8, at)) : segment.get(F32, 4 * at);
    }
}
