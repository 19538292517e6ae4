package dev.octet.core.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

/** Whatever the system does with the request, memory holds what it held. */
class HugePagesTest {
    @Test
    void contentsStay() {
        try (Arena arena = Arena.ofConfined()) {
            for (long size : new long[] {0, 1, 4096, (2 << 20) - 1, 2 << 20, (9 << 20) + 4}) {
                MemorySegment memory = arena.allocate(size, 64);
                for (long at = 0; at + 4 <= size; at += 4) {
                    memory.set(ValueLayout.JAVA_INT, at, (int) at ^ 0x5A5A5A5A);
                }
                HugePages.advise(memory);
                HugePages.advise(memory);
                for (long at = 0; at + 4 <= size; at += 4) {
                    assertEquals((int) at ^ 0x5A5A5A5A, memory.get(ValueLayout.JAVA_INT, at), () -> size + " bytes");
                }
            }
        }
    }
}
