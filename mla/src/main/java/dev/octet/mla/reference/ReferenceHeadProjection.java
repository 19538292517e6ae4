package dev.octet.mla.reference;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** One matrix for each head: three loops around a sum in FP64. */
final class ReferenceHeadProjection {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private ReferenceHeadProjection() {}

    static void project(Tensor x, Tensor weight, Tensor out) {
        for (long t = 0; t < out.dim(0); t++) {
            for (long h = 0; h < out.dim(1); h++) {
                for (long n = 0; n < out.dim(2); n++) {
                    double sum = 0;
                    for (long k = 0; k < x.dim(2); k++) {
                        sum += get(weight, h, n, k) * get(x, t, h, k);
                    }
                    set(out, t, h, n, sum);
                }
            }
        }
    }

    private static long element(Tensor a, long i, long j, long k) {
        return i * a.stride(0) + j * a.stride(1) + k * a.stride(2);
    }

    private static double get(Tensor a, long i, long j, long k) {
        long at = element(a, i, j, k);
        return a.dtype() == DType.BF16 ? BFloat16.toFloat(a.segment().get(I16, 2 * at)) : a.segment().get(F32, 4 * at);
    }

    private static void set(Tensor a, long i, long j, long k, double value) {
        long at = element(a, i, j, k);
        if (a.dtype() == DType.BF16) {
            a.segment().set(I16, 2 * at, BFloat16.fromFloat((float) value));
        } else {
            a.segment().set(F32, 4 * at, (float) value);
        }
    }
}
