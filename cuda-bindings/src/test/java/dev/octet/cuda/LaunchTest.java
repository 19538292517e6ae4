package dev.octet.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Kernels, prepared launches and graphs over a driver that keeps books: what it is given, byte by byte. */
class LaunchTest {
    private final FakeDriver driver = new FakeDriver();
    private final CudaDevice gpu = new CudaDevice(driver, 0);
    private CudaModule module;

    @BeforeEach
    void load() {
        // a pointer, an int, a float, a long, a tensor map, as a compiler lays them out
        driver.kernels.put("mixed", new int[][] {{0, 8}, {8, 4}, {12, 4}, {16, 8}, {64, 128}});
        driver.kernels.put("one", new int[][] {{0, 4}});
        driver.kernels.put("none", new int[][] {});
        module = gpu.load("test.cu", new byte[] {1, 2, 3});
    }

    @AfterEach
    void noLeaks() {
        module.close();
        assertEquals(List.of(), gpu.openResources());
    }

    @Test
    void theDriverGetsEveryParameterInItsPlace() {
        CudaKernel kernel = module.kernel("mixed");
        assertEquals(5, kernel.parameterCount());
        try (DeviceBuffer buffer = gpu.allocate(64); CudaStream stream = gpu.newStream()) {
            Tensor tensor = buffer.tensor(DType.F32, 16).slice(0, 4, 16);
            TensorMap map = new TensorMap().encode(gpu, TensorMap.Layout.matrix(TensorMap.Element.U8, 4, 16, 16, 4, 16,
                    TensorMap.Swizzle.NONE), buffer.address());
            KernelLaunch launch = kernel.prepare().grid(7, 5, 3).block(96, 2, 1).dynamicShared(1000)
                    .setPointer(0, tensor).setInt(1, -5).setFloat(2, 0.75f).setLong(3, 1L << 40).setTensorMap(4, map);
            launch.launch(stream);
            launch.setInt(1, 6).grid(2).launch();

            FakeDriver.Launch seen = driver.launches.get(0);
            assertArrayEquals(new int[] {7, 5, 3}, seen.grid());
            assertArrayEquals(new int[] {96, 2, 1}, seen.block());
            assertEquals(1000, seen.shared());
            assertEquals(stream.handle(), seen.stream());
            assertEquals(0, seen.attributes().length);
            ByteBuffer values = ByteBuffer.wrap(seen.values()).order(ByteOrder.LITTLE_ENDIAN);
            assertEquals(192, values.capacity());
            assertEquals(buffer.address() + 16, values.getLong(0));
            assertEquals(-5, values.getInt(8));
            assertEquals(0.75f, values.getFloat(12));
            assertEquals(1L << 40, values.getLong(16));
            assertArrayEquals(driver.tensorMap, Arrays.copyOfRange(seen.values(), 64, 192));

            FakeDriver.Launch second = driver.launches.get(1);
            assertArrayEquals(new int[] {2, 1, 1}, second.grid());
            assertEquals(gpu.currentStream().handle(), second.stream());
            assertEquals(6, ByteBuffer.wrap(second.values()).order(ByteOrder.LITTLE_ENDIAN).getInt(8));
            assertEquals(-5, values.getInt(8), "the first call has its own values");
        }
    }

    @Test
    void aValueOfTheWrongSizeIsRefused() {
        KernelLaunch launch = module.kernel("mixed").prepare();
        String message = assertThrows(IllegalArgumentException.class, () -> launch.setInt(0, 1)).getMessage();
        assertTrue(message.contains("parameter 0 of kernel mixed") && message.contains("8 bytes"), message);
        assertThrows(IllegalArgumentException.class, () -> launch.setLong(1, 1));
        assertThrows(IllegalArgumentException.class, () -> launch.setStruct(4, MemorySegment.ofArray(new byte[64])));
        assertThrows(IndexOutOfBoundsException.class, () -> launch.setInt(5, 1));
        try (Tensor host = Tensor.of(new float[1], 1)) {
            assertThrows(IllegalArgumentException.class, () -> launch.setPointer(0, host));
        }
        assertTrue(assertThrows(IllegalStateException.class, launch::launch).getMessage().contains("parameter 0"));
        assertEquals(0, driver.launches.size());
    }

    @Test
    void geometryIsChecked() {
        KernelLaunch launch = module.kernel("none").prepare();
        assertThrows(IllegalArgumentException.class, () -> launch.grid(0));
        assertThrows(IllegalArgumentException.class, () -> launch.block(1, 0, 1));
        assertThrows(IllegalArgumentException.class, () -> launch.cluster(1, 1, -1));
        assertThrows(IllegalArgumentException.class, () -> launch.dynamicShared(-1));
        CudaDevice other = new CudaDevice(driver, 1);
        assertThrows(IllegalArgumentException.class, () -> launch.launch(other.currentStream()));
        assertThrows(IllegalArgumentException.class, () -> module.kernel("other"));
        assertSame(module.kernel("none"), module.kernel("none"));
    }

