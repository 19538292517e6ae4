package dev.octet.mla;

/**
 * How the values of a cached vector are stored: so many bits each and, where they are quantised, a scale for each group
 * of neighbours. A vector takes whole bytes.
 *
 * @param bits bits of a value, 1 to 64
 * @param group how many neighbours share a scale; 0 if there are none
 * @param scaleBits bits that go with each group, a zero point included; 0 if there are no groups
 */
public record KvFormat(int bits, int group, int scaleBits) {
    /** Two bytes a value, in BF16 or FP16. */
    public static final KvFormat BF16 = new KvFormat(16, 0, 0);
    /** E4M3 with an FP32 scale for every 128 values. */
    public static final KvFormat FP8 = new KvFormat(8, 128, 32);
    /** E4M3 or E5M2 under one scale for a whole tensor, which counts for nothing. */
    public static final KvFormat FP8_TENSOR = new KvFormat(8, 0, 0);
    /** Four bits with an FP16 scale and an FP16 zero point for every 32 values. */
    public static final KvFormat INT4 = new KvFormat(4, 32, 32);

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if the bits are out of range, or there are groups without scales or scales
     *     without groups; the message names it
     */
    public KvFormat {
        if (bits < 1 || bits > 64) {
            throw new IllegalArgumentException("bits is " + bits + ", a value has 1 to 64");
        }
        if (group < 0 || scaleBits < 0 || (group == 0) != (scaleBits == 0)) {
            throw new IllegalArgumentException("group is " + group + " and scaleBits " + scaleBits
                    + ", they must be both positive, or both 0 for none");
        }
    }

    /**
     * {@return the format of keys and values of heads that goes with a format of latents}
     *
     * @param format that of latents
     */
    public static KvFormat of(CacheFormat format) {
        return format == CacheFormat.BF16 ? BF16 : FP8;
    }

    /**
     * {@return bytes of a vector, its scales included}
     *
     * @param values how many it has; not negative
     * @throws IllegalArgumentException if the number is negative or the bytes are more than 2<sup>63</sup>-1
     */
    public long bytes(long values) {
        if (values < 0) {
            throw new IllegalArgumentException("values is " + values + ", it can't be negative");
        }
        try {
            long all = Math.multiplyExact(values, bits);
            if (group > 0) {
                all = Math.addExact(all, Math.multiplyExact(Math.ceilDiv(values, group), (long) scaleBits));
            }
            return Math.ceilDiv(all, 8);
        } catch (ArithmeticException e) {
            throw new IllegalArgumentException("values is " + values + ", which takes more than 2^63-1 bits", e);
        }
    }
}
