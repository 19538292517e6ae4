package dev.octet.fp8.cpu;

import dev.octet.core.cpu.CacheLines;
import java.lang.foreign.MemorySegment;

/** A thread's working arrays for the GEMM, kept from call to call. */
final class GemmWorkspace {
    private static final ThreadLocal<GemmWorkspace> MINE = ThreadLocal.withInitial(GemmWorkspace::new);

    /** Packed A, of the slab that is being multiplied and of the next. */
    final Floats[] packedA = {new Floats(), new Floats()};
    /** Running sums that are kept from slab to slab. */
    final Floats rangeSums = new Floats();
    /** Running sums of a task. */
    final Floats sums = new Floats();
    /** Decoded B. */
    final Floats decodedB = new Floats();

    /** Two matrices of L x L, for transposing, and room to begin them with a cache line. */
    final int[] squares = new int[2 * Lanes.COUNT * Lanes.COUNT + Floats.ROOM];
    private final MemorySegment squaresMemory = MemorySegment.ofArray(squares);

    private final float[][] scalesA = new float[2][0];
    private final boolean[][] specialRows = new boolean[2][0];
    private boolean[] specialTasks = new boolean[0];
    private float[] rows = new float[0];
    private float[] scales = new float[0];

    private GemmWorkspace() {}

    /** An array that grows. Its values are left over from the last use. */
    static final class Floats {
        /** Elements that may lie before the first cache line. */
        private static final int ROOM = 15;

        private float[] array = new float[0];
        private MemorySegment memory = MemorySegment.ofArray(array);

        /** {@return an array of at least that many elements from {@link #begin} on} */
        float[] array(int count) {
            if (array.length < count + ROOM) {
                array = new float[count + ROOM];
                memory = MemorySegment.ofArray(array);
            }
            return array;
        }

        /**
         * {@return the element to begin with, so that no vector lies across two cache lines} To be asked once for each
         * use of the array: the answer changes when the garbage collector moves it.
         */
        int begin() {
            return CacheLines.firstIn(memory);
        }
    }

    static GemmWorkspace mine() {
        return MINE.get();
    }

    /** {@return where to begin in {@link #squares}} */
    int squaresBegin() {
        return CacheLines.firstIn(squaresMemory);
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
