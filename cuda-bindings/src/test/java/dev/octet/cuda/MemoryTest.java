package dev.octet.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/** Memory, streams and events over a driver that keeps books: who owns what, how long, and what is refused. */
class MemoryTest {
    private final FakeDriver driver = new FakeDriver();
    private final CudaDevice gpu = new CudaDevice(driver, 0);

    @Test
    void whatIsOpenedIsInTheBooksUntilItIsClosed() {
        DeviceBuffer a = gpu.allocate(100);
        PinnedBuffer b = gpu.allocatePinned(50);
        CudaStream s = gpu.newStream();
        CudaEvent e = gpu.newEvent();
        assertEquals(4, gpu.openResources().size(), gpu.openResources().toString());
        assertTrue(gpu.openResources().contains("100 bytes on cuda:0"), gpu.openResources().toString());
        for (AutoCloseable c : List.of(a, b, s, e)) {
            assertDoesNotThrow(c);
            assertDoesNotThrow(c); // closing again does nothing
        }
        assertEquals(List.of(), gpu.openResources());
        assertEquals("{}", driver.open.toString(), "everything was given back to the driver");
        assertEquals(1, driver.calls.stream().filter("free"::equals).count());
    }

    private static void assertDoesNotThrow(AutoCloseable c) {
        org.junit.jupiter.api.Assertions.assertDoesNotThrow(c::close);
    }

    @Test
    void anArenaClosesWhatItWasGiven() {
        PinnedBuffer pinned;
        DeviceBuffer buffer;
        try (Arena arena = Arena.ofConfined()) {
            buffer = gpu.allocate(arena, 8);
            pinned = gpu.allocatePinned(arena, 8);
            assertTrue(buffer.isAlive());
        }
        assertFalse(buffer.isAlive());
        assertThrows(IllegalStateException.class, buffer::address);
        assertThrows(IllegalStateException.class, pinned::segment);
        assertEquals(List.of(), gpu.openResources());
        Arena closed = Arena.ofConfined();
        closed.close();
        assertThrows(IllegalStateException.class, () -> gpu.allocate(closed, 8));
        assertEquals("{}", driver.open.toString(), "memory for an arena that is closed is given back");
    }

    @Test
    void outOfMemorySaysHowMuchThereIs() {
        String message = assertThrows(OutOfMemoryError.class, () -> gpu.allocate(1L << 40)).getMessage();
        assertTrue(message.contains("1099511627776 bytes") && message.contains("1048576"), message);
        assertEquals(List.of(), gpu.openResources());
        assertThrows(IllegalArgumentException.class, () -> gpu.allocate(-1));
        try (DeviceBuffer empty = gpu.allocate(0)) {
            assertEquals(0, empty.byteSize());
            assertTrue(empty.address() != 0);
        }
    }

    @Test
    void rangesAreChecked() {
        try (Arena arena = Arena.ofConfined(); DeviceBuffer b = gpu.allocate(16)) {
            MemorySegment host = arena.allocate(8);
            b.write(8, host);
            assertThrows(IndexOutOfBoundsException.class, () -> b.write(9, host));
            assertThrows(IndexOutOfBoundsException.class, () -> b.read(-1, host));
            assertThrows(IndexOutOfBoundsException.class, () -> b.write(Long.MAX_VALUE, host));
            assertThrows(IllegalArgumentException.class, () -> b.read(0, host.asReadOnly()));
            assertThrows(IllegalArgumentException.class, () -> b.write(0, MemorySegment.ofArray(new byte[8])));
            assertThrows(UnsupportedOperationException.class, b::segment);
            CompletableFuture.runAsync(() -> assertThrows(WrongThreadException.class, () -> b.write(0, host))).join();
        }
    }

    @Test
    void closedThingsAreRefused() {
        CudaStream s = gpu.newStream();
        CudaEvent e = gpu.newEvent();
        DeviceBuffer b = gpu.allocate(4);
        s.close();
        assertTrue(assertThrows(IllegalStateException.class, () -> s.record(e)).getMessage().contains("is closed"));
        assertThrows(IllegalStateException.class, () -> s.run(() -> {}));
        b.close();
        assertThrows(IllegalStateException.class, () -> gpu.currentStream().fill(b, (byte) 0));
        e.close();
        assertThrows(IllegalStateException.class, () -> gpu.currentStream().waitFor(e));
        assertThrows(IllegalStateException.class, () -> gpu.currentStream().close());
    }

