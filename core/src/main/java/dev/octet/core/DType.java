package dev.octet.core;

/**
 * The element type of a {@link Tensor}. Elements are little-endian and whole bytes wide.
 */
public enum DType {
    /** IEEE 754 binary32. */
    F32(4),
    /** bfloat16: the upper half of a binary32. */
    BF16(2),
    /** IEEE 754 binary16. */
    F16(2),
    /** OCP E4M3 (FN variant): bias 7, no infinities, NaN is {@code 0x7F} and {@code 0xFF}, largest 448. */
    F8_E4M3(1),
    /** OCP E5M2: bias 15, IEEE-like with infinities, largest 57344. */
    F8_E5M2(1),
    /** OCP E8M0: an unsigned power of two, {@code 2^(code-127)}; {@code 0xFF} is NaN. */
    F8_E8M0(1),
    /** Signed 32-bit integer. */
    I32(4),
    /** Signed 64-bit integer. */
    I64(8),
    /** Unsigned 8-bit integer. */
    U8(1);

    private final int byteSize;

    DType(int byteSize) {
        this.byteSize = byteSize;
    }

    /** {@return the bytes that one element takes} */
    public int byteSize() {
        return byteSize;
    }

    /** {@return whether this is one of the two FP8 value formats, E4M3 and E5M2 (a scale format is not one)} */
    public boolean isFp8() {
        return this == F8_E4M3 || this == F8_E5M2;
    }

    /** {@return whether this is F32, BF16 or F16: a type that {@link Tensor#toFloatArray()} reads without a scale} */
    public boolean isFloat() {
        return this == F32 || this == BF16 || this == F16;
    }
}
