package dev.octet.mla;

/** Which two values of a head turn together. */
public enum RopeLayout {
    /** Neighbours: {@code (x[2j], x[2j + 1])}. DeepSeek's own inference code, and everything in Octet. */
    INTERLEAVED,
    /** Halves: {@code (x[j], x[j + dim / 2])}. Hugging Face's code after it has de-interleaved, and most other models. */
    HALVES
}
