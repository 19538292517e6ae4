package dev.octet.mla.cpu;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import java.lang.ref.Reference;

/**
 * {@code (x', y') = (x cos - y sin, x sin + y cos)} for the pairs {@code (x[2j], x[2j + 1])} of each head. A token's
 * cosines and sines are computed once, in FP64 of the FP32 angle, and rounded to FP32; all heads of the token use them.
 */
final class RopeKernel {
    /** Values for one task: some 10 microseconds, which a second thread needs to be worth waking. */
    private static final long TASK_VALUES = 1 << 14;

    private final int[] positions;
    private final float[] frequencies;
    private final float factor;
    private final DType fromType;
    private final DType toType;
    private final long from;
    private final long to;
    private final long heads;
    private final long fromToken;
    private final long fromHead;
    private final long fromValue;
    private final long toToken;
    private final long toHead;
    private final long toValue;

    private RopeKernel(Tensor x, int[] positions, float[] frequencies, float factor, Tensor out) {
        this.positions = positions;
        this.frequencies = frequencies;
        this.factor = factor;
        fromType = x.dtype();
        toType = out.dtype();
        from = x.address();
        to = out.address();
        heads = x.dim(1);
        fromToken = FloatRows.step(x, 0);
        fromHead = FloatRows.step(x, 1);
        fromValue = FloatRows.step(x, 2);
        toToken = FloatRows.step(out, 0);
        toHead = FloatRows.step(out, 1);
        toValue = FloatRows.step(out, 2);
    }

    /** Turns {@code [tokens, heads, 2 * frequencies.length]}. */
    static void run(Tensor x, int[] positions, float[] frequencies, float factor, Tensor out, CpuPool pool) {
        if (x.shape().elements() == 0) {
            return;
        }
        int tokens = positions.length;
        int step = Math.clamp(TASK_VALUES * tokens / x.shape().elements(), 1, tokens);
        RopeKernel kernel = new RopeKernel(x, positions, frequencies, factor, out);
        try {
            pool.run(Math.ceilDiv(tokens, step), i -> kernel.turn(i * step, Math.min(step, tokens - i * step)));
        } finally {
            Reference.reachabilityFence(x);
            Reference.reachabilityFence(out);
        }
    }

    private void turn(int first, int count) {
        int pairs = frequencies.length;
        float[] values = FloatRows.array(0, 2 * pairs);
        float[] table = FloatRows.array(1, 2 * pairs);
        for (int t = first; t < first + count; t++) {
            boolean moves = positions[t] != 0 || factor != 1;
            for (int j = 0; moves && j < pairs; j++) {
                float angle = (float) ((double) positions[t] * frequencies[j]);
                table[2 * j] = (float) (Math.cos(angle) * factor);
                table[2 * j + 1] = (float) (Math.sin(angle) * factor);
            }
            for (long h = 0; h < heads; h++) {
                FloatRows.load(from + t * fromToken + h * fromHead, fromValue, fromType, values, 2 * pairs);
                if (moves) { // else -0 would become 0, and an infinite neighbour NaN
                    turn(values, table, pairs);
                }
                FloatRows.store(values, 2 * pairs, to + t * toToken + h * toHead, toValue, toType);
            }
        }
    }

    private static void turn(float[] values, float[] table, int pairs) {
        for (int i = 0; i < 2 * pairs; i += 2) {
            float x = values[i];
            float y = values[i + 1];
            float cos = table[i];
            float sin = table[i + 1];
            values[i] = x * cos - y * sin;
            values[i + 1] = x * sin + y * cos;
        }
    }
}
