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
 * What a call leaves to the garbage collector once everything is compiled: descriptors of the experts that have tokens,
 * and the permutation. Until then vectors are objects, and a call may leave megabytes; when that ends is up to the
 * compilers, which need a core to themselves, so that this is not part of every build.
 */
@Tag("exhaustive")
class ExpertMlpAllocationTest {
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    private static final int CALLS = 500;
    private static final long MOST = 32_768;
    private static final long PATIENCE_NANOS = 60_000_000_000L;

    /** One token: 64 experts, six of them for each token, and a shared one. */
    @Test
    void bytesOfACall() {
        int tokens = 1;
        SplittableRandom r = new SplittableRandom(1);
        int[][] experts = new int[tokens][6];
        for (int t = 0; t < tokens; t++) {
            int first = 11 * t;
            Arrays.setAll(experts[t], j -> (first + 9 * j) % 64);
        }
        try (ExpertWeights weights = ExpertWeights.random(256, 128, 64, 256, 1);
                Tensor x = ExpertMlpTest.tokens(r, DType.BF16, tokens, 256); Routing routing = Routings.of(experts);
                Tensor out = Tensor.allocate(DType.BF16, Shape.of(tokens, 256)); CpuPool pool = new CpuPool(1)) {
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
            assertTrue(seen <= MOST, () -> seen + " B a call, at most " + MOST);
        }
    }
}