    @Test
    void attributesAreWrittenAsTheHeaderHasThem() {
        KernelLaunch launch = module.kernel("none").prepare().cluster(2, 1, 1).programmatic(true);
        launch.launch();
        int[] a = driver.launches.get(0).attributes();
        assertEquals(2 * 18, a.length);
        assertArrayEquals(new int[] {4, 0, 2, 1, 1, 0}, Arrays.copyOf(a, 6), "cluster dimension");
        assertArrayEquals(new int[] {6, 0, 1, 0}, Arrays.copyOfRange(a, 18, 22), "programmatic serialization");
        launch.cluster(1, 1, 1).programmatic(false).cooperative(true).launch();
        assertArrayEquals(new int[] {2, 0, 1, 0, 0, 0}, Arrays.copyOf(driver.launches.get(1).attributes(), 6));
        assertEquals(18, driver.launches.get(1).attributes().length, "what was taken back leaves nothing behind");
    }

    @Test
    void moreSharedMemoryAndLargerClustersAreAskedFor() {
        CudaKernel kernel = module.kernel("none");
        kernel.prepare().dynamicShared(48 * 1024).cluster(8, 1, 1);
        assertEquals("{}", driver.functionAttributes.toString());
        kernel.prepare().dynamicShared(200_000).cluster(4, 4, 1);
        assertEquals("{8=200000, 14=1}", driver.functionAttributes.toString());
        kernel.prepare().dynamicShared(100_000);
        assertEquals(200_000, driver.functionAttributes.get(8), "another launch still has what it asked for");
        assertThrows(CudaException.class, () -> kernel.prepare().dynamicShared(300_000));
        assertEquals(2, kernel.blocksPerMultiprocessor(128, 200_000));
        assertEquals(66, kernel.prepare().cluster(2, 1, 1).maxClusters());
    }

    @Test
    void aClosedModuleLaunchesNothing() {
        KernelLaunch launch = module.kernel("one").prepare().setInt(0, 1);
        module.close();
        assertThrows(IllegalStateException.class, launch::launch);
        assertThrows(IllegalStateException.class, () -> module.kernel("none"));
        assertEquals(0, driver.launches.size());
    }

    @Test
    void aGraphIsRecordedLaunchedAndUpdated() {
        CudaKernel one = module.kernel("one");
        KernelLaunch first = one.prepare().grid(3).setInt(0, 10);
        KernelLaunch second = module.kernel("none").prepare();
        try (CudaStream stream = gpu.newStream();
                CudaGraph graph = stream.capture(() -> {
                    assertTrue(stream.isCapturing());
                    first.launch();
                    second.launch();
                });
                CudaGraphExec executable = graph.instantiate()) {
            assertEquals(0, driver.launches.size(), "recorded, not done");
            List<CudaGraph.KernelNode> nodes = graph.kernelNodes();
            assertEquals(2, nodes.size());
            assertTrue(nodes.get(0).runs(one) && !nodes.get(1).runs(one));
            executable.launch(stream);
            executable.update(nodes.get(0), one.prepare().grid(5).setInt(0, 11));
            assertArrayEquals(new int[] {5, 1, 1}, driver.launches.get(0).grid());
            assertThrows(IllegalArgumentException.class, () -> executable.update(nodes.get(1), first));
            assertThrows(IllegalStateException.class, () -> executable.update(nodes.get(0), one.prepare()));
        }
    }

    @Test
    void workThatCantBeRecordedEndsTheRecording() {
        try (CudaStream stream = gpu.newStream()) {
            assertThrows(CudaException.class, () -> stream.capture(stream::synchronize));
            assertEquals(0, driver.capturing);
            assertThrows(ArithmeticException.class, () -> stream.capture(() -> {
                throw new ArithmeticException();
            }));
            assertEquals(0, driver.capturing);
            stream.synchronize();
        }
        assertTrue(driver.open.values().stream().noneMatch("graph"::equals), driver.open.toString());
    }

    @Test
    void aPreparedLaunchAllocatesNothing() {
        CudaStream stream = gpu.currentStream();
        KernelLaunch launch = module.kernel("one").prepare();
        driver.silent = true;
        var threads = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
        for (int i = 0; i < 20_000; i++) {
            launch.setInt(0, i).launch(stream);
        }
        long before = threads.getCurrentThreadAllocatedBytes();
        for (int i = 0; i < 10_000; i++) {
            launch.setInt(0, i).launch(stream);
        }
        driver.silent = false;
        long perLaunch = (threads.getCurrentThreadAllocatedBytes() - before) / 10_000;
        assertTrue(perLaunch < 8, perLaunch + " bytes for each launch");
    }
}
