package dev.octet.fp8.cpu;

/** A thread's working arrays for the GEMM, kept from call to call. */
final class GemmWorkspace {
    private static final ThreadLocal<GemmWorkspace> MINE = ThreadLocal.withInitial(GemmWorkspace::new);

    /** For transposing. */
    final int[][] square = new int[2][Lanes.COUNT * Lanes.COUNT];

    private final float[][] packedA = new float[2][0];
    private final float[][] scalesA = new float[2][0];
    private final boolean[][] specialRows = new boolean[2][0];
    private boolean[] specialTasks = new boolean[0];
    private float[] rangeSums = new float[0];
    private float[] decodedB = new float[0];
    private float[] sums = new float[0];
    private float[] rows = new float[0];
    private float[] scales = new float[0];

    private GemmWorkspace() {}

    static GemmWorkspace mine() {
        return MINE.get();
    }

    /** {@return at least that many elements for packed A, in the first or the second of two arrays} */
    float[] packedA(int which, int count) {
        if (packedA[which].length < count) {
            packedA[which] = new float[count];
        }
        return packedA[which];
    }

    /** {@return at least that many scales of A, in the first or the second of two arrays} */
    float[] scalesA(int which, int count) {
        if (scalesA[which].length < count) {
            scalesA[which] = new float[count];
        }
        return scalesA[which];
    }

    /** {@return two arrays of at least that many marks} */
    boolean[][] specialRows(int count) {
        if (specialRows[0].length < count) {
            specialRows[0] = new boolean[count];
            specialRows[1] = new boolean[count];
        }
        return specialRows;
    }

    /** {@return at least that many marks} */
    boolean[] specialTasks(int count) {
        if (specialTasks.length < count) {
            specialTasks = new boolean[count];
        }
        return specialTasks;
    }

    /** {@return at least that many running sums that are kept from slab to slab; their values are left over} */
    float[] rangeSums(int count) {
        if (rangeSums.length < count) {
            rangeSums = new float[count];
        }
        return rangeSums;
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
