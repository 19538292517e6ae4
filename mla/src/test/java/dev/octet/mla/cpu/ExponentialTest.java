package dev.octet.mla.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.cpu.CpuConfig;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The exponential of both sets of kernels, through the operation that has it, against {@link Math#pow} in FP64: the
 * bound of attention counts on 2 ulp for each, the module's page promises 1.5.
 */
@Tag("backend")
class ExponentialTest {
    private static final double ULPS = 1.5;
    /** Exponents that are tried between two powers of two of the result. */
    private static final int STEPS = 1 << 13;

    static Stream<AttentionKernels> kernels() {
        return CpuConfig.vectorBits() == 0 ? Stream.of(ScalarAttentionKernels.KERNELS)
                : Stream.of(VectorAttentionKernels.KERNELS, ScalarAttentionKernels.KERNELS);
    }

    /** One chunk of scores, the same number of keys for each row of a panel; key 0 has the largest score, 0. */
    private static final class Panel {
        private final AttentionKernels kernels;
        private final int rows;
        private final float[] s;
        private final float[] max;
        private final float[] sum;
        private final float[] alpha;

        Panel(AttentionKernels kernels) {
            this.kernels = kernels;
            rows = kernels.panel();
            s = new float[(AttentionKernels.CHUNK + 1) * rows];
            max = new float[rows];
            sum = new float[rows];
            alpha = new float[rows];
        }

        int room() {
            return (AttentionKernels.CHUNK - 1) * rows;
        }

        /** Turns scores into weights, in place. */
        void weights(float[] x, int count, float factor) {
            Arrays.fill(s, 0);
            System.arraycopy(x, 0, s, rows, count);
            Arrays.fill(max, Float.NEGATIVE_INFINITY);
            Arrays.fill(sum, 0);
            kernels.weights(s, rows, AttentionKernels.CHUNK, factor, max, sum, alpha, 0);
            for (int r = 0; r < rows; r++) {
                assertEquals(1, s[r], "2^0");
                assertEquals(0, max[r]);
            }
            System.arraycopy(s, rows, x, 0, count);
        }
    }

    @ParameterizedTest
    @MethodSource("kernels")
    void aPowerOfTwoIsWithinItsUlps(AttentionKernels kernels) {
        Panel panel = new Panel(kernels);
        float[] x = new float[panel.room()];
        float[] y = new float[x.length];
        double worst = 0;
        // Each binade down to the least weight that is not 0; and close to 0, where exponents are as fine as they get.
        long all = 126L * STEPS;
        for (long from = 0; from < all; from += x.length) {
            int count = (int) Math.min(x.length, all - from);
            for (int i = 0; i < count; i++) {
                x[i] = (float) (-(from + i) / (double) STEPS - (from + i) % 7 * 1e-5);
                x[i] = Math.max(x[i], -126);
                y[i] = x[i];
            }
            panel.weights(y, count, 1);
            worst = Math.max(worst, worst(x, y, count));
        }
        for (int i = 0; i < x.length; i++) {
            x[i] = -(float) Math.scalb(1 + i % 97 / 97.0, -i % 40);
            y[i] = x[i];
        }
        panel.weights(y, x.length, 1);
        worst = Math.max(worst, worst(x, y, x.length));
        assertTrue(worst <= ULPS, "off by " + worst + " ulp");
    }

    private static double worst(float[] x, float[] y, int count) {
        double worst = 0;
        for (int i = 0; i < count; i++) {
            double exact = Math.pow(2, x[i]);
            worst = Math.max(worst, Math.abs(y[i] - exact) / Math.ulp((float) exact));
        }
        return worst;
    }

    @ParameterizedTest
    @MethodSource("kernels")
    void integersAreExactAndWhatIsTooSmallVanishes(AttentionKernels kernels) {
        Panel panel = new Panel(kernels);
        float[] x = new float[128];
        for (int i = 0; i < 127; i++) {
            x[i] = -i;
        }
        x[127] = Float.NEGATIVE_INFINITY;
        panel.weights(x, 128, 1);
        for (int i = 0; i < 127; i++) {
            assertEquals(Math.scalb(1f, -i), x[i]);
        }
        assertEquals(0, x[127]);
        float[] small = {-126.5f, -127, -149, -150, -1000, -1e10f, -Float.MAX_VALUE};
        panel.weights(small, small.length, 1);
        for (float y : small) {
            assertTrue(y >= 0 && y <= Float.MIN_NORMAL, y + " for a weight below 2^-126");
        }
    }

    /** What earlier sums are multiplied by is the same function. */
    @ParameterizedTest
    @MethodSource("kernels")
    void earlierSumsAreRescaledAlike(AttentionKernels kernels) {
        int rows = kernels.panel();
        float[] s = new float[2 * rows];
        float[] max = new float[rows];
        float[] sum = new float[rows];
        float[] alpha = new float[rows];
        for (int i = 0; i < 1000; i++) {
            for (int r = 0; r < rows; r++) {
                s[r] = 0;
                max[r] = -(i * rows + r) * (60f / (1000 * rows));
                sum[r] = 1;
            }
            float[] old = max.clone();
            kernels.weights(s, rows, 1, 1, max, sum, alpha, 0);
            for (int r = 0; r < rows; r++) {
                double exact = Math.pow(2, old[r]);
                assertEquals(exact, alpha[r], ULPS * Math.ulp((float) exact));
                assertEquals(1 + exact, sum[r], 2 * Math.ulp(1f));
            }
        }
    }
}
