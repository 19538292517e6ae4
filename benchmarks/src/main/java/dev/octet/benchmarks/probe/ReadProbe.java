package dev.octet.benchmarks.probe;

import dev.octet.core.cpu.CpuPool;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Reads a buffer much larger than any cache, once, from end to end: the limit of a product whose weights are each used
 * once.
 */
public final class ReadProbe {
    private static final VectorSpecies<Long> SPECIES = LongVector.SPECIES_PREFERRED;
    static final long BYTES = 512L << 20;
    /** What a thread takes at a time: large against the hand-over, small against the buffer. */
    static final long CHUNK = 1L << 20;

    private final CpuPool pool;
    private final MemorySegment buffer;
    private final long[] sink = new long[(int) (BYTES / CHUNK)];

    /**
     * Allocates and touches the buffer.
     *
     * @param pool the threads that share it
     * @param arena owns the buffer
     */
    public ReadProbe(CpuPool pool, Arena arena) {
        this.pool = pool;
        buffer = arena.allocate(BYTES, 64).fill((byte) 1);
    }

    /** {@return bytes read by one {@link #run()}} */
    public static double bytes() {
        return BYTES;
    }

    /** Reads the buffer once. */
    public void run() {
        pool.run(sink.length, this::task);
    }

    private void task(int index) {
        sink[index] = sum(buffer, index * CHUNK, (index + 1) * CHUNK);
    }

    /** {@return something that depends on what was read} */
    public long result() {
        return sink[0];
    }

    private static long sum(MemorySegment s, long from, long to) {
        ByteOrder order = ByteOrder.nativeOrder();
        long step = SPECIES.vectorByteSize();
        LongVector a = LongVector.zero(SPECIES);
        LongVector b = a;
        LongVector c = a;
        LongVector d = a;
        for (long i = from; i < to; i += 4 * step) {
            a = a.add(LongVector.fromMemorySegment(SPECIES, s, i, order));
            b = b.add(LongVector.fromMemorySegment(SPECIES, s, i + step, order));
            c = c.add(LongVector.fromMemorySegment(SPECIES, s, i + 2 * step, order));
            d = d.add(LongVector.fromMemorySegment(SPECIES, s, i + 3 * step, order));
        }
        return a.add(b).add(c.add(d)).reduceLanes(VectorOperators.ADD);
    }
}
