package dev.octet.mla.cpu;

/** A thread's working arrays for the projection of heads, kept from call to call. */
final class HeadWorkspace {
    private static final ThreadLocal<HeadWorkspace> MINE = ThreadLocal.withInitial(HeadWorkspace::new);

    private float[] x = new float[0];
    private float[] weights = new float[0];
    private float[] sums = new float[0];
    private float[] row = new float[0];

    private HeadWorkspace() {}

    static HeadWorkspace mine() {
        return MINE.get();
    }

    /** {@return at least that many elements for packed tokens} */
    float[] x(int count) {
        if (x.length < count) {
            x = new float[count];
        }
        return x;
    }

    /** {@return at least that many elements for packed weights} */
    float[] weights(int count) {
        if (weights.length < count) {
            weights = new float[count];
        }
        return weights;
    }

    /** {@return at least that many sums; their values are left over} */
    float[] sums(int count) {
        if (sums.length < count) {
            sums = new float[count];
        }
        return sums;
    }

    /** {@return at least that many elements of one row} */
    float[] row(int count) {
        if (row.length < count) {
            row = new float[count];
        }
        return row;
    }
}
