package dev.octet.fp8.cpu;

/** A thread's working arrays for the GEMM, kept from call to call. */
final class GemmWorkspace {
    private static final ThreadLocal<GemmWorkspace> MINE = ThreadLocal.withInitial(GemmWorkspace::new);

    /** For transposing. */
    final int[][] square = new int[2][Lanes.COUNT * Lanes.COUNT];

    private float[] packedA = new float[0];
    private float[] scalesA = new float[0];
    private float[] decodedB = new float[0];
    private float[] sums = new float[0];
    private float[] rows = new float[0];
    private float[] scales = new float[0];

    private GemmWorkspace() {}

    static GemmWorkspace mine() {
        return MINE.get();
    }

    /** {@return at least that many elements for packed A} */
    float[] packedA(int count) {
        if (packedA.length < count) {
            packedA = new float[count];
        }
        return packedA;
    }

    /** {@return at least that many scales of A} */
    float[] scalesA(int count) {
        if (scalesA.length < count) {
            scalesA = new float[count];
        }
        return scalesA;
    }

    /** {@return at least that many elements for decoded B} */
    float[] decodedB(int count) {
        if (decodedB.length < count) {
            decodedB = new float[count];
        }
        return decodedB;
    }

    /** {@return at least that many running sums; their values are left over} */
    float[] sums(int count) {
        if (sums.length < count) {
            sums = new float[count];
        }
        return sums;
    }

    /** {@return at least that many elements for finished rows} */
    float[] rows(int count) {
        if (rows.length < count) {
            rows = new float[count];
        }
        return rows;
    }

    /** {@return at least that many scales} */
    float[] scales(int count) {
        if (scales.length < count) {
            scales = new float[count];
        }
        return scales;
    }
}
