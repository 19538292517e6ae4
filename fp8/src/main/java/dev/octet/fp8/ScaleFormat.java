package dev.octet.fp8;

import dev.octet.core.DType;

/**
 * How scales are rounded and stored. A scale is always a dequantisation multiplier: value = code &times; scale, which
 * is what checkpoints call {@code weight_scale_inv}.
 */
public enum ScaleFormat {
    /** Any FP32 number. */
    F32(DType.F32),
    /** A power of two, rounded up, stored as FP32 ({@code scale_fmt: "ue8m0"} checkpoints store them so). */
    POWER_OF_TWO(DType.F32),
    /** A power of two, rounded up, stored as an E8M0 code in one byte. */
    E8M0(DType.F8_E8M0);

    private final DType dtype;

    ScaleFormat(DType dtype) {
        this.dtype = dtype;
    }

    /** {@return the element type that scales are stored in} */
    public DType dtype() {
        return dtype;
    }

    /** {@return whether scales are powers of two} */
    public boolean isPowerOfTwo() {
        return this != F32;
    }
}
