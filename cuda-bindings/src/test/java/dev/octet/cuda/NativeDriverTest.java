package dev.octet.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Octet;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * Every call of the driver, through {@code java.lang.foreign} and once more through JavaCPP's presets, into C that was
 * compiled against NVIDIA's own header: the types of the arguments and the places of all fields are those of
 * {@code cuda.h}, or a line of the log differs.
 */
@Tag("standin")
class NativeDriverTest {
    private static StandIn library;

    @BeforeAll
    static void build() throws Exception {
        library = StandIn.build();
    }

    private final CudaDevice gpu = Cuda.device(1);

    @BeforeEach
    void forget() {
        library.takeLog();
    }

    @Test
    void properties() {
        assertEquals(2, Cuda.devices().size());
        assertEquals("Stand-in 41 of 256 bytes", gpu.name());
        assertEquals(new ComputeCapability(9, 1), gpu.capability());
        assertEquals("sm_90a", Cuda.device(0).capability().arch());
        assertEquals(132, gpu.multiprocessors());
        assertEquals(232448, gpu.sharedMemoryPerBlock());
        assertEquals(60 << 20, gpu.l2Bytes());
        for (DeviceAttribute a : DeviceAttribute.values()) {
            assertTrue(gpu.attribute(a) > 0, "the header has no " + a);
        }
        assertEquals(1980000, gpu.attribute(DeviceAttribute.CLOCK_KHZ));
        assertEquals(3201000, gpu.attribute(DeviceAttribute.MEMORY_CLOCK_KHZ));
        assertEquals(6144, gpu.attribute(DeviceAttribute.MEMORY_BUS_BITS));
        assertEquals(1024, gpu.attribute(DeviceAttribute.THREADS_PER_BLOCK));
        assertEquals(2048, gpu.attribute(DeviceAttribute.THREADS_PER_MULTIPROCESSOR));
        assertEquals(233472, gpu.attribute(DeviceAttribute.SHARED_MEMORY_PER_MULTIPROCESSOR));
        assertEquals(65536, gpu.attribute(DeviceAttribute.REGISTERS_PER_MULTIPROCESSOR));
        assertEquals((141L << 30) + 41, gpu.totalMemory());
        assertEquals(5L << 33, gpu.freeMemory());
        assertEquals(13000, gpu.driverVersion());
        gpu.synchronize();
        assertTrue(library.takeLog().contains("cuCtxSynchronize in 0xc029"));
        String description = Octet.describe().toString();
        assertTrue(description.contains("cuda:1, Stand-in 41 of 256 bytes, 9.1, 132 multiprocessors"), description);
        String binding = "presets".equals(System.getProperty("octet.cuda.binding")) ? "JavaCPP's presets"
                : "java.lang.foreign";
        assertTrue(description.contains("driver for CUDA 13.0, called through " + binding), description);
    }

    @Test
    void memoryAndStreams() {
        String main = "0x" + Long.toHexString(gpu.currentStream().handle());
        library.takeLog();
        try (Tensor host = Tensor.of(new float[] {1, 2, 3}, 3);
                Tensor t = Tensor.allocate(Device.cuda(1), DType.F32, Shape.of(3))) {
            assertEquals("cuMemAlloc 12\ncuMemsetD8Async 0 times 12 on " + main + "\ncuStreamSynchronize " + main
                    + "\n", library.takeLog());
            assertArrayEquals(new float[3], t.toFloatArray(), "new tensors are 0");
            t.copyFrom(host);
            assertArrayEquals(new float[] {1, 2, 3}, t.toFloatArray());
            library.takeLog();
            gpu.currentStream().copy(t.slice(0, 0, 2), t.slice(0, 1, 3));
            assertEquals("cuMemcpyDtoDAsync 8 on " + main + "\n", library.takeLog());
        }
        assertEquals("cuMemFree\n", library.takeLog());
        try (PinnedBuffer p = gpu.allocatePinned(64); DeviceBuffer b = gpu.allocate(64)) {
            gpu.currentStream().fill(b, (byte) 0xA5);
            gpu.currentStream().copyToHost(b, 0, p.segment());
            assertEquals((byte) 0xA5, p.segment().get(ValueLayout.JAVA_BYTE, 63));
        }
        assertEquals("cuMemHostAlloc 64 flags 1\ncuMemAlloc 64\ncuMemsetD8Async 165 times 64 on " + main
                + "\ncuMemcpyDtoHAsync 64 on " + main + "\ncuMemFree\ncuMemFreeHost\n", library.takeLog());
        assertEquals(List.of(), gpu.openResources());
    }

