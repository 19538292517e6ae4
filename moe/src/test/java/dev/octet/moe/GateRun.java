package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;

/** What a gate gave: experts and weights of all tokens, one row after the other. */
record GateRun(int[] experts, float[] weights, int topK) {
    static GateRun of(Moe moe, float[] logits, float @Nullable [] bias, GateConfig config, GateOptions options) {
        int tokens = logits.length / config.experts();
        try (Tensor x = tensor(logits, tokens, config.experts());
                Routing out = Routing.allocate(tokens, config.topK())) {
            if (bias == null) {
                moe.gate(x, null, config, options, out);
            } else {
                try (Tensor b = Tensor.of(bias, bias.length)) {
                    moe.gate(x, b, config, options, out);
                }
            }
            return of(out);
        }
    }

    static GateRun of(String backend, float[] logits, float @Nullable [] bias, GateConfig config) {
        return of(Moe.on(backend), logits, bias, config, GateOptions.NONE);
    }

    static GateRun of(String backend, int threads, float[] logits, float[] bias, GateConfig config) {
        try (CpuPool pool = new CpuPool(threads)) {
            return of(Moe.on(backend).with(pool), logits, bias, config, GateOptions.NONE);
        }
    }

    static GateRun of(Routing out) {
        return new GateRun(ints(out.experts()), out.weights().toFloatArray(), out.topK());
    }

    static Tensor tensor(float[] values, long... dims) {
        Tensor t = Tensor.allocate(DType.F32, Shape.of(dims));
        t.copyFrom(values);
        return t;
    }

    static int[] ints(Tensor t) {
        int columns = (int) t.dim(1);
        int[] values = new int[(int) t.dim(0) * columns];
        for (int i = 0; i < values.length; i++) {
            values[i] = t.segment().getAtIndex(ValueLayout.JAVA_INT,
                    i / columns * t.stride(0) + i % columns * t.stride(1));
        }
        return values;
    }

    static float[] gaussian(RandomGenerator random, int count, double deviation) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) (random.nextGaussian() * deviation);
        }
        return values;
    }

    int[] experts(int token) {
        return Arrays.copyOfRange(experts, token * topK, (token + 1) * topK);
    }

    float[] weights(int token) {
        return Arrays.copyOfRange(weights, token * topK, (token + 1) * topK);
    }

    /** To the bit. */
    void assertSame(GateRun other, String what) {
        assertArrayEquals(experts, other.experts, what + ": experts");
        int[] a = new int[weights.length];
        int[] b = new int[other.weights.length];
        for (int i = 0; i < a.length; i++) {
            a[i] = Float.floatToRawIntBits(weights[i]);
            b[i] = Float.floatToRawIntBits(other.weights[i]);
        }
        assertArrayEquals(a, b, what + ": bits of the weights");
    }
}
