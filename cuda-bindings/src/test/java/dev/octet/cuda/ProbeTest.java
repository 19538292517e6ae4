package dev.octet.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Octet;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Whether there is a GPU, and that nothing breaks where there is none. */
class ProbeTest {
    @Test
    void withoutADriverTheReasonIsKept() {
        assumeTrue(Cuda.unavailable().isPresent(), "there is a GPU here");
        String why = Cuda.unavailable().orElseThrow();
        assertTrue(why.contains("libcuda.so.1") && why.contains("driver"), why);
        assertEquals(List.of(), Cuda.devices());
        String message = assertThrows(IllegalArgumentException.class, () -> Cuda.device(0)).getMessage();
        assertTrue(message.contains("cuda:0") && message.contains(why), message);
        String tensor = assertThrows(IllegalArgumentException.class,
                () -> Tensor.allocate(Device.cuda(0), DType.F32, Shape.of(4))).getMessage();
        assertTrue(tensor.contains(why), tensor);
        assertEquals(why, new CudaDeviceProvider().unavailable().orElseThrow());
    }

    @Test
    void theDescriptionOfTheMachineSaysIt() {
        String description = Octet.describe().toString();
        assertTrue(description.contains("cuda.device"), description);
        assertTrue(description.contains("cuda.nvrtc"), description);
    }

    @Test
    void aDriverWithDevicesIsListed() {
        FakeDriver driver = new FakeDriver();
        driver.devices = 2;
        Probe probe = Probe.of(driver);
        assertEquals(2, probe.devices().size());
        assertEquals("cuda:1, Fake, 9.0, 132 multiprocessors", probe.devices().get(1).toString());
        assertEquals("sm_90a", probe.devices().get(0).capability().arch());
        driver.devices = 0;
        String why = Probe.of(driver).reason();
        assertTrue(why != null && why.contains("no device"), why);
    }

    @Test
    void architecturesByName() {
        assertEquals("sm_80", new ComputeCapability(8, 0).arch());
        assertEquals("sm_100", ComputeCapability.of("sm_100").arch());
        assertEquals(ComputeCapability.HOPPER, ComputeCapability.of("sm_90a"));
        assertTrue(ComputeCapability.of("sm_100").atLeast(9, 0));
        assertTrue(ComputeCapability.of("sm_89").compareTo(ComputeCapability.of("sm_90a")) < 0);
        assertThrows(IllegalArgumentException.class, () -> ComputeCapability.of("90"));
    }
}
