package dev.octet.moe.cpu;

import dev.octet.core.DType;
import dev.octet.core.cpu.NativeMemory;

/** One lane. */
final class ScalarRouterKernels implements RouterKernels {
    static final ScalarRouterKernels KERNELS = new ScalarRouterKernels();

    private ScalarRouterKernels() {}

    @Override
    public int lanes() {
        return 1;
    }

    @Override
    public void tile(float[] a, int aAt, float[] b, int bAt, int stride, int length, float[] sums) {
        for (int t = 0; t < ROWS; t++) {
            int at = aAt + t * stride;
            float s0 = sums[ROWS * t];
            float s1 = sums[ROWS * t + 1];
            float s2 = sums[ROWS * t + 2];
            float s3 = sums[ROWS * t + 3];
            for (int i = 0; i < length; i++) {
                float x = a[at + i];
                s0 = Math.fma(x, b[bAt + i], s0);
                s1 = Math.fma(x, b[bAt + stride + i], s1);
                s2 = Math.fma(x, b[bAt + 2 * stride + i], s2);
                s3 = Math.fma(x, b[bAt + 3 * stride + i], s3);
            }
            sums[ROWS * t] = s0;
            sums[ROWS * t + 1] = s1;
            sums[ROWS * t + 2] = s2;
            sums[ROWS * t + 3] = s3;
        }
    }

    @Override
    public void row(float[] a, int aAt, long b, long bStride, DType type, int length, float[] sums) {
        for (int r = 0; r < ROWS; r++) {
            float s = sums[r];
            long at = b + r * bStride;
            for (int i = 0; i < length; i++) {
                float w = type == DType.F32 ? NativeMemory.ALL.get(Gate.F32, at + 4L * i)
                        : Float.intBitsToFloat(NativeMemory.ALL.get(Router.I16, at + 2L * i) << 16);
                s = Math.fma(a[aAt + i], w, s);
            }
            sums[r] = s;
        }
    }
}