    @Test
    void streamsAndEvents() {
        try (CudaStream s = gpu.newStream(); CudaEvent a = gpu.newEvent(); CudaEvent b = gpu.newEvent()) {
            String stream = hex(s);
            assertEquals("cuStreamCreate flags 1\ncuEventCreate flags 0\ncuEventCreate flags 0\n",
                    library.takeLog());
            s.record(a);
            s.waitFor(b);
            assertEquals("cuEventRecord " + hex(a) + " on " + stream + "\ncuStreamWaitEvent " + stream + " for "
                    + hex(b) + " flags 0\n", library.takeLog());
            library.fail("cuStreamQuery", 600);
            assertFalse(s.isIdle());
            assertTrue(s.isIdle());
            library.fail("cuEventQuery", 600);
            assertFalse(a.isDone());
            assertTrue(a.isDone());
            library.takeLog();
            assertEquals(2.25f, b.millisSince(a));
            b.synchronize();
            assertEquals("cuEventElapsedTime from " + hex(a) + " to " + hex(b) + "\ncuEventSynchronize " + hex(b)
                    + "\n", library.takeLog());
        }
        assertEquals(3, library.takeLog().lines().filter(l -> l.matches("cu(Event|Stream)Destroy 0x5[0-9a-f]+"))
                .count());
    }

    private static String hex(Resource r) {
        return "0x" + Long.toHexString(r.handle());
    }

    @Test
    void launches() {
        try (CudaModule module = gpu.load("a.cu", "a cubin".getBytes()); DeviceBuffer b = gpu.allocate(4);
                CudaStream s = gpu.newStream()) {
            b.write(0, Arena.ofAuto().allocateFrom(ValueLayout.JAVA_INT, 99));
            CudaKernel kernel = module.kernel("kernel");
            assertTrue(library.takeLog().contains("cuModuleLoadData a cubin\n"));
            assertEquals(168, kernel.registers());
            assertEquals(24, kernel.localBytes());
            assertEquals(1024, kernel.staticSharedBytes());
            assertEquals(0x60000000300L, module.address("table"));
            assertEquals(5, kernel.parameterCount());
            library.takeLog();
            KernelLaunch launch = kernel.prepare().grid(132, 2, 3).block(384, 1, 1).dynamicShared(200_000)
                    .cluster(2, 1, 1).programmatic(true).setPointer(0, b).setInt(1, -7).setFloat(2, 0.375f)
                    .setLong(3, -(1L << 50)).setTensorMap(4, encoded());
            library.takeLog();
            launch.launch(s);
            String call = " grid 132 2 3 block 384 1 1 shared 200000 stream " + hex(s)
                    + " cluster 2 1 1 programmatic 1";
            assertEquals("cuLaunchKernelEx 0x60000000200" + call + " values 99 -7 0.375 -1125899906842624 77"
                    + " extra (nil)\n", library.takeLog());
            assertEquals(66, launch.maxClusters());
            assertEquals("cuOccupancyMaxActiveClusters 0x60000000200" + call + "\n", library.takeLog());
            launch.cooperative(true).programmatic(false).cluster(4, 4, 1).launch(s);
            String log = library.takeLog();
            assertTrue(log.startsWith("cuFuncSetAttribute 0x60000000200 NON_PORTABLE_CLUSTER_SIZE_ALLOWED 1\n"), log);
            assertTrue(log.contains(" cluster 4 4 1 cooperative 1 values"), log);
            kernel.prepare().dynamicShared(210_000);
            assertEquals("cuFuncSetAttribute 0x60000000200 MAX_DYNAMIC_SHARED_SIZE_BYTES 210000\n",
                    library.takeLog());
            assertEquals(3, kernel.blocksPerMultiprocessor(256, 1000));
            assertEquals("cuOccupancyMaxActiveBlocksPerMultiprocessor 0x60000000200 256 threads 1000 bytes\n",
                    library.takeLog());
        }
        assertTrue(library.takeLog().contains("cuModuleUnload 0x60000000100\n"));
    }

