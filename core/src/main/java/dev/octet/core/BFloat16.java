package dev.octet.core;

/**
 * Conversions between binary32 and bfloat16, which is its upper half.
 */
public final class BFloat16 {
    private BFloat16() {}

    /**
     * Rounds to bfloat16: to nearest, ties to even; too large becomes infinite; a NaN becomes the quiet NaN
     * {@code 0x7FC0} with the sign kept.
     *
     * @param value the value
     * @return its bit pattern
     */
    public static short fromFloat(float value) {
        int bits = Float.floatToRawIntBits(value);
        if ((bits & 0x7FFF_FFFF) > 0x7F80_0000) {
            return (short) (bits >>> 16 & 0x8000 | 0x7FC0);
        }
        return (short) (bits + 0x7FFF + (bits >>> 16 & 1) >>> 16);
    }

    /**
     * {@return the value of a bit pattern, exactly}
     *
     * @param bits the pattern
     */
    public static float toFloat(short bits) {
        return Float.intBitsToFloat(bits << 16);
    }
}
