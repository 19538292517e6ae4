package dev.octet.moe.traffic;

/** How a token's hidden state travels. */
public enum WireFormat {
    /** E4M3 with an FP32 scale for every 128 values, a last shorter group included: 7,392 bytes for 7,168 values. */
    FP8,
    /** Two bytes a value. */
    BF16;

    /**
     * {@return bytes of one token}
     *
     * @param hidden its values
     * @throws IllegalArgumentException if {@code hidden} is not positive
     */
    public long bytes(int hidden) {
        if (hidden < 1) {
            throw new IllegalArgumentException("hidden is " + hidden + ", it must be at least 1");
        }
        return this == BF16 ? 2L * hidden : hidden + 4L * Math.ceilDiv(hidden, 128);
    }
}
