package dev.octet.fp8;

import java.util.Objects;

/**
 * How an FP8 matrix is scaled.
 *
 * @param granularity which elements share a scale
 * @param format how scales are rounded and stored
 */
public record Scaling(Granularity granularity, ScaleFormat format) {
    /** Activations as in DeepSeek-V3 &sect;3.3.2: 1x128 along the row, FP32 scales. */
    public static final Scaling ACTIVATION = new Scaling(Granularity.BLOCK_1X128, ScaleFormat.F32);
    /** Weights as in DeepSeek-V3 &sect;3.3.2: blocks of 128x128, FP32 scales. */
    public static final Scaling WEIGHT = new Scaling(Granularity.BLOCK_128X128, ScaleFormat.F32);

    /** Checks that both are there. */
    public Scaling {
        Objects.requireNonNull(granularity, "granularity");
        Objects.requireNonNull(format, "format");
    }

    /**
     * {@return the scaling of the transposed matrix}
     *
     * @throws IllegalArgumentException if the granularity is {@link Granularity#ROW}: scales by column are not
     *     supported
     */
    public Scaling transposed() {
        return new Scaling(granularity.transposed(), format);
    }
}
