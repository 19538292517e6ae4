package dev.octet.mla;

/**
 * How one token lies in a {@link LatentKvCache}: a record of consecutive bytes, little-endian, with the normalised latent
 * (kvLoraRank values, 512 in all DeepSeek models) first and the shared rotary key (64 values) last.
 *
 * <pre>
 *                      latent                 scales                       rotary key
 * BF16                 512 x BF16                                          64 x BF16     1152 bytes
 * FP8, FP8_FP32_SCALE  512 x E4M3             4 x FP32, one each 128       64 x BF16      656 bytes
 * </pre>
 */
public enum CacheFormat {
    /** Latent and key in BF16. */
    BF16,
    /**
     * FlashMLA's layout, byte for byte, its scales rounded as there: {@code s = max(amax / 448, 1e-4)}, then up to a
     * power of two; {@code code = E4M3(x / s)}. A tile of zeros has the scale 2^-13.
     */
    FP8,
    /** The same layout with scales by the recipe of {@link dev.octet.fp8.Fp8#quantize}, not rounded to powers of two. */
    FP8_FP32_SCALE;

    /** How many values of the latent share a scale. */
    public static final int TILE = 128;

    /**
     * {@return the bytes of a token's record}
     *
     * @param kvLoraRank values of the latent; in the FP8 formats a multiple of 128
     * @param ropeDim values of the rotary key
     * @throws IllegalArgumentException if a dimension is negative or the format can't have it
     */
    public int bytesPerToken(int kvLoraRank, int ropeDim) {
        if (kvLoraRank < 1 || ropeDim < 0) {
            throw new IllegalArgumentException("kvLoraRank is " + kvLoraRank + " and ropeDim " + ropeDim
                    + ", they must be positive and not negative");
        }
        if (this == BF16) {
            return Math.multiplyExact(2, Math.addExact(kvLoraRank, ropeDim));
        }
        if (kvLoraRank % TILE != 0) {
            throw new IllegalArgumentException(
                    "kvLoraRank is " + kvLoraRank + ", format " + this + " takes multiples of " + TILE);
        }
        return Math.addExact(Math.addExact(kvLoraRank, kvLoraRank / TILE * 4), Math.multiplyExact(2, ropeDim));
    }
}
