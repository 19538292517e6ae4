package dev.octet.mla.reference;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** RMSNorm and the rotary embedding in FP64, each result rounded once to its own type. */
final class ReferenceElementwise {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private ReferenceElementwise() {}

    static void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
        if (x.shape().elements() == 0) {
            return;
        }
        MemorySegment from = x.segment();
        MemorySegment weights = weight.segment();
        MemorySegment to = out.segment();
        for (long r = 0; r < x.dim(0); r++) {
            double sum = 0;
            for (long i = 0; i < x.dim(1); i++) {
                double v = load(from, x.dtype(), r * x.stride(0) + i * x.stride(1));
                sum += v * v;
            }
            double root = Math.sqrt(sum / x.dim(1) + eps);
            for (long i = 0; i < x.dim(1); i++) {
                double v = load(from, x.dtype(), r * x.stride(0) + i * x.stride(1));
                double w = load(weights, weight.dtype(), i * weight.stride(0));
                store(to, out.dtype(), r * out.stride(0) + i * out.stride(1), v / root * w);
            }
        }
    }

    static void rope(Tensor x, int[] positions, float[] frequencies, float factor, Tensor out) {
        if (x.shape().elements() == 0) {
            return;
        }
        MemorySegment from = x.segment();
        MemorySegment to = out.segment();
        for (int t = 0; t < positions.length; t++) {
            for (int j = 0; j < frequencies.length; j++) {
                float angle = (float) ((double) positions[t] * frequencies[j]);
                double cos = Math.cos(angle) * factor;
                double sin = Math.sin(angle) * factor;
                for (long h = 0; h < x.dim(1); h++) {
                    long i = t * x.stride(0) + h * x.stride(1) + 2 * j * x.stride(2);
                    long k = t * out.stride(0) + h * out.stride(1) + 2 * j * out.stride(2);
                    double a = load(from, x.dtype(), i);
                    double b = load(from, x.dtype(), i + x.stride(2));
                    boolean moves = positions[t] != 0 || factor != 1; // 0 * Infinity is NaN, -0 + 0 is 0
                    store(to, out.dtype(), k, moves ? a * cos - b * sin : a);
                    store(to, out.dtype(), k + out.stride(2), moves ? a * sin + b * cos : b);
                }
            }
        }
    }

    private static double load(MemorySegment s, DType dtype, long element) {
        return dtype == DType.F32 ? s.get(F32, 4 * element) : BFloat16.toFloat(s.get(I16, 2 * element));
    }

    private static void store(MemorySegment s, DType dtype, long element, double value) {
        float f = (float) value;
        if (dtype == DType.F32) {
            s.set(F32, 4 * element, f);
        } else {
            // A tie of BF16 that the first rounding made would be decided a second time, perhaps the wrong way.
            boolean tie = (Float.floatToRawIntBits(f) & 0xFFFF) == 0x8000 && f != value;
            s.set(I16, 2 * element, BFloat16.fromFloat(tie ? Math.nextAfter(f, value) : f));
        }
    }
}
