package dev.octet.mla.cpu;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import java.lang.ref.Reference;

/**
 * {@code out = x / sqrt(mean(x^2) + eps) * weight} over each row. Squares of FP32 values are exact in FP64, can neither
 * overflow nor underflow there, and are added up in eight sums whose order nothing changes; the quotient and the
 * product are FP64, too, so that the result is rounded once.
 */
final class RmsNormKernel {
    /** Values for one task: some 10 microseconds, which a second thread needs to be worth waking. */
    private static final long TASK_VALUES = 1 << 14;

    private RmsNormKernel() {}

    /** Normalises {@code [rows, d]}. */
    static void run(Tensor x, Tensor weight, float eps, Tensor out, CpuPool pool) {
        if (x.shape().elements() == 0) {
            return;
        }
        long rows = x.dim(0);
        int d = Math.toIntExact(x.dim(1));
        // The caller's own array: the tasks read it, and nobody writes to it until this call returns.
        float[] w = FloatRows.array(1, d);
        FloatRows.load(weight.address(), FloatRows.step(weight, 0), weight.dtype(), w, d);
        long step = Math.max(Math.clamp(TASK_VALUES / d, 1, rows), Math.ceilDiv(rows, (long) Integer.MAX_VALUE));
        DType fromType = x.dtype();
        DType toType = out.dtype();
        long from = x.address();
        long to = out.address();
        long fromRow = FloatRows.step(x, 0);
        long toRow = FloatRows.step(out, 0);
        long fromValue = FloatRows.step(x, 1);
        long toValue = FloatRows.step(out, 1);
        try {
            pool.run((int) Math.ceilDiv(rows, step), i -> {
                float[] values = FloatRows.array(0, d);
                long end = Math.min(rows, (i + 1) * step);
                for (long r = i * step; r < end; r++) {
                    FloatRows.load(from + r * fromRow, fromValue, fromType, values, d);
                    scale(values, w, 1 / Math.sqrt(sumOfSquares(values, d) / d + eps), d);
                    FloatRows.store(values, d, to + r * toRow, toValue, toType);
                }
            });
        } finally {
            Reference.reachabilityFence(x);
            Reference.reachabilityFence(weight);
            Reference.reachabilityFence(out);
        }
    }

    private static double sumOfSquares(float[] x, int d) {
        double s0 = 0;
        double s1 = 0;
        double s2 = 0;
        double s3 = 0;
        double s4 = 0;
        double s5 = 0;
        double s6 = 0;
        double s7 = 0;
        int i = 0;
        for (; i < d - 7; i += 8) {
            s0 += (double) x[i] * x[i];
            s1 += (double) x[i + 1] * x[i + 1];
            s2 += (double) x[i + 2] * x[i + 2];
            s3 += (double) x[i + 3] * x[i + 3];
            s4 += (double) x[i + 4] * x[i + 4];
            s5 += (double) x[i + 5] * x[i + 5];
            s6 += (double) x[i + 6] * x[i + 6];
            s7 += (double) x[i + 7] * x[i + 7];
        }
        for (; i < d; i++) {
            s0 += (double) x[i] * x[i];
        }
        return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7));
    }

    private static void scale(float[] x, float[] w, double factor, int d) {
        for (int i = 0; i < d; i++) {
            x[i] = (float) (x[i] * factor * w[i]);
        }
    }
}
