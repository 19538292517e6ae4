package dev.octet.moe.traffic;

/**
 * The shortest time in which a token can be decoded if experts lie on other devices and only the links' bandwidth
 * counts ("Insights into DeepSeek-V3" &sect;2.3.2): no latency, no scales, no imbalance, and no computing that is not
 * hidden. Two micro-batches take turns, so that a layer sends and fetches twice.
 *
 * @param tokens tokens of a device in one micro-batch
 * @param targets experts of a token, shared ones included
 * @param hidden values of a token
 * @param dispatchBytes bytes of a value on its way to the experts
 * @param combineBytes bytes of a value on its way back
 * @param layers layers that do this
 * @param bytesPerSecond bandwidth of a device
 */
public record DecodeBound(int tokens, int targets, int hidden, double dispatchBytes, double combineBytes, int layers,
        double bytesPerSecond) {
    /**
     * The paper's inputs: FP8 to the experts and BF16 back, 32 tokens, 8 routed experts and a shared one, 7,000 values
     * (the model has 7,168), 61 layers, 400 Gbit/s InfiniBand. 120.96 microseconds a micro-batch, 14.757 ms a token,
     * 67.76 tokens a second.
     */
    public static final DecodeBound INFINIBAND = new DecodeBound(32, 9, 7000, 1, 2, 61, 50e9);
    /** The same over the 900 GB/s of GB200 NVL72. 6.72 microseconds, 0.820 ms, 1,220 tokens a second. */
    public static final DecodeBound NVL72 = INFINIBAND.withBytesPerSecond(900e9);

    /**
     * Checks the numbers.
     *
     * @throws IllegalArgumentException if one is not positive and finite
     */
    public DecodeBound {
        positive("tokens", tokens);
        positive("targets", targets);
        positive("hidden", hidden);
        positive("dispatchBytes", dispatchBytes);
        positive("combineBytes", combineBytes);
        positive("layers", layers);
        positive("bytesPerSecond", bytesPerSecond);
    }

    private static void positive(String name, double value) {
        if (!(value > 0) || value == Double.POSITIVE_INFINITY) {
            throw new IllegalArgumentException(name + " is " + value + ", it must be positive and finite");
        }
    }

    /**
     * {@return the same with another number of values}
     *
     * @param hidden values of a token
     */
    public DecodeBound withHidden(int hidden) {
        return new DecodeBound(tokens, targets, hidden, dispatchBytes, combineBytes, layers, bytesPerSecond);
    }

    /**
     * {@return the same over other links}
     *
     * @param bytesPerSecond bandwidth of a device
     */
    public DecodeBound withBytesPerSecond(double bytesPerSecond) {
        return new DecodeBound(tokens, targets, hidden, dispatchBytes, combineBytes, layers, bytesPerSecond);
    }

    /** {@return seconds for one micro-batch to go to the experts and back} */
    public double microBatchSeconds() {
        return (dispatchBytes + combineBytes) * tokens * targets * hidden / bytesPerSecond;
    }

    /** {@return seconds of a layer: both micro-batches} */
    public double layerSeconds() {
        return 2 * microBatchSeconds();
    }

    /** {@return seconds for one output token, all layers} */
    public double tokenSeconds() {
        return layers * layerSeconds();
    }

    /** {@return output tokens a second of one sequence} */
    public double tokensPerSecond() {
        return 1 / tokenSeconds();
    }
}
