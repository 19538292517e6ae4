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
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        for (int i = 0; i < CALLS; i++) {
            call.run();
        }
        long before = threads.getCurrentThreadAllocatedBytes();
        for (int i = 0; i < CALLS; i++) {
            call.run();
        }
        long bytes = (threads.getCurrentThreadAllocatedBytes() - before) / CALLS;
        assertTrue(bytes <= BYTES, what + " allocates " + bytes + " bytes a call");
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
