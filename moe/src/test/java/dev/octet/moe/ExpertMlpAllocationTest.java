package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * What a call leaves to the garbage collector once everything is compiled. Until then vectors are objects, and a call may
 * leave megabytes; when that ends is up to the compilers, so that calls are repeated until it does, with patience.
 */
class ExpertMlpAllocationTest {
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    private static final int CALLS = 100;
    private static final long PATIENCE_NANOS = 90_000_000_000L;
    /**
     * A call is nine operations: it quantises, expands, makes two grouped products, two SwiGLUs, a reduction and the
     * shared experts' two products. All but the quantiser keep their descriptors.
     */
    private static final long MOST = 512;

    private static void check(int hidden, int inter, int experts, int topK, int tokens) {
        int[][] ids = new int[tokens][topK];
        for (int t = 0; t < tokens; t++) {
            int first = topK * t;
            Arrays.setAll(ids[t], j -> (first + j) % experts);
        }
        try (ExpertWeights weights = ExpertWeights.random(hidden, inter, experts, inter, 1);
                Tensor x = ExpertMlpTest.tokens(new SplittableRandom(1), DType.BF16, tokens, hidden);
                Routing routing = Routings.of(ids); Tensor out = Tensor.allocate(DType.BF16, Shape.of(tokens, hidden));
                CpuPool pool = new CpuPool(1)) {
            ExpertMlp mlp = new ExpertMlp(weights, RoutingWeight.AFTER_DOWN).on("cpu").with(pool);
            long least = Long.MAX_VALUE;
            for (long begin = System.nanoTime(); least > MOST && System.nanoTime() - begin < PATIENCE_NANOS;) {
                long before = THREADS.getCurrentThreadAllocatedBytes();
                for (int i = 0; i < CALLS; i++) {
                    mlp.run(x, routing, out);
                }
                least = Math.min(least, (THREADS.getCurrentThreadAllocatedBytes() - before) / CALLS);
            }
            long seen = least;
            assertTrue(seen <= MOST, () -> tokens + " tokens: " + seen + " B a call, at most " + MOST);
        }
    }

    /** A decode step, small, so that it is soon compiled. */
    @Test
    void oneToken() {
        check(128, 128, 8, 2, 1);
    }

    /** All experts of a layer, with one token each and with some 24. */
    @Tag("exhaustive")
    @Test
    void manyExperts() {
        check(256, 128, 64, 6, 1);
        check(256, 128, 64, 6, 11);
        check(256, 128, 64, 6, 256);
    }
}