    @Test
    void aTensorOnTheGpuGoesThereAndBack() {
        try (DeviceBuffer memory = gpu.allocate(24);
                Tensor host = Tensor.of(new float[] {1, 2, 3, 4, 5, 6}, 2, 3);
                Tensor back = Tensor.allocate(DType.F32, Shape.of(2, 3))) {
            Tensor t = memory.tensor(DType.F32, 2, 3);
            assertEquals(Device.cuda(0), t.device());
            t.copyFrom(host);
            back.copyFrom(t);
            assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6}, back.toFloatArray());
            back.copyFrom(new float[6]);
            gpu.currentStream().copy(t.slice(0, 1, 2), back.slice(0, 0, 1));
            assertArrayEquals(new float[] {4, 5, 6, 0, 0, 0}, back.toFloatArray());
            assertThrows(IllegalArgumentException.class, () -> gpu.currentStream().copy(t.transpose(), back));
            assertThrows(IllegalArgumentException.class, () -> gpu.currentStream().copy(host, back));
            assertThrows(IllegalArgumentException.class, () -> memory.tensor(DType.F32, 7));
        }
        assertEquals(List.of(), gpu.openResources());
    }

    @Test
    void pinnedMemoryIsOrdinaryMemoryToJava() {
        try (PinnedBuffer p = gpu.allocatePinned(8); DeviceBuffer b = gpu.allocate(8)) {
            p.segment().set(ValueLayout.JAVA_LONG, 0, 42);
            gpu.currentStream().copyToDevice(p.segment(), b, 0);
            p.segment().set(ValueLayout.JAVA_LONG, 0, 0);
            gpu.currentStream().copyToHost(b, 0, p.segment());
            assertEquals(42, p.segment().get(ValueLayout.JAVA_LONG, 0));
        }
    }

    @Test
    void theCurrentStreamIsThatOfTheInnermostRun() {
        CudaStream main = gpu.currentStream();
        CudaDevice other = new CudaDevice(driver, 1);
        try (CudaStream a = gpu.newStream(); CudaStream b = gpu.newStream()) {
            a.run(() -> {
                assertEquals(a, gpu.currentStream());
                b.run(() -> assertEquals(b, gpu.currentStream()));
                assertEquals(a, gpu.currentStream());
                assertEquals(1, other.currentStream().gpu().index(), "another GPU is not concerned");
            });
            assertEquals(main, gpu.currentStream());
            assertThrows(ArithmeticException.class, () -> a.run(() -> {
                throw new ArithmeticException();
            }));
            assertEquals(main, gpu.currentStream());
        }
    }

    @Test
    void everyThreadGetsTheContext() {
        gpu.freeMemory();
        CompletableFuture.runAsync(() -> assertEquals(driver.freeBytes, gpu.freeMemory())).join();
        driver.setCurrent(0); // as another library of the process may
        gpu.newStream().close();
        assertEquals(1, driver.calls.stream().filter("retainContext"::equals).count());
    }

    @Test
    void aFailedCallIsNamedAndTheDeviceStaysUsable() {
        driver.failing = "fill";
        CudaException e = assertThrows(CudaException.class, () -> {
            try (DeviceBuffer b = gpu.allocate(4)) {
                gpu.currentStream().fill(b, (byte) 1);
            }
        });
        assertEquals("CUDA_ERROR_LAUNCH_FAILED", e.statusName());
        assertEquals(719, e.status());
        assertTrue(e.getMessage().contains("fill returned CUDA_ERROR_LAUNCH_FAILED (719): says"), e.getMessage());
        assertEquals(List.of(), gpu.openResources());
        try (DeviceBuffer b = gpu.allocate(4)) {
            gpu.currentStream().fill(b, (byte) 1);
        }
        driver.failing = "free";
        DeviceBuffer b = gpu.allocate(4);
        assertThrows(CudaException.class, b::close);
        assertFalse(b.isOpen(), "what could not be freed is not freed twice");
        b.close();
    }

    @Test
    void aStreamsScratchGrowsAndGoesWithIt() {
        CudaStream s = gpu.newStream();
        DeviceBuffer small = s.scratch(100);
        assertEquals(small, s.scratch(50));
        DeviceBuffer large = s.scratch(200);
        assertFalse(small.isOpen());
        assertEquals(200, large.byteSize());
        assertEquals(1, gpu.openResources().size(), "the stream stands for it");
        s.close();
        assertFalse(large.isOpen());
        assertThrows(IllegalStateException.class, () -> s.scratch(1));
        assertEquals("{}", driver.open.toString());
    }

    @Test
    void eventsTellTheTime() {
        try (CudaEvent start = gpu.newEvent(); CudaEvent end = gpu.newEvent()) {
            gpu.currentStream().record(start);
            gpu.currentStream().record(end);
            gpu.currentStream().waitFor(start);
            end.synchronize();
            assertTrue(end.isDone());
            assertEquals(1.5f, end.millisSince(start));
        }
    }
}
