package dev.octet.mla.cpu;

/** A thread's working arrays for attention, kept from call to call. */
final class AttentionWorkspace {
    private static final ThreadLocal<AttentionWorkspace> MINE = ThreadLocal.withInitial(AttentionWorkspace::new);

    private final float[][] floats = new float[Floats.values().length][0];
    private final int[][] ints = new int[Ints.values().length][0];

    /** What arrays of floats are for. The first four belong to a call, the others to a task. */
    enum Floats {
        PACKED, PARTIALS, MAXIMA, WEIGHT_SUMS, KEYS, VALUES, SCORES, SUMS, ROW_MAXIMA, ROW_SUMS, ALPHA, ROW,
        OTHER_ROW
    }

    /** What arrays of ints are for. The first two belong to a call, the others to a task. */
    enum Ints {
        UNITS, PLACES, FIRST, END
    }

    private AttentionWorkspace() {}

    static AttentionWorkspace mine() {
        return MINE.get();
    }

    /** {@return at least that many floats; their values are left over} */
    float[] get(Floats use, int count) {
        float[] array = floats[use.ordinal()];
        if (array.length < count) {
            array = new float[count];
            floats[use.ordinal()] = array;
        }
        return array;
    }

    /** {@return at least that many ints; their values are left over} */
    int[] get(Ints use, int count) {
        int[] array = ints[use.ordinal()];
        if (array.length < count) {
            array = new int[count];
            ints[use.ordinal()] = array;
        }
        return array;
    }
}
