package dev.octet.core;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.Test;

class TensorAccessTest {
    @Test
    void ownMemoryIsReadableAndWritable() {
        try (Arena arena = Arena.ofConfined(); Tensor owned = Tensor.allocate(DType.F32, Shape.of(2, 3))) {
            Tensor confined = Tensor.allocate(arena, DType.F32, Shape.of(2, 3));
            for (Tensor t : new Tensor[] {owned, confined, owned.transpose(), confined.slice(1, 0, 1)}) {
                assertDoesNotThrow(() -> TensorAccess.readable("x", t));
                assertDoesNotThrow(() -> TensorAccess.writable("x", t));
            }
        }
    }

    @Test
    void closedIsRefusedByName() {
        Tensor t = Tensor.allocate(DType.F32, Shape.of(2));
        t.close();
        Exception e = assertThrows(IllegalStateException.class, () -> TensorAccess.readable("weight", t));
        assertTrue(e.getMessage().startsWith("weight is closed"), e.getMessage());
        assertThrows(IllegalStateException.class, () -> TensorAccess.writable("weight", t));
    }

    @Test
    void anotherThreadsMemoryIsRefusedByName() {
        try (Arena arena = Arena.ofConfined()) {
            Tensor t = Tensor.allocate(arena, DType.F32, Shape.of(2));
            Throwable e = assertThrows(CompletionException.class,
                    () -> CompletableFuture.runAsync(() -> TensorAccess.readable("x", t)).join()).getCause();
            assertEquals(WrongThreadException.class, e.getClass());
            assertTrue(e.getMessage().startsWith("x is in the memory of a confined arena"), e.getMessage());
        }
    }

    @Test
    void readOnlyMemoryIsReadableOnly() {
        try (Arena arena = Arena.ofConfined()) {
            Tensor t = Tensor.wrap(arena.allocate(64).asReadOnly(), DType.F32, Shape.of(4, 4));
            assertDoesNotThrow(() -> TensorAccess.readable("out", t));
            Exception e = assertThrows(IllegalArgumentException.class, () -> TensorAccess.writable("out", t));
            assertEquals("out is read-only, it is to be written", e.getMessage());
        }
    }

    @Test
    void elementsInOnePlaceAreReadableOnly() {
        try (Tensor row = Tensor.allocate(DType.F32, Shape.of(1, 4))) {
            Tensor repeated = Tensor.view(row.storage(), DType.F32, Shape.of(2, 4), new long[] {0, 1}, 0);
            assertDoesNotThrow(() -> TensorAccess.readable("out", repeated));
            Exception e = assertThrows(IllegalArgumentException.class, () -> TensorAccess.writable("out", repeated));
            assertTrue(e.getMessage().contains("stride 0 in dimension 0"), e.getMessage());
            Tensor single = Tensor.view(row.storage(), DType.F32, Shape.of(1, 4), new long[] {0, 1}, 0);
            assertDoesNotThrow(() -> TensorAccess.writable("out", single));
            Tensor empty = Tensor.view(row.storage(), DType.F32, Shape.of(0, 4), new long[] {1, 0}, 0);
            assertDoesNotThrow(() -> TensorAccess.writable("out", empty));
        }
    }
}
