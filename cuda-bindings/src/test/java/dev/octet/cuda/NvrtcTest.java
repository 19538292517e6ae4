package dev.octet.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.Octet;
import java.io.ByteArrayInputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** NVRTC itself, which needs no GPU: what it makes, what it finds, what it refuses and how that is said. */
@Tag("nvrtc")
class NvrtcTest {
    private static final String TEXT = """
            #include "factor.cuh"
            extern "C" __global__ void scale(float* values, int n) {
                __shared__ float part[SIZE];
                part[threadIdx.x] = values[threadIdx.x];
                __syncthreads();
                if ((int) threadIdx.x < n) {
                    values[threadIdx.x] = FACTOR * part[threadIdx.x ^ 1];
                }
            }
            """;
    private static final KernelSource SOURCE = KernelSource.of("scale.cu", TEXT)
            .withHeader("factor.cuh", new ByteArrayInputStream("#define FACTOR 3.0f\n".getBytes()))
            .withOptions("-DSIZE=64");

    private final KernelCompiler compiler = KernelCompiler.shared();

    @BeforeAll
    static void thereIsOne() {
        assertEquals(Optional.empty(), KernelCompiler.shared().unavailable());
        System.out.println(Octet.describe().toString().lines().filter(l -> l.startsWith("cuda")).toList());
    }

    @Test
    void machineCodeForEveryGeneration() {
        for (String arch : new String[] {"sm_80", "sm_89", "sm_90a", "sm_100"}) {
            KernelCompiler.Compiled c = compiler.compile(SOURCE, arch);
            assertEquals(0x7F, c.image()[0]);
            assertEquals('E', c.image()[1]);
            KernelUsage usage = c.usage().get(0);
            assertEquals("scale", usage.kernel());
            assertEquals(256, usage.sharedBytes() % 1024, arch + ": " + usage); // newer ones keep 1 KB for themselves
            assertFalse(usage.spills());
            assertFalse(c.cached());
        }
    }

    @Test
    void theKernelsOfTheTestsOnAGpu() {
        KernelSource kernels = KernelSource.read("probe.cu", NvrtcTest.class.getResourceAsStream("probe.cu"));
        assertEquals(6, compiler.compile(kernels, "sm_80").usage().size());
        assertEquals(9, compiler.compile(kernels, "sm_90a").usage().size());
        assertEquals(9, compiler.compile(kernels, "sm_100").usage().size());
    }

    @Test
    void whatIsRefusedIsSaidInFull() {
        KernelCompileException e = assertThrows(KernelCompileException.class,
                () -> compiler.compile(KernelSource.of("bad.cu", "__global__ void k() {\n  int x = y;\n}"), "sm_90a"));
        assertTrue(e.getMessage().contains("compiling bad.cu with --gpu-architecture=sm_90a"), e.getMessage());
        assertTrue(e.log().contains("bad.cu(2): error") && e.log().contains("\"y\" is undefined"), e.log());
        assertTrue(e.getMessage().contains(e.log()));
        assertEquals("NVRTC_ERROR_COMPILATION", e.statusName());
        assertThrows(KernelCompileException.class,
                () -> compiler.compile(SOURCE.withOptions("--no-such-option"), "sm_90a"));
        assertThrows(KernelCompileException.class, () -> compiler.compile(SOURCE, "sm_12"));
        assertTrue(assertThrows(KernelCompileException.class, () -> compiler.compile(KernelSource.of("a.cu", TEXT),
                "sm_90a")).log().contains("factor.cuh"));
    }

    /** Over a driver that keeps books, and takes any machine code. */
    @Test
    void aWarmUpCompilesAndLoadsEachOnce() {
        FakeDriver driver = new FakeDriver();
        CudaDevice gpu = new CudaDevice(driver, 0);
        KernelSource other = SOURCE.withOptions("-DOTHER");
        CudaDevice.WarmUp first = gpu.warmUp(List.of(SOURCE, other, SOURCE));
        assertEquals(2, first.loaded());
        assertEquals(2, first.compiled());
        assertEquals(2, driver.open.values().stream().filter("module"::equals).count());
        CudaDevice.WarmUp again = gpu.warmUp(List.of(other, SOURCE));
        assertEquals(0, again.loaded());
        assertEquals(2, driver.open.values().stream().filter("module"::equals).count());
        assertThrows(KernelCompileException.class,
                () -> gpu.warmUp(List.of(SOURCE, KernelSource.of("bad.cu", "__global__ void k() { y; }"))));
    }

    @Test
    void hopperInstructionsNeedItsOwnTarget() {
        KernelSource wgmma = KernelSource.of("fence.cu",
                "extern \"C\" __global__ void f() { asm volatile(\"wgmma.fence.sync.aligned;\\n\"); }");
        compiler.compile(wgmma, "sm_90a");
        assertThrows(KernelCompileException.class, () -> compiler.compile(wgmma, "sm_89"));
    }

    @Test
    void severalThreadsCompileAtOnce() throws Exception {
        try (ExecutorService threads = Executors.newFixedThreadPool(4)) {
            List<Callable<String>> work = new ArrayList<>();
            for (int i = 0; i < 8; i++) {
                KernelSource s = KernelSource.of("k" + i + ".cu",
                        "extern \"C\" __global__ void k" + i + "(int* p) { *p = " + i + "; }");
                work.add(() -> compiler.compile(s, "sm_90a").usage().get(0).kernel());
            }
            int i = 0;
            for (Future<String> f : threads.invokeAll(work)) {
                assertEquals("k" + i++, f.get());
            }
        }
    }
}
