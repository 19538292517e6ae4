package dev.octet.mla.cpu;

/**
 * What {@link FlashAttention} works on: for each sequence, groups of rows that share their keys and values. In the
 * absorbed form a sequence has one group with the queries of all heads, in the naive form one for each head.
 */
interface AttentionInput {
    int sequences();

    /** {@return groups of each sequence} */
    int groups();

    /** {@return rows of a group that belong to one query token, which are neighbours and are its next heads} */
    int rowsPerQuery();

    /** {@return query tokens of a sequence} */
    int queries(int sequence);

    /** {@return key tokens of a sequence} */
    int keys(int sequence);

    /** {@return the first query token of a sequence among those of all sequences} */
    long firstQuery(int sequence);

    /** {@return dimensions of a key} */
    int keyDims();

    /** {@return dimensions of a value} */
    int valueDims();

    /** {@return whether values are the first dimensions of keys} */
    boolean valuesAreKeys();

    /** {@return the fewest keys worth a task of their own} */
    int leastKeys();

    /** {@return where a dimension of a key lies in a chunk} */
    int place(int dim);

    /**
     * Brings the keys and values of some tokens into the second-level cache, if that is worth a pass of its own.
     *
     * @return anything, to be kept so that the loads are not optimised away
     */
    int touch(int sequence, int group, int token, int tokens);

    /**
     * Reads the key and value of a token.
     *
     * @param k where the key goes
     * @param v where the value goes; not used if values are keys
     * @param slot which key of the chunk they become
     */
    void loadKey(int sequence, int group, int token, float[] k, float[] v, int slot);
}
