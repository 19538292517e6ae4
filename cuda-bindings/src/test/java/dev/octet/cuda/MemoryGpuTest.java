package dev.octet.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Memory of a GPU: copies both ways, at both ends of what there is, and what happens to a process that leaves it. */
class MemoryGpuTest extends GpuTest {
    @Test
    @Tag("sanitizer")
    void copiesOfAllSizesAndOffsets() {
        Random random = new Random(11);
        for (int size : new int[] {1, 3, 64, 4095, 70_001, 1 << 20}) {
            byte[] bytes = new byte[size];
            random.nextBytes(bytes);
            try (Arena arena = Arena.ofConfined(); DeviceBuffer device = gpu.allocate(size + 13L);
                    PinnedBuffer pinned = gpu.allocatePinned(size)) {
                MemorySegment host = arena.allocate(size);
                host.copyFrom(MemorySegment.ofArray(bytes));
                device.write(13, host);
                CudaStream stream = gpu.currentStream();
                stream.copyToHost(device, 13, pinned.segment());
                stream.synchronize();
                assertArrayEquals(bytes, pinned.segment().toArray(ValueLayout.JAVA_BYTE));
                host.fill((byte) 0);
                device.read(13, host);
                assertArrayEquals(bytes, host.toArray(ValueLayout.JAVA_BYTE));
            }
        }
    }

    @Test
    @Tag("sanitizer")
    void tensorsAreZeroAndCopyOnTheDevice() {
        try (Tensor a = Tensor.allocate(Device.cuda(0), DType.F32, Shape.of(5, 7));
                Tensor b = Tensor.allocate(Device.cuda(0), DType.F32, Shape.of(5, 7));
                Tensor host = Tensor.allocate(DType.F32, Shape.of(5, 7))) {
            assertArrayEquals(new float[35], a.toFloatArray());
            float[] values = new float[35];
            for (int i = 0; i < 35; i++) {
                values[i] = i;
            }
            host.copyFrom(values);
            gpu.currentStream().copy(host, a);
            gpu.currentStream().copy(a, b);
            assertArrayEquals(values, b.toFloatArray());
        }
    }

    @Test
    void moreThanTwoThirtyTwoBytes() {
        long bytes = (1L << 32) + (1 << 20);
        if (gpu.freeMemory() < 2 * bytes) {
            return;
        }
        try (DeviceBuffer b = gpu.allocate(bytes); Arena arena = Arena.ofConfined()) {
            gpu.currentStream().fill(b, (byte) 0x3C);
            MemorySegment end = arena.allocate(8);
            b.read(bytes - 8, end);
            assertEquals(0x3C3C3C3C3C3C3C3CL, end.get(ValueLayout.JAVA_LONG, 0));
            b.write(bytes - 8, arena.allocateFrom(ValueLayout.JAVA_LONG, 5));
            b.read(bytes - 8, end);
            assertEquals(5, end.get(ValueLayout.JAVA_LONG, 0));
            b.read(0, end);
            assertEquals(0x3C3C3C3C3C3C3C3CL, end.get(ValueLayout.JAVA_LONG, 0));
        }
    }

    @Test
    void moreThanThereIs() {
        long free = gpu.freeMemory();
        assertTrue(free > 0 && free <= gpu.totalMemory());
        assertThrows(OutOfMemoryError.class, () -> gpu.allocate(gpu.totalMemory() * 2));
        gpu.allocate(1 << 20).close();
    }

    @Test
    void eventsTellTheTime() {
        try (DeviceBuffer b = gpu.allocate(1L << 28); CudaStream s = gpu.newStream(); CudaEvent start = gpu.newEvent();
                CudaEvent end = gpu.newEvent()) {
            s.record(start);
            for (int i = 0; i < 10; i++) {
                s.fill(b, (byte) i);
            }
            s.record(end);
            end.synchronize();
            assertTrue(end.isDone());
            float millis = end.millisSince(start);
            assertTrue(millis > 0.05 && millis < 1000, millis + " ms");
        }
    }

    /** A kernel that writes where it may not: the process is told, and only that process. */
    @Test
    void anIllegalAddressIsNamed() throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED", "-cp", System.getProperty("java.class.path")));
        System.getProperties().stringPropertyNames().stream().filter(n -> n.startsWith("octet.cuda."))
                .forEach(n -> command.add("-D" + n + "=" + System.getProperty(n)));
        command.add(OutOfBounds.class.getName());
        Process p = new ProcessBuilder(command).redirectErrorStream(true).start();
        String printed = new String(p.getInputStream().readAllBytes());
        assertEquals(0, p.waitFor(), printed);
        assertTrue(printed.contains("CUDA_ERROR_ILLEGAL_ADDRESS"), printed);
        gpu.allocate(16).close();
    }

    /** Runs in a process of its own, which can't use the GPU any more afterwards. */
    static final class OutOfBounds {
        public static void main(String[] args) {
            CudaDevice gpu = Cuda.device(0);
            DeviceBuffer b = gpu.allocate(4);
            gpu.kernel(KERNELS, "outOfBounds").prepare().setPointer(0, b).launch();
            try {
                gpu.synchronize();
            } catch (CudaException e) {
                System.out.println(e.getMessage());
            }
        }
    }
}
