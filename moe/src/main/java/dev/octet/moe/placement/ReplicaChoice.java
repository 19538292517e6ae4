package dev.octet.moe.placement;

/** Which replica of its expert a token goes to. The same input gives the same choice. */
public enum ReplicaChoice {
    /** {@code (rank + token * 23333) mod replicas}, whatever other tokens do. */
    HASHED,
    /** The expert's replicas in turn, in the order of tokens, from number {@code rank mod replicas} on. */
    ROUND_ROBIN
}
