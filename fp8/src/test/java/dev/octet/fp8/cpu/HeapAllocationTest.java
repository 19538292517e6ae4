package dev.octet.fp8.cpu;

import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.lang.management.ManagementFactory;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Operations leave about nothing to the garbage collector: descriptors, no vectors and no slices of memory.
 *
 * <p>Code on the Vector API boxes its vectors until C2 has compiled it, so what counts is how soon that is. After a few
 * hundred calls C2 gets time to finish, but few calls more: a kernel that an operation enters once in a call is not hot
 * by then, is not compiled however long one waits, and fails.
 */
class HeapAllocationTest {
    /** Fewer than the 600 entries that C2 asks for at least, tier 3's after some 200 of the interpreter's. */
    private static final int CALLS = 300;
    private static final int CALLS_PER_LOOK = 2;
    private static final int LOOKS = 120;
    private static final int MILLIS_BETWEEN = 250;
    private static final long BYTES = 1024;
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    /** On one thread, which then has all there is to see. */
    private static void assertFrugal(String what, Runnable call) {
        for (int i = 0; i < CALLS; i++) {
            call.run();
        }
        long least = Long.MAX_VALUE;
        for (int look = 0; look < LOOKS && least > BYTES; look++) {
            if (look > 0) {
                sleep();
            }
            long before = THREADS.getCurrentThreadAllocatedBytes();
            for (int i = 0; i < CALLS_PER_LOOK; i++) {
                call.run();
            }
            least = Math.min(least, (THREADS.getCurrentThreadAllocatedBytes() - before) / CALLS_PER_LOOK);
        }
        long seen = least;
        assertTrue(seen <= BYTES, () -> what + " allocates " + seen + " B a call, at most " + BYTES);
    }

    private static void sleep() {
        try {
            Thread.sleep(MILLIS_BETWEEN);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private static Scaling f32(Granularity granularity) {
        return new Scaling(granularity, ScaleFormat.F32);
    }

    private static ScaledTensor ones(long rows, long columns, Granularity granularity) {
        ScaledTensor t = ScaledTensor.allocate(DType.F8_E4M3, rows, columns, f32(granularity));
        t.codes().segment().fill((byte) 0x38);
        for (long r = 0; r < t.scales().dim(0); r++) {
            for (long c = 0; c < t.scales().dim(1); c++) {
                t.scales().segment().set(MatrixView.F32, 4 * (r * t.scales().stride(0) + c * t.scales().stride(1)), 1);
            }
        }
        return t;
    }

    /** A product, small but with enough tasks in a call for all that is entered once in a task. */
    record Product(String kind, long m, long n, long k) {}

    static Stream<Product> products() {
        return Stream.of(new Product("forward", 1, 4096, 128), new Product("forward", 3, 4096, 128),
                new Product("forward", 2, 4095, 140), new Product("forward", 16, 48, 4096),
                new Product("forward", 130, 192, 512), new Product("input gradient", 128, 384, 1024),
                new Product("weight gradient", 128, 384, 1024));
    }

    @ParameterizedTest
    @MethodSource("products")
    void product(Product p) {
        boolean weightGradient = p.kind.equals("weight gradient");
        boolean forward = p.kind.equals("forward");
        try (ScaledTensor a = weightGradient ? ones(p.k, p.m, Granularity.BLOCK_128X1)
                        : ones(p.m, p.k, Granularity.BLOCK_1X128);
                ScaledTensor b = weightGradient ? ones(p.k, p.n, Granularity.BLOCK_128X1)
                        : ones(forward ? p.n : p.k, forward ? p.k : p.n, Granularity.BLOCK_128X128);
                Tensor d = Tensor.allocate(weightGradient ? DType.F32 : DType.BF16, Shape.of(p.m, p.n));
                CpuPool pool = new CpuPool(1)) {
            ScaledTensor x = weightGradient ? a.transpose() : a;
            ScaledTensor w = forward ? b : b.transpose();
            Epilogue epilogue = weightGradient ? Epilogue.NONE.withAddend(d) : Epilogue.NONE;
            Fp8 fp8 = Fp8.on("cpu").with(pool);
            assertFrugal(p.toString(), () -> fp8.gemm(x, w, d, epilogue));
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"BLOCK_1X128", "BLOCK_128X1", "BLOCK_128X128"})
    void quantizersAndCasts(Granularity granularity) {
        try (Tensor x = Tensor.allocate(DType.BF16, Shape.of(130, 1100)); CpuPool pool = new CpuPool(1);
                ScaledTensor t = ones(130, 1100, granularity)) {
            Fp8 fp8 = Fp8.on("cpu").with(pool);
            assertFrugal("quantize " + granularity, () -> fp8.quantize(x, t));
            assertFrugal("dequantize " + granularity, () -> fp8.dequantize(t, x));
            assertFrugal("cast", () -> fp8.cast(x, t.codes(), Overflow.SATURATE));
        }
    }
}
