package dev.octet.moe.cpu;

import dev.octet.moe.ScoreFunction;

/**
 * The steps of a gate over a block of tokens, one in each lane: element {@code e} of lane {@code t} is at
 * {@code e * lanes() + t}. No value ever crosses to another lane, so a token's result depends neither on its neighbours
 * nor on how many there are.
 */
interface GateKernels {
    /** Slots that {@link #insertFew} fills. */
    int FEW = 8;

    /** {@return tokens of a block} */
    int lanes();

    /**
     * {@return the largest magnitude of values that lie side by side, as bits: those of infinity or more tell of NaN}
     */
    int largest(long address, int count);

    /**
     * Reads a block of rows that lie side by side and turns it.
     *
     * @param address of the first token's first logit
     * @param stride bytes from one token to the next
     * @param experts logits of a token
     */
    void load(long address, long stride, int experts, float[] block);

    /** Makes scores of logits, in place. */
    void scores(ScoreFunction function, float[] block, int experts);

    /**
     * Makes sortable keys of scores plus bias, and the key of the group.
     *
     * @param from first expert of the group
     * @param to the expert after its last
     * @param sum whether the group is worth the sum of its two best, or the best
     * @param group receives the group's key, from {@code groupAt}
     */
    void keys(float[] scores, float[] bias, int from, int to, int[] keys, boolean sum, int[] group, int groupAt);

    /**
     * Finds the best groups.
     *
     * @param group keys of all groups
     * @param caps receives the largest int for a group that is kept, and {@link ScoreMath#NEVER} for another
     */
    void keep(int[] group, int groups, int kept, int[] caps);

    /**
     * Inserts a group's experts in {@link #FEW} slots that are sorted already.
     *
     * @param caps what keys are cut down to, from {@code capAt}
     * @param slots keys of the slots
     * @param index experts of the slots
     */
    void insertFew(int[] keys, int from, int to, int[] caps, int capAt, int[] slots, int[] index);

    /** The same for any number of slots. */
    void insertMany(int[] keys, int from, int to, int[] caps, int capAt, int[] slots, int[] index, int count);
}
