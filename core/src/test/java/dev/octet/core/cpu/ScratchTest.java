package dev.octet.core.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class ScratchTest {
    @Test
    void memoryIsReusedPerThreadAndSlot() throws InterruptedException {
        MemorySegment first = Scratch.get(7, 1000);
        assertTrue(first.byteSize() >= 1000);
        assertEquals(0, first.address() % 64);
        assertEquals(first.address(), Scratch.get(7, 10).address());
        assertNotEquals(first.address(), Scratch.get(6, 10).address());
        MemorySegment larger = Scratch.get(7, 1 << 20);
        assertTrue(larger.byteSize() >= 1 << 20);
        assertEquals(larger.address(), Scratch.get(7, 1000).address());
        AtomicLong other = new AtomicLong();
        Thread.ofPlatform().start(() -> other.set(Scratch.get(7, 10).address())).join();
        assertNotEquals(larger.address(), other.get());
    }
}
