package dev.octet.mla;

import dev.octet.fp8.Fp8Codec;

/**
 * How one token lies in a {@link LatentKvCache}: a record of consecutive bytes, little-endian, with the normalised
 * latent (kvLoraRank values, 512 in all DeepSeek models) first and the shared rotary key (64 values) last.
 *
 * <pre>
 *                      latent                 scales                       rotary key
 * BF16                 512 x BF16                                          64 x BF16     1152 bytes
 * FP8, FP8_FP32_SCALE  512 x E4M3             4 x FP32, one each 128       64 x BF16      656 bytes
 * </pre>
 *
 * <p><b>BF16.</b> F32 is rounded to nearest, ties to even; too large becomes infinite; a NaN becomes the quiet NaN
 * {@code 0x7FC0} with its sign. BF16 is taken over bit by bit, and comes back so.
 *
 * <p><b>FP8.</b> In each tile of {@link #TILE} values {@code amax = max|x|}, {@link #scale} makes the scale of it, and
 * {@code code = E4M3(x * (1 / scale))}, with an FP32 division, rounded to nearest, ties to even, saturating. A value
 * read is {@code code * scale} in FP32. As in {@link dev.octet.fp8.Fp8#quantize}, nothing that is not finite becomes so
 * silently: a tile with a NaN has scale NaN and NaN codes; a tile with an infinity and no NaN has scale +Infinity, NaN
 * codes for the infinities and zeros, with their signs, for the other values, so that all of it is read as NaN. A NaN
 * that is written is positive, {@code 0x7F} as a code and {@code 0x7FC00000} as a scale, and so is a latent's NaN that
 * is read.
 */
public enum CacheFormat {
    /** Latent and key in BF16. */
    BF16,
    /**
     * FlashMLA's layout for DeepSeek-V3.2, byte for byte, its scales rounded as there:
     * {@code scale = max(amax / 448, 1e-4)}, then up to a power of two. A tile of zeros has the scale 2^-13.
     */
    FP8,
    /**
     * The same layout with scales by the recipe of {@link dev.octet.fp8.Fp8#quantize}, not rounded to powers of two:
     * {@code scale = max(amax, 1e-4) / 448}.
     */
    FP8_FP32_SCALE;

    /** How many values of the latent share a scale. */
    public static final int TILE = 128;

    /**
     * {@return the bytes of a token's record}
     *
     * @param kvLoraRank values of the latent; in the FP8 formats a multiple of 128
     * @param ropeDim values of the rotary key
     * @throws IllegalArgumentException if a dimension is negative or too large, or the format can't have it
     */
    public int bytesPerToken(int kvLoraRank, int ropeDim) {
        if (kvLoraRank < 1 || ropeDim < 0) {
            throw new IllegalArgumentException("kvLoraRank is " + kvLoraRank + " and ropeDim " + ropeDim
                    + ", they must be positive and not negative");
        }
        if (this != BF16 && kvLoraRank % TILE != 0) {
            throw new IllegalArgumentException(
                    "kvLoraRank is " + kvLoraRank + ", format " + this + " takes multiples of " + TILE);
        }
        long bytes = (this == BF16 ? 2L * kvLoraRank : kvLoraRank + 4L * (kvLoraRank / TILE)) + 2L * ropeDim;
        if (bytes > Integer.MAX_VALUE) {
            throw new IllegalArgumentException("kvLoraRank is " + kvLoraRank + " and ropeDim " + ropeDim
                    + ", a token would have " + bytes + " bytes, more than 2^31-1");
        }
        return (int) bytes;
    }

    /**
     * {@return where the scales begin in a record, in bytes; in BF16, which has none, the end of the latent}
     *
     * @param kvLoraRank values of the latent
     */
    public int scalesOffset(int kvLoraRank) {
        return this == BF16 ? 2 * kvLoraRank : kvLoraRank;
    }

    /**
     * {@return where the rotary key begins in a record, in bytes}
     *
     * @param kvLoraRank values of the latent
     */
    public int ropeKeyOffset(int kvLoraRank) {
        return this == BF16 ? 2 * kvLoraRank : kvLoraRank + kvLoraRank / TILE * 4;
    }

    /**
     * {@return the scale of a tile, which its codes are multiplied by; NaN and infinity stay what they are}
     *
     * @param amax the largest magnitude in the tile
     * @throws IllegalStateException if this is {@link #BF16}, which has no scales
     */
    public float scale(float amax) {
        return switch (this) {
            case FP8 -> Fp8Codec.ceilPowerOfTwo(Math.max(amax / Fp8Codec.E4M3_MAX, 1e-4f));
            case FP8_FP32_SCALE -> Math.max(amax, 1e-4f) / Fp8Codec.E4M3_MAX;
            case BF16 -> throw new IllegalStateException("format BF16 has no scales");
        };
    }
}
