package dev.octet.fp8.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** What preparing a launch leaves to the collector, and how many launches an operation is. */
class LaunchAllocationTest {
    private static final int CALLS = 20_000;
    /** A few short-lived objects; what parameters take is many times as much. */
    private static final long BYTES = 256;

    /** Counts, and does nothing. */
    private static final class Counter implements Launcher {
        private final List<String> launched = new ArrayList<>();
        private boolean counting;
        private HopperModel.@Nullable Gpu gpu;
        private int hopper;

        @Override
        public HopperModel.@Nullable Gpu hopper() {
            return gpu;
        }

        @Override
        public void launch(HopperLaunch launch) {
            hopper++;
        }

        @Override
        public long workspace(long bytes) {
            return 1 << 20;
        }

        @Override
        public void launch(Fp8Kernel kernel, long blocks, MemorySegment parameters) {
            assertEquals(kernel.parameterBytes(), parameters.byteSize());
            if (counting) {
                launched.add(kernel + " " + blocks);
            }
        }

        @Override
        public long scratch() {
            return 4096;
        }
    }

    private static void assertFrugal(String what, Runnable call) {
        assertFrugal(what, BYTES, call);
    }

    private static void assertFrugal(String what, long most, Runnable call) {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        for (int i = 0; i < CALLS; i++) {
            call.run();
        }
        long before = threads.getCurrentThreadAllocatedBytes();
        for (int i = 0; i < CALLS; i++) {
            call.run();
        }
        long bytes = (threads.getCurrentThreadAllocatedBytes() - before) / CALLS;
        assertTrue(bytes <= most, what + " allocates " + bytes + " bytes a call");
    }

    @Test
    void launchesAllocateNextToNothing() {
        Counter counter = new Counter();
        try (Tensor x = Tensor.allocate(DType.BF16, Shape.of(65, 300));
                ScaledTensor a = ScaledTensor.allocate(DType.F8_E4M3, 65, 300, Scaling.ACTIVATION);
                ScaledTensor b = ScaledTensor.allocate(DType.F8_E4M3, 130, 300, Scaling.WEIGHT);
                Tensor d = Tensor.allocate(DType.BF16, Shape.of(65, 130))) {
            assertFrugal("quantize", () -> CudaQuantizer.quantize(counter, x, a));
            assertFrugal("dequantize", () -> CudaQuantizer.dequantize(counter, a, x));
            assertFrugal("gemm", () -> CudaGemm.gemm(counter, a, b, d, Epilogue.NONE));
            assertFrugal("cast", () -> CudaCast.cast(counter, x, a.codes(), Overflow.SATURATE));
        }
    }

    @Test
    void hopperLaunchesAllocateNothing() {
        Counter counter = new Counter();
        counter.gpu = HopperModel.Gpu.H200;
        long[] begins = {0, 20, 20};
        long[] ends = {20, 20, 64};
        try (ScaledTensor a = ScaledTensor.allocate(DType.F8_E4M3, 64, 256, Scaling.ACTIVATION);
                ScaledTensor b = ScaledTensor.allocate(DType.F8_E4M3, 256, 256, Scaling.WEIGHT);
                ScaledTensor all = ScaledTensor.allocate(DType.F8_E4M3, 768, 256, Scaling.WEIGHT);
                ScaledTensor q = ScaledTensor.allocate(DType.F8_E4M3, 64, 256, Scaling.ACTIVATION);
                Tensor d = Tensor.allocate(DType.BF16, Shape.of(64, 256))) {
            ScaledTensor w = b.transpose();
            List<ScaledTensor> groups = all.split(3);
            assertFrugal("gemm", 0, () -> CudaGemm.gemm(counter, a, b, d, Epilogue.NONE));
            assertFrugal("gemm of transposed weights", 0, () -> CudaGemm.gemm(counter, a, w, d, Epilogue.NONE));
            assertFrugal("gemm with an FP8 result", 0, () -> CudaGemm.gemm(counter, a, b, q, Epilogue.NONE));
            assertFrugal("groups", 0, () -> CudaGemm.grouped(counter, a, begins, ends, groups, d));
        }
        assertEquals(4 * 2 * CALLS, counter.hopper);
    }

    @Test
    void groupsAreOneLaunchForEvery32() {
        Counter counter = new Counter();
        counter.counting = true;
        int groups = 70;
        long[] begins = new long[groups];
        long[] ends = new long[groups];
        List<ScaledTensor> weights = new ArrayList<>();
        try (ScaledTensor all = ScaledTensor.allocate(DType.F8_E4M3, 128L * groups, 256, Scaling.WEIGHT);
                ScaledTensor a = ScaledTensor.allocate(DType.F8_E4M3, 10L * groups, 256, Scaling.ACTIVATION);
                Tensor d = Tensor.allocate(DType.BF16, Shape.of(10L * groups, 128))) {
            for (int g = 0; g < groups; g++) {
                begins[g] = 10L * g;
                ends[g] = 10L * g + (g == 3 ? 0 : 10); // a group without rows is no product
                weights.add(all.sliceRows(128L * g, 128L * g + 128));
            }
            CudaGemm.grouped(counter, a, begins, ends, weights, d);
        }
        assertEquals(List.of("GEMM_MMA_64 32", "GEMM_MMA_64 32", "GEMM_MMA_64 5"), counter.launched);
    }
}
