package dev.octet.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Launches on a GPU: what a kernel is given, in which order kernels run, and what an error leaves behind. */
@Tag("sanitizer")
class LaunchGpuTest extends GpuTest {
    @Test
    void everyParameterArrives() {
        int n = 1000;
        KernelLaunch launch = over("everyParameter", n + 128);
        assertEquals(6, launch.kernel().parameterCount());
        try (Tensor out = zeros(n + 128); Arena arena = Arena.ofConfined()) {
            MemorySegment map = arena.allocate(128);
            for (int i = 0; i < 128; i++) {
                map.set(ValueLayout.JAVA_BYTE, i, (byte) (i - 64));
            }
            launch.setPointer(0, out).setInt(1, n).setFloat(2, 0.5f).setLong(3, (1L << 40) * 1000 + 123)
                    .setStruct(4, arena.allocateFrom(ValueLayout.JAVA_SHORT, (short) -7)).setStruct(5, map).launch();
            float[] seen = out.toFloatArray();
            for (int i = 0; i < n; i++) {
                assertEquals(i * 0.5f - 7 + 123, seen[i]);
            }
            for (int i = 0; i < 128; i++) {
                assertEquals(i - 64, seen[n + i]);
            }
        }
    }

    @Test
    void launchesOfOneStreamFollowEachOther() {
        int n = 1 << 16;
        try (Tensor values = zeros(n); CudaStream stream = gpu.newStream()) {
            KernelLaunch addOne = over("addOne", n).setPointer(0, values).setInt(1, n);
            KernelLaunch times = over("times", n).setPointer(0, values).setInt(1, n).setFloat(2, 2);
            for (int i = 0; i < 20; i++) {
                addOne.launch(stream);
                times.launch(stream);
            }
            stream.synchronize();
            float expected = 0;
            for (int i = 0; i < 20; i++) {
                expected = (expected + 1) * 2;
            }
            float[] all = new float[n];
            Arrays.fill(all, expected);
            assertArrayEquals(all, values.toFloatArray());
        }
    }

    @Test
    void anEventOrdersTwoStreams() {
        int n = 1 << 16;
        try (Tensor values = zeros(n); CudaStream a = gpu.newStream(); CudaStream b = gpu.newStream();
                CudaEvent event = gpu.newEvent()) {
            KernelLaunch addOne = over("addOne", n).setPointer(0, values).setInt(1, n);
            for (int i = 0; i < 50; i++) {
                addOne.launch(a);
                a.record(event);
                b.waitFor(event);
                addOne.launch(b);
                b.record(event);
                a.waitFor(event);
            }
            a.synchronize();
            b.synchronize();
            float[] all = new float[n];
            Arrays.fill(all, 100);
            assertArrayEquals(all, values.toFloatArray());
        }
    }

    @Test
    void moreThan48KbOfSharedMemory() {
        int n = Math.min(gpu.sharedMemoryPerBlock() / 4, 40_000);
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = i;
        }
        try (Tensor host = Tensor.of(values, n); Tensor t = host.to(Device.cuda(0))) {
            gpu.kernel(KERNELS, "reverse").prepare().block(256).dynamicShared(4 * n).setPointer(0, t).setInt(1, n)
                    .launch();
            float[] seen = t.toFloatArray();
            for (int i = 0; i < n; i++) {
                assertEquals(n - 1 - i, seen[i]);
            }
        }
        KernelLaunch launch = gpu.kernel(KERNELS, "reverse").prepare();
        assertThrows(CudaException.class, () -> launch.dynamicShared(1 << 20));
    }

    @Test
    void aRefusedLaunchLeavesTheDeviceUsable() {
        try (Tensor values = zeros(4)) {
            KernelLaunch tooManyThreads = gpu.kernel(KERNELS, "addOne").prepare().block(4096).setPointer(0, values)
                    .setInt(1, 4);
            CudaException e = assertThrows(CudaException.class, tooManyThreads::launch);
            assertEquals("CUDA_ERROR_INVALID_VALUE", e.statusName());
            over("addOne", 4).setPointer(0, values).setInt(1, 4).launch();
            assertArrayEquals(new float[] {1, 1, 1, 1}, values.toFloatArray());
        }
        assertThrows(IllegalArgumentException.class, () -> gpu.kernel(KERNELS, "missing"));
    }

    @Test
    void aVariableOfAModule() {
        long table = gpu.module(KERNELS).address("table");
        try (Tensor out = zeros(3)) {
            gpu.kernel(KERNELS, "addOne").prepare().block(3).setLong(0, table).setInt(1, 3).launch();
            gpu.kernel(KERNELS, "times").prepare().block(3).setLong(0, table).setInt(1, 3).setFloat(2, 1).launch();
            gpu.kernel(KERNELS, "readTable").prepare().block(3).setPointer(0, out).launch();
            float[] seen = out.toFloatArray();
            assertEquals(seen[0] + 1, seen[1]);
            assertEquals(seen[0] + 2, seen[2]);
            assertTrue(seen[0] >= 8, "7 and one more for each run of this test");
        }
        assertThrows(CudaException.class, () -> gpu.module(KERNELS).address("missing"));
    }

    @Test
    void whatAKernelTakes() {
        CudaKernel reverse = gpu.kernel(KERNELS, "reverse");
        assertTrue(reverse.registers() > 0 && reverse.registers() < 64);
        assertEquals(0, reverse.localBytes());
        assertTrue(reverse.blocksPerMultiprocessor(128, 0) >= 8);
    }

    @Test
    void clusters() {
        needs(9, 0);
        try (Tensor out = Tensor.allocate(Device.cuda(0), DType.F32, Shape.of(16))) {
            KernelLaunch launch = gpu.kernel(KERNELS, "clusterRank").prepare().grid(8).block(32).cluster(4, 1, 1)
                    .setPointer(0, out);
            assertTrue(launch.maxClusters() >= 8);
            launch.launch();
            try (Tensor host = out.to(Device.CPU)) {
                int[] seen = host.segment().toArray(ValueLayout.JAVA_INT);
                for (int block = 0; block < 8; block++) {
                    assertEquals(block % 4, seen[2 * block]);
                    assertEquals(4, seen[2 * block + 1]);
                }
            }
            KernelLaunch odd = gpu.kernel(KERNELS, "clusterRank").prepare().grid(6).block(32).cluster(4, 1, 1)
                    .setPointer(0, out);
            assertThrows(CudaException.class, odd::launch);
        }
    }

    @Test
    void programmaticDependentLaunch() {
        needs(9, 0);
        int n = 1 << 18;
        try (Tensor values = zeros(n)) {
            KernelLaunch launch = over("addOneDependent", n).setPointer(0, values).setInt(1, n).programmatic(true);
            for (int i = 0; i < 100; i++) {
                launch.launch();
            }
            float[] all = new float[n];
            Arrays.fill(all, 100);
            assertArrayEquals(all, values.toFloatArray());
        }
    }
}
