package dev.octet.mla.cpu;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;

/** One matrix for each head in plain Java: each row of a matrix is widened once and multiplied with all tokens. */
final class ScalarHeadProjection {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    /** Rows of a task: neighbours of a column, which may share cache lines. */
    private static final int ROWS = 64;
    /** Elements of a row that are widened at a time. */
    private static final int CHUNK = 4096;

    private ScalarHeadProjection() {}

    static void project(Tensor x, Tensor weight, Tensor out, CpuPool pool) {
        if (out.shape().elements() == 0) {
            return;
        }
        long n = weight.dim(1);
        int parts = Math.toIntExact(Math.ceilDiv(n, (long) ROWS));
        pool.run(Math.multiplyExact(Math.toIntExact(x.dim(1)), parts), task -> {
            long head = task / parts;
            long first = (long) (task % parts) * ROWS;
            float[] w = new float[(int) Math.min(CHUNK, x.dim(2))];
            float[] y = new float[w.length];
            float[] sums = new float[Math.toIntExact(x.dim(0))];
            for (long row = first; row < Math.min(first + ROWS, n); row++) {
                multiply(x, weight, out, head, row, w, y, sums);
            }
        });
    }

    private static void multiply(Tensor x, Tensor weight, Tensor out, long head, long row, float[] w, float[] y,
            float[] sums) {
        long k = x.dim(2);
        int tokens = sums.length;
        Arrays.fill(sums, 0);
        for (long from = 0; from < k; from += CHUNK) {
            int count = (int) Math.min(CHUNK, k - from);
            load(weight, head * weight.stride(0) + row * weight.stride(1) + from * weight.stride(2),
                    weight.stride(2), w, count);
            for (int t = 0; t < tokens; t++) {
                load(x, t * x.stride(0) + head * x.stride(1) + from * x.stride(2), x.stride(2), y, count);
                sums[t] += dot(w, y, count);
            }
        }
        for (int t = 0; t < tokens; t++) {
            store(out, t * out.stride(0) + head * out.stride(1) + row * out.stride(2), sums[t]);
        }
    }

    /** Four sums at a time, which do not wait for each other. */
    private static float dot(float[] a, float[] b, int count) {
        float s0 = 0;
        float s1 = 0;
        float s2 = 0;
        float s3 = 0;
        int i = 0;
        for (; i + 4 <= count; i += 4) {
            s0 += a[i] * b[i];
            s1 += a[i + 1] * b[i + 1];
            s2 += a[i + 2] * b[i + 2];
            s3 += a[i + 3] * b[i + 3];
        }
        for (; i < count; i++) {
            s0 += a[i] * b[i];
        }
        return s0 + s1 + (s2 + s3);
    }

    private static void load(Tensor source, long element, long stride, float[] row, int count) {
        MemorySegment s = source.segment();
        if (source.dtype() == DType.BF16) {
            for (int i = 0; i < count; i++) {
                row[i] = BFloat16.toFloat(s.get(I16, 2 * (element + i * stride)));
            }
        } else {
            for (int i = 0; i < count; i++) {
                row[i] = s.get(F32, 4 * (element + i * stride));
            }
        }
    }

    private static void store(Tensor target, long element, float value) {
        if (target.dtype() == DType.BF16) {
            target.segment().set(I16, 2 * element, BFloat16.fromFloat(value));
        } else {
            target.segment().set(F32, 4 * element, value);
        }
    }
}
