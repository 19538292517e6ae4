package dev.octet.core.cpu;

import java.lang.foreign.MemorySegment;

/**
 * All native memory as one segment, for the inner loops of CPU kernels: an address is an offset into it.
 *
 * <p>A kernel that both loads and stores through segments passed as arguments checks each segment's bounds and scope
 * again for each access, since C2 can't prove that a store leaves them as they are; through a constant the checks fold
 * away, and an E4M3 decoding loop was seen to run four times as fast. The price is that nothing checks an address.
 * Whoever uses it checks shapes and lifetimes once, before the loop, and keeps the tensors reachable until after it.
 */
public final class NativeMemory {
    /** Offset {@code a} of this segment is the byte at native address {@code a}. */
    public static final MemorySegment ALL = everything();

    private NativeMemory() {}

    @SuppressWarnings("restricted") // the module is run with --enable-native-access
    private static MemorySegment everything() {
        return MemorySegment.NULL.reinterpret(Long.MAX_VALUE);
    }
}
