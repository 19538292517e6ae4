package dev.octet.core.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

class CacheLinesTest {
    /** Native memory takes the same way and says its address itself. */
    @Test
    @EnabledOnOs(OS.LINUX)
    void findsTheFirstElementOfALine() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment line = arena.allocate(256, 64);
            for (int i = 0; i < 16; i++) {
                assertEquals((16 - i) % 16, CacheLines.firstIn(line.asSlice(4L * i, 128)), "element " + i);
            }
        }
    }

    @Test
    void arraysBeginSomewhereInALine() {
        for (int i = 0; i < 100; i++) {
            int first = CacheLines.firstIn(MemorySegment.ofArray(new float[32 + i]));
            assertTrue(first >= 0 && first < 16, () -> "element " + first);
            assertEquals(0, first % 2, "objects are aligned to 8 bytes");
        }
        assertEquals(0, CacheLines.firstIn(MemorySegment.ofArray(new int[0])));
    }
}
