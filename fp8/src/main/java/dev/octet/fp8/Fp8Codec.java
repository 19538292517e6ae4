package dev.octet.fp8;

import dev.octet.core.DType;

/**
 * Conversions of single values between binary32 and the FP8 formats. The vector kernels give the same bits.
 *
 * <p>Casts round to nearest, ties to even, once, with gradual underflow; zeros keep their sign; NaN becomes a NaN with
 * the sign kept ({@code 0x7F} in E4M3, {@code 0x7E} in E5M2). The formats are those of the OCP 8-bit floating point
 * specification, as CUDA's {@code cuda_fp8.h} and the ml_dtypes package implement them.
 */
public final class Fp8Codec {
    /** The largest finite E4M3 value. */
    public static final float E4M3_MAX = 448f;
    /** The largest finite E5M2 value. */
    public static final float E5M2_MAX = 57344f;

    /** Halfway between 448 and what would be 480: from above it on, E4M3 overflows; it is a tie, and 448 is even. */
    private static final float E4M3_LAST = 464f;
    /** Halfway between 57344 and 65536: from it on, E5M2 overflows; it is a tie, and 57344 is odd. */
    private static final float E5M2_OVERFLOW = 61440f;

    private Fp8Codec() {}

    /**
     * {@return the largest finite value of a format}
     *
     * @param format {@link DType#F8_E4M3} or {@link DType#F8_E5M2}
     * @throws IllegalArgumentException if it is neither
     */
    public static float max(DType format) {
        return switch (format) {
            case F8_E4M3 -> E4M3_MAX;
            case F8_E5M2 -> E5M2_MAX;
            default -> throw new IllegalArgumentException("format is " + format + ", it must be F8_E4M3 or F8_E5M2");
        };
    }

    /**
     * Casts to E4M3.
     *
     * @param value any value
     * @param overflow what happens to a magnitude above 464 and to infinities
     * @return the code
     */
    public static byte encodeE4M3(float value, Overflow overflow) {
        int bits = Float.floatToRawIntBits(value);
        int sign = bits >>> 24 & 0x80;
        float abs = Math.abs(value);
        if (abs > E4M3_LAST) {
            return (byte) (sign | (overflow == Overflow.SATURATE ? 0x7E : 0x7F));
        }
        if (abs < 0x1p-6f) {
            // The sum's last place is 2^-9, the subnormal step, so the FP32 addition rounds; a carry gives 0x08, 2^-6.
            return (byte) (sign | Float.floatToRawIntBits(abs + 0x1p14f) - Float.floatToRawIntBits(0x1p14f));
        }
        if (abs != abs) {
            return (byte) (sign | 0x7F);
        }
        int magnitude = bits & 0x7FFF_FFFF;
        int rounded = magnitude + 0x7_FFFF + (magnitude >>> 20 & 1);
        return (byte) (sign | (rounded >>> 20) - (127 - 7 << 3));
    }

    /**
     * Casts to E5M2.
     *
     * @param value any value
     * @param overflow what happens to a magnitude of 61440 or more and to infinities
     * @return the code
     */
    public static byte encodeE5M2(float value, Overflow overflow) {
        int bits = Float.floatToRawIntBits(value);
        int sign = bits >>> 24 & 0x80;
        float abs = Math.abs(value);
        if (abs >= E5M2_OVERFLOW) {
            return (byte) (sign | (overflow == Overflow.SATURATE ? 0x7B : 0x7C));
        }
        if (abs < 0x1p-14f) {
            return (byte) (sign | Float.floatToRawIntBits(abs + 0x1p7f) - Float.floatToRawIntBits(0x1p7f));
        }
        if (abs != abs) {
            return (byte) (sign | 0x7E);
        }
        int magnitude = bits & 0x7FFF_FFFF;
        int rounded = magnitude + 0xF_FFFF + (magnitude >>> 21 & 1);
        return (byte) (sign | (rounded >>> 21) - (127 - 15 << 2));
    }

    /**
     * Casts to a format.
     *
     * @param format {@link DType#F8_E4M3} or {@link DType#F8_E5M2}
     * @param value any value
     * @param overflow what happens to values that are too large
     * @return the code
     */
    public static byte encode(DType format, float value, Overflow overflow) {
        return format == DType.F8_E4M3 ? encodeE4M3(value, overflow) : encodeE5M2(value, overflow);
    }

    /**
     * {@return the value of an E4M3 code, exactly}
     *
     * @param code the code
     */
    public static float decodeE4M3(byte code) {
        if ((code & 0x7F) == 0x7F) {
            return Float.intBitsToFloat((code & 0x80) << 24 | 0x7FC0_0000);
        }
        // Exponent and mantissa land in their FP32 fields 120 too low in the exponent; the product is exact.
        return Float.intBitsToFloat(code << 20 & 0x87F0_0000) * 0x1p120f;
    }

    /**
     * {@return the value of an E5M2 code, exactly}
     *
     * @param code the code
     */
    public static float decodeE5M2(byte code) {
        return Float.float16ToFloat((short) (code << 8));
    }

    /**
     * {@return the value of a code, exactly}
     *
     * @param format {@link DType#F8_E4M3} or {@link DType#F8_E5M2}
     * @param code the code
     */
    public static float decode(DType format, byte code) {
        return format == DType.F8_E4M3 ? decodeE4M3(code) : decodeE5M2(code);
    }

    /**
     * {@return the value of an E8M0 code: 2^(code-127), or NaN for 0xFF}
     *
     * @param code the code
     */
    public static float decodeE8M0(byte code) {
        int exponent = code & 0xFF;
        return exponent == 0xFF ? Float.NaN : exponent == 0 ? 0x1p-127f : Float.intBitsToFloat(exponent << 23);
    }

    /**
     * Rounds a scale up to a power of two, as DeepSeek-V3.1's {@code ue8m0} scales are.
     *
     * @param scale a scale; NaN and infinity are returned as they are
     * @return the smallest power of two from 2<sup>-126</sup> to 2<sup>127</sup> that is not below it; 2<sup>127</sup>
     *     if there is none
     */
    public static float ceilPowerOfTwo(float scale) {
        if (!(scale < Float.POSITIVE_INFINITY)) {
            return scale;
        }
        int exponent = Math.clamp(Float.floatToRawIntBits(scale) + 0x7F_FFFF >> 23, 1, 254);
        return Float.intBitsToFloat(exponent << 23);
    }

    /**
     * {@return the E8M0 code of a power of two from 2^-126 to 2^127; 0xFF (NaN) for NaN and infinity}
     *
     * @param powerOfTwo what {@link #ceilPowerOfTwo} returned
     */
    public static byte encodeE8M0(float powerOfTwo) {
        return (byte) (Float.floatToRawIntBits(powerOfTwo) >>> 23);
    }
}
