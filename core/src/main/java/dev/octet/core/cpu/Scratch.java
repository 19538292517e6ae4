package dev.octet.core.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Native scratch memory that one thread reuses from call to call, so that a kernel allocates nothing. Contents are
 * undefined at the start of a use, and a segment is valid until the same thread asks for the same slot again.
 */
public final class Scratch {
    /** How many independent segments a thread may hold at a time. */
    public static final int SLOTS = 8;

    /** From this size on large pages are asked for: packed operands of so many bytes are read from end to end. */
    private static final long HUGE = 4L << 20;

    private static final ThreadLocal<MemorySegment[]> SEGMENTS =
            ThreadLocal.withInitial(() -> new MemorySegment[SLOTS]);

    private Scratch() {}

    /**
     * {@return at least that many bytes of native memory, aligned to 64, owned by the calling thread}
     *
     * @param slot which of the thread's segments, from 0 to {@link #SLOTS} - 1
     * @param bytes the size needed
     */
    public static MemorySegment get(int slot, long bytes) {
        MemorySegment[] mine = SEGMENTS.get();
        MemorySegment s = mine[slot];
        if (s == null || s.byteSize() < bytes) {
            // An automatic arena: the memory goes when the thread, and with it the last reference, is gone.
            s = Arena.ofAuto().allocate(Math.max(bytes + bytes / 4, 4096), 64);
            mine[slot] = s;
            if (s.byteSize() >= HUGE) {
                HugePages.advise(s);
            }
        }
        return s;
    }
}
