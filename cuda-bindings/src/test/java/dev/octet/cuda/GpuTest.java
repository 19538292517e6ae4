package dev.octet.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;

/** What tests on a GPU share: the first one, the kernels, and that nothing stays open. */
@Tag("gpu")
abstract class GpuTest {
    static final KernelSource KERNELS =
            KernelSource.read("probe.cu", GpuTest.class.getResourceAsStream("probe.cu"));

    final CudaDevice gpu = first();
    private List<String> before;

    private static CudaDevice first() {
        Cuda.unavailable().ifPresent(why -> {
            System.out.println("SKIPPED: " + why);
            Assumptions.abort(why);
        });
        return Cuda.device(0);
    }

    @BeforeEach
    void open() {
        gpu.module(KERNELS); // stays, as every module that a device keeps
        gpu.currentStream();
        before = gpu.openResources();
    }

    @AfterEach
    void nothingStaysOpen() {
        gpu.synchronize();
        assertEquals(before, gpu.openResources());
    }

    /** {@return a launch of one thread for each element} */
    KernelLaunch over(String kernel, int elements) {
        return gpu.kernel(KERNELS, kernel).prepare().grid((elements + 127) / 128).block(128);
    }

    Tensor zeros(int elements) {
        return Tensor.allocate(Device.cuda(0), DType.F32, Shape.of(elements));
    }

    void needs(int major, int minor) {
        Assumptions.assumeTrue(gpu.capability().atLeast(major, minor),
                () -> "SKIPPED: needs compute capability " + major + "." + minor + ", this is " + gpu.capability());
    }
}
