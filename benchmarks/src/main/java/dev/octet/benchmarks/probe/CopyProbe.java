package dev.octet.benchmarks.probe;

import dev.octet.core.cpu.CpuPool;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Copies a buffer much larger than any cache into another: the limit of an operation that reads each input byte and
 * writes each output byte once. Bytes read and bytes written both count.
 */
public final class CopyProbe {
    static final long BYTES = 256L << 20;
    static final long CHUNK = 1L << 20;

    private final CpuPool pool;
    private final MemorySegment source;
    private final MemorySegment target;

    /**
     * Allocates and touches both buffers.
     *
     * @param pool the threads that share the work
     * @param arena owns the buffers
     */
    public CopyProbe(CpuPool pool, Arena arena) {
        this.pool = pool;
        source = arena.allocate(BYTES, 64).fill((byte) 1);
        target = arena.allocate(BYTES, 64).fill((byte) 2);
    }

    /** {@return bytes read plus bytes written by one {@link #run()}} */
    public static double bytes() {
        return 2.0 * BYTES;
    }

    /** Copies the buffer once. */
    public void run() {
        pool.run((int) (BYTES / CHUNK), this::task);
    }

    private void task(int index) {
        MemorySegment.copy(source, index * CHUNK, target, index * CHUNK, CHUNK);
    }
}
