package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import org.junit.jupiter.api.Test;

class WorkspaceTest {
    @Test
    void theNextCallFindsTheMemory() {
        long address;
        try (Workspace w = Workspace.take()) {
            w.tensor(DType.F32, 3 << 20);
            w.tensor(DType.F32, 1 << 20);
        }
        try (Workspace w = Workspace.take()) { // one slab for both now
            Tensor a = w.tensor(DType.F32, 3 << 20);
            Tensor b = w.tensor(DType.F32, 1 << 20);
            assertEquals(a.address() + (12 << 20), b.address());
            address = a.address();
        }
        try (Workspace w = Workspace.take(); Workspace other = Workspace.take()) {
            assertEquals(address, w.tensor(DType.F32, 7).address());
            assertNotEquals(address, other.tensor(DType.F32, 7).address());
        }
    }

    @Test
    void tensorsDoNotOverlapAndAreAligned() {
        try (Workspace w = Workspace.take()) {
            long end = 0;
            for (int i = 0; i < 100; i++) {
                Tensor t = w.tensor(DType.BF16, i, 3);
                assertEquals(0, t.address() % Tensor.ALIGNMENT);
                assertTrue(t.address() >= end);
                end = t.address() + 6 * i;
            }
            ScaledTensor s = w.activations(5, 300, ScaleFormat.F32);
            assertEquals(Shape.of(5, 3), s.scales().shape());
            assertEquals(Granularity.BLOCK_1X128, s.scaling().granularity());
            try (ScaledTensor own = ScaledTensor.allocate(DType.F8_E4M3, 5, 300, s.scaling())) {
                assertEquals(own.scales().stride(0), s.scales().stride(0));
                assertEquals(own.scales().stride(1), s.scales().stride(1));
            }
        }
    }

    @Test
    void releaseMakesRoomAcrossSlabs() {
        try (Workspace w = Workspace.take()) {
            w.tensor(DType.F32, 5);
            Workspace.Mark mark = w.mark();
            long first = w.tensor(DType.F32, 5).address();
            w.tensor(DType.F32, 8 << 20);
            w.release(mark);
            assertEquals(first, w.tensor(DType.F32, 5).address());
        }
    }

    @Test
    void aLargeOneIsFreed() {
        Tensor large;
        Tensor small;
        try (Workspace w = Workspace.take()) {
            large = w.tensor(DType.F32, 17 << 20);
        }
        assertFalse(large.isOpen());
        try (Workspace w = Workspace.take()) {
            small = w.tensor(DType.F32, 1 << 10);
        }
        assertTrue(small.isOpen());
    }
}
