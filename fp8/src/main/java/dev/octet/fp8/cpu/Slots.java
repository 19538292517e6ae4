package dev.octet.fp8.cpu;

/** Which of a thread's scratch segments the casts and quantisers use; the other ones are the GEMM's. */
final class Slots {
    static final int ROWS = 1;
    static final int SORTED_SCALES = 2;
    static final int FLOATS = 3;
    static final int CODES = 4;
    static final int COLUMNS = 5;
    static final int SOURCE_CODES = 6;
    static final int SOURCE_SCALES = 7;

    private Slots() {}
}
