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
    public void tile(float[] a, int aAt, float[] b, int bAt, int stride, int length, float[] sums, int sumsAt) {
        for (int t = 0; t < ROWS; t++) {
            int own = sumsAt + ROWS * t;
            int at = aAt + t * stride;
            float s0 = sums[own];
            float s1 = sums[own + 1];
            float s2 = sums[own + 2];
            float s3 = sums[own + 3];
            for (int i = 0; i < length; i++) {
                float x = a[at + i];
                s0 = Math.fma(x, b[bAt + i], s0);
                s1 = Math.fma(x, b[bAt + stride + i], s1);
                s2 = Math.fma(x, b[bAt + 2 * stride + i], s2);
                s3 = Math.fma(x, b[bAt + 3 * stride + i], s3);
            }
            sums[own] = s0;
            sums[own + 1] = s1;
            sums[own + 2] = s2;
            sums[own + 3] = s3;
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

    @Override
    public void widen(long row, float[] to, int at, int length) {
        for (int i = 0; i < length; i++) {
            to[at + i] = Float.intBitsToFloat(NativeMemory.ALL.get(Router.I16, row + 2L * i) << 16);
        }
    }
}
