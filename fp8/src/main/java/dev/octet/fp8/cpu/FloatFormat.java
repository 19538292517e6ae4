package dev.octet.fp8.cpu;

import dev.octet.core.DType;
import dev.octet.fp8.Fp8Codec;
import dev.octet.fp8.Overflow;

/**
 * The numbers by which one kernel serves E4M3 and E5M2, saturating or not. With {@code a} the bits of |x|, an FP32:
 * {@snippet lang=text :
 * c    = min(a, clamp)                          overflow ends on the right code by itself
 * e    = max(c, minNormal) & 0x7F800000         exponent field; below minNormal the step stays the subnormal one
 * t    = float(c) + float(e + magic)            the FP32 addition rounds to the code's last place, ties to even
 * code = low byte of bits(t) + (e >>> shift)
 * }
 * {@code e + magic} is 2^shift times the power of two below the value, so that the last place of {@code t} is that of
 * the code, and the lowest bits of {@code t} count such places: they are the significand with its leading one. That
 * one adds 1 to the exponent field of a normal code and is missing in a subnormal one, so {@code minNormal} must count
 * as exponent 0: the lowest bits of magic, an even number of places, subtract its exponent, modulo 256.
 *
 * @param dtype E4M3 or E5M2
 * @param overflow what the clamp stands for
 * @param shift FP32 significand bits that are dropped
 * @param minNormal bits of the smallest normal value, as FP32
 * @param clamp bits of the largest magnitude that goes into the rounding: the format's largest for saturation, else the
 *     value that the first code after it would have
 * @param nan the code of NaN
 * @param firstSpecial the first positive code that is not finite
 * @param decodeScale 2^(127 - bias): moves exponents of codes, shifted into FP32, to their place
 */
record FloatFormat(DType dtype, Overflow overflow, int shift, int minNormal, int clamp, int nan, int firstSpecial,
        float decodeScale) {
    static final FloatFormat E4M3 = new FloatFormat(DType.F8_E4M3, Overflow.SATURATE, 20,
            Float.floatToRawIntBits(0x1p-6f), Float.floatToRawIntBits(448f), 0x7F, 0x7F, 0x1p120f);
    static final FloatFormat E5M2 = new FloatFormat(DType.F8_E5M2, Overflow.SATURATE, 21,
            Float.floatToRawIntBits(0x1p-14f), Float.floatToRawIntBits(57344f), 0x7E, 0x7C, 0x1p112f);
    private static final FloatFormat E4M3_OVERFLOWING = new FloatFormat(DType.F8_E4M3, Overflow.NON_SATURATING, 20,
            Float.floatToRawIntBits(0x1p-6f), Float.floatToRawIntBits(480f), 0x7F, 0x7F, 0x1p120f);
    private static final FloatFormat E5M2_OVERFLOWING = new FloatFormat(DType.F8_E5M2, Overflow.NON_SATURATING, 21,
            Float.floatToRawIntBits(0x1p-14f), Float.floatToRawIntBits(65536f), 0x7E, 0x7C, 0x1p112f);

    static FloatFormat of(DType dtype, Overflow overflow) {
        boolean saturate = overflow == Overflow.SATURATE;
        return dtype == DType.F8_E4M3 ? saturate ? E4M3 : E4M3_OVERFLOWING : saturate ? E5M2 : E5M2_OVERFLOWING;
    }

    int magic() {
        return (shift << 23) + (-(minNormal >>> shift) & 0xFF);
    }

    /** What the first special code decodes to when its exponent field is taken for an ordinary one. */
    float special() {
        return Float.intBitsToFloat(firstSpecial << shift) * decodeScale;
    }

    float max() {
        return Fp8Codec.max(dtype);
    }
}
