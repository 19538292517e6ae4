package dev.octet.moe.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.fp8.Fp8Codec;
import dev.octet.fp8.Overflow;
import java.lang.foreign.ValueLayout;

/** One value at a time. */
final class ScalarSwigluKernels implements SwigluKernels {
    static final SwigluKernels KERNELS = new ScalarSwigluKernels();

    private ScalarSwigluKernels() {}

    @Override
    public void activate(long gate, long up, float weight, float[] h, int n) {
        activate(gate, up, weight, h, 0, n);
    }

    static void activate(long gate, long up, float weight, float[] h, int from, int n) {
        for (int i = from; i < n; i++) {
            h[i] = swiglu(ALL.get(ValueLayout.JAVA_FLOAT_UNALIGNED, gate + 4L * i),
                    ALL.get(ValueLayout.JAVA_FLOAT_UNALIGNED, up + 4L * i), weight);
        }
    }

    static float swiglu(float g, float u, float weight) {
        float t = ScoreMath.expOfMinus(g);
        return (g < 0 ? g * t : g) / (1 + t) * u * weight;
    }

    @Override
    public int maxBits(float[] h, int at, int n) {
        int max = 0;
        for (int i = at; i < at + n; i++) {
            max = Math.max(max, Float.floatToRawIntBits(h[i]) & ScoreMath.MAGNITUDE);
        }
        return max;
    }

    @Override
    public void encode(float[] h, int at, float factor, long codes, int n) {
        for (int i = 0; i < n; i++) {
            ALL.set(ValueLayout.JAVA_BYTE, codes + i, Fp8Codec.encodeE4M3(h[at + i] * factor, Overflow.SATURATE));
        }
    }
}
