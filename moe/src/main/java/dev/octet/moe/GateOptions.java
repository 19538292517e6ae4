package dev.octet.moe;

import java.util.Arrays;
import java.util.BitSet;
import java.util.stream.IntStream;

/**
 * What a gate leaves out. Immutable.
 *
 * @param unavailable experts that no token may go to, for example because their device is lost
 * @param padding tokens that go nowhere: their logits are not looked at, their experts are -1 and their weights 0
 */
public record GateOptions(BitSet unavailable, BitSet padding) {
    /** All experts, all tokens. */
    public static final GateOptions NONE = new GateOptions(new BitSet(), new BitSet());

    /** Copies the sets. */
    public GateOptions {
        unavailable = (BitSet) unavailable.clone();
        padding = (BitSet) padding.clone();
    }

    /** {@return a copy of the set of experts that no token may go to} */
    @Override
    public BitSet unavailable() {
        return (BitSet) unavailable.clone();
    }

    /** {@return a copy of the set of tokens that go nowhere} */
    @Override
    public BitSet padding() {
        return (BitSet) padding.clone();
    }

    /**
     * {@return the same with other unavailable experts}
     *
     * @param experts their numbers
     * @throws IllegalArgumentException if one is negative; how many experts there are is checked against the gate
     */
    public GateOptions withUnavailable(int... experts) {
        BitSet set = new BitSet();
        for (int e : experts) {
            if (e < 0) {
                throw new IllegalArgumentException("experts has " + e + ", numbers of experts are not negative");
            }
            set.set(e);
        }
        return new GateOptions(set, padding);
    }

    /**
     * {@return the same with other padding}
     *
     * @param tokens their numbers
     */
    public GateOptions withPadding(BitSet tokens) {
        return new GateOptions(unavailable, tokens);
    }

    /** Which experts are unavailable, and that there remain enough whichever groups a token keeps. */
    void check(GateConfig config, long tokens) {
        if (unavailable.length() > config.experts()) {
            throw new IllegalArgumentException("unavailable has expert " + (unavailable.length() - 1) + ", there are "
                    + config.experts());
        }
        if (padding.length() > tokens) {
            throw new IllegalArgumentException(
                    "padding has token " + (padding.length() - 1) + ", there are " + tokens);
        }
        if (unavailable.isEmpty()) {
            return; // the configuration has made sure
        }
        int size = config.groupSize();
        int[] available = IntStream.range(0, config.groups())
                .map(g -> size - unavailable.get(g * size, (g + 1) * size).cardinality())
                .filter(n -> n > 0).sorted().toArray();
        int kept = Math.min(config.keptGroups(), available.length);
        int worst = Arrays.stream(available, 0, kept).sum();
        if (worst < config.topK()) {
            throw new IllegalArgumentException("unavailable leaves a token that keeps the " + kept
                    + " groups with the fewest experts " + worst + " of them, it needs " + config.topK());
        }
    }
}
