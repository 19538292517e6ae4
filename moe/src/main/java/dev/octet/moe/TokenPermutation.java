package dev.octet.moe;

import java.util.Arrays;

/**
 * The order in which tokens stand before their experts: one segment of rows for each expert, in each segment the copies
 * of its tokens in ascending {@code token * topK + slot}, and then padding up to a multiple of the alignment. The
 * segments are what {@link dev.octet.fp8.Fp8#groupedGemm} multiplies.
 *
 * <p>A slot is one of a token's {@code topK} places; a slot whose expert is -1 has no position. The object holds plain
 * arrays on the Java heap, is immutable, and may be shared by threads.
 */
public final class TokenPermutation {
    private final int tokens;
    private final int topK;
    private final int alignment;
    private final long[] counts;
    private final long[] offsets;
    private final int[] expertOfPosition;
    private final int[] tokenOfPosition;
    /** {@code token * topK + slot}, or -1. */
    private final int[] flatOfPosition;
    private final int[] positionOfFlat;

    /** Where the next token of an expert goes while slots are sorted. */
    private final int[] next;

    private TokenPermutation(int tokens, int topK, int alignment, int[] flatExperts, int experts, boolean reused) {
        this.tokens = tokens;
        this.topK = topK;
        this.alignment = alignment;
        counts = new long[experts];
        offsets = new long[experts + 1];
        next = new int[experts];
        positionOfFlat = flatExperts;
        count();
        int positions = reused ? flatExperts.length : positions();
        expertOfPosition = new int[positions];
        tokenOfPosition = new int[positions];
        flatOfPosition = new int[positions];
        sort();
    }

    /** From {@link #positionOfFlat}, which has the expert of each slot. */
    private void count() {
        Arrays.fill(counts, 0);
        for (int e : positionOfFlat) {
            if (e >= 0) {
                counts[e]++;
            }
        }
        for (int e = 0; e < counts.length; e++) {
            offsets[e + 1] = offsets[e] + Math.ceilDiv(counts[e], (long) alignment) * alignment;
        }
        long positions = offsets[counts.length];
        if (positions > Integer.MAX_VALUE - 8) {
            throw new IllegalArgumentException("alignment is " + alignment + ", with " + counts.length
                    + " experts there are " + positions + " positions, too many for an array");
        }
    }

    /** Puts each slot's position in the place of its expert. */
    private void sort() {
        Arrays.fill(tokenOfPosition, -1);
        Arrays.fill(flatOfPosition, -1);
        for (int e = 0; e < counts.length; e++) {
            next[e] = (int) offsets[e];
            int taken = next[e] + (int) counts[e];
            Arrays.fill(expertOfPosition, next[e], taken, e);
            Arrays.fill(expertOfPosition, taken, (int) offsets[e + 1], -1);
        }
        for (int f = 0; f < positionOfFlat.length; f++) {
            int e = positionOfFlat[f];
            int position = e < 0 ? -1 : next[e]++;
            positionOfFlat[f] = position;
            if (position >= 0) {
                flatOfPosition[position] = f;
                tokenOfPosition[position] = f / topK;
            }
        }
    }

    /** {@return a permutation without padding that {@link #refill} may change, so that nobody else may have it} */
    static TokenPermutation reusable(Routing routing, int experts) {
        return new TokenPermutation(Math.toIntExact(routing.tokens()), routing.topK(), 1,
                routing.expertsToArray(experts), experts, true);
    }

    /** {@return whether {@link #refill} may be asked for this routing} */
    boolean fits(Routing routing, int experts) {
        return experts == counts.length && routing.tokens() == tokens && routing.topK() == topK;
    }

    /**
     * Becomes the permutation of another routing that {@link #fits}.
     *
     * @throws IllegalArgumentException if the routing holds an expert that there is not
     */
    void refill(Routing routing) {
        routing.copyExperts(counts.length, positionOfFlat);
        count();
        sort();
    }

    /**
     * Sorts the slots of all tokens by expert.
     *
     * @param routing the expert of each slot, or -1 for none; on the CPU. Its weights are not looked at
     * @param experts how many experts there are; one that nobody chose has an empty segment
     * @param alignment what each segment's rows are padded to a multiple of; 1 for no padding
     * @return the permutation, which does not refer to the routing any more
     * @throws IllegalArgumentException if a number is out of range, the routing holds an expert that there is not, or
     *     there are 2<sup>31</sup> - 8 positions or more; the message names it
     */
    public static TokenPermutation of(Routing routing, int experts, int alignment) {
        if (experts < 1) {
            throw new IllegalArgumentException("experts is " + experts + ", it must be at least 1");
        }
        if (alignment < 1) {
            throw new IllegalArgumentException("alignment is " + alignment + ", it must be at least 1");
        }
        int[] flat = routing.expertsToArray(experts);
        return new TokenPermutation(Math.toIntExact(routing.tokens()), routing.topK(), alignment, flat, experts, false);
    }

    /** {@return how many tokens there are} */
    public int tokens() {
        return tokens;
    }

    /** {@return how many slots a token has} */
    public int topK() {
        return topK;
    }

    /** {@return how many experts there are} */
    public int experts() {
        return counts.length;
    }

    /** {@return what segments are padded to a multiple of} */
    public int alignment() {
        return alignment;
    }

    /** {@return how many rows all segments have together, padding included} */
    public int positions() {
        return (int) offsets[counts.length];
    }

    /** {@return for each expert how many tokens it has, in a fresh array} */
    public long[] counts() {
        return counts.clone();
    }

    /** {@return how many tokens an expert has} */
    long count(int expert) {
        return counts[expert];
    }

    /** {@return where each expert's segment begins and, last, where the last one ends, in a fresh array} */
    public long[] offsets() {
        return offsets.clone();
    }

    /**
     * {@return where an expert's segment begins}
     *
     * @param expert 0 to {@link #experts()}, which is where the last one's ends
     */
    public int begin(int expert) {
        return (int) offsets[expert];
    }

    /**
     * {@return whose segment a position is in, or -1 for padding}
     *
     * @param position 0 to {@link #positions()} - 1
     */
    public int expertAt(int position) {
        return expertOfPosition[position];
    }

    /**
     * {@return which token stands at a position, or -1 for padding}
     *
     * @param position 0 to {@link #positions()} - 1
     */
    public int tokenAt(int position) {
        return tokenOfPosition[position];
    }

    /**
     * {@return for which of its token's slots a position is, or -1 for padding}
     *
     * @param position 0 to {@link #positions()} - 1
     */
    public int slotAt(int position) {
        int flat = flatOfPosition[position];
        return flat < 0 ? -1 : flat % topK;
    }

    /**
     * {@return where a token stands for one of its slots, or -1 if the slot has no expert}
     *
     * @param token 0 to {@link #tokens()} - 1
     * @param slot 0 to {@link #topK()} - 1
     */
    public int positionOf(int token, int slot) {
        return positionOfFlat[token * topK + slot];
    }
}