    private TensorMap encoded() {
        library.takeLog();
        TensorMap map = new TensorMap().encode(gpu, new TensorMap.Layout(TensorMap.Element.BF16,
                new long[] {96, 1L << 32, 3}, new long[] {192, 1L << 39}, new int[] {32, 64, 2}, TensorMap.Swizzle.B64,
                TensorMap.Promotion.B128, true), 0x7F00_0000_0040L);
        assertEquals("cuTensorMapEncodeTiled BFLOAT16 at 0x7f0000000040 dims 96 4294967296 3 strides 192 549755813888"
                + " box 32 64 2 steps 1 1 1 interleave 0 swizzle 64B promotion 128B outside 1 rank 3\n",
                library.takeLog());
        return map;
    }

    @Test
    void graphs() {
        try (CudaModule module = gpu.load("a.cu", "a cubin".getBytes()); CudaStream s = gpu.newStream();
                DeviceBuffer b = gpu.allocate(4)) {
            b.write(0, Arena.ofAuto().allocateFrom(ValueLayout.JAVA_INT, 5));
            CudaKernel kernel = module.kernel("kernel");
            KernelLaunch launch = kernel.prepare().setPointer(0, b).setInt(1, 1).setFloat(2, 2).setLong(3, 3)
                    .setTensorMap(4, encoded());
            library.takeLog();
            try (CudaGraph graph = s.capture(() -> {
                assertTrue(s.isCapturing());
                launch.launch();
            }); CudaGraphExec executable = graph.instantiate()) {
                String log = library.takeLog();
                assertTrue(log.startsWith("cuStreamBeginCapture " + hex(s) + " thread local\ncuStreamIsCapturing "
                        + hex(s) + "\ncuLaunchKernelEx"), log);
                assertTrue(log.endsWith("cuStreamEndCapture " + hex(s)
                        + "\ncuGraphInstantiate 0x70000000100 flags 0\n"), log);
                List<CudaGraph.KernelNode> nodes = graph.kernelNodes();
                assertEquals(2, nodes.size(), "a copy is no kernel");
                assertTrue(nodes.get(0).runs(kernel));
                assertFalse(nodes.get(1).runs(kernel));
                library.takeLog();
                executable.launch(s);
                executable.update(nodes.get(0), launch.grid(9, 8, 7).block(6, 5, 4).dynamicShared(123).setInt(1, 44));
                assertEquals("cuGraphLaunch 0x70000000200 on " + hex(s)
                        + "\ncuGraphExecKernelNodeSetParams 0x70000000200 node 0x70000001000 function 0x60000000200"
                        + " grid 9 8 7 block 6 5 4 shared 123 values 5 44 2 3 77 extra (nil) kernel (nil)\n",
                        library.takeLog());
            }
            assertEquals("cuGraphExecDestroy 0x70000000200\ncuGraphDestroy 0x70000000100\n", library.takeLog());
        }
    }

    @Test
    void statusesBecomeExceptions() {
        CudaStream s = gpu.currentStream();
        library.fail("cuStreamSynchronize", 700);
        CudaException e = assertThrows(CudaException.class, s::synchronize);
        assertEquals("cuStreamSynchronize returned CUDA_ERROR_ILLEGAL_ADDRESS (700): an illegal memory access was"
                + " encountered", e.getMessage());
        assertEquals(700, e.status());
        library.fail("cuStreamSynchronize", 12345);
        assertEquals(12345, assertThrows(CudaException.class, s::synchronize).status());
        library.fail("cuMemAlloc", 2);
        assertThrows(OutOfMemoryError.class, () -> gpu.allocate(16));
        library.fail("cuLaunchKernelEx", 1);
        try (CudaModule module = gpu.load("a.cu", "a cubin".getBytes()); DeviceBuffer b = gpu.allocate(4)) {
            KernelLaunch launch = module.kernel("kernel").prepare().setPointer(0, b).setInt(1, 1).setFloat(2, 2)
                    .setLong(3, 3).setTensorMap(4, encoded());
            assertEquals("CUDA_ERROR_INVALID_VALUE", assertThrows(CudaException.class, launch::launch).statusName());
            launch.launch();
        }
    }
}
