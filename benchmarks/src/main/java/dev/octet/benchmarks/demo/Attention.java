package dev.octet.benchmarks.demo;

import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Multi-head self-attention in FP32, {@code softmax(Q K^T / sqrt 32) V} for each sentence and head. Sentences lie one
 * after the other without padding, so there is no mask.
 */
final class Attention {
    private static final VectorSpecies<Float> S = FloatVector.SPECIES_PREFERRED;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(LE);
    private static final long V = S.vectorByteSize();
    private static final int HEAD = MiniLm.HIDDEN / MiniLm.HEADS;
    private static final int ROW = 3 * MiniLm.HIDDEN;
    private static final float SCALE = (float) (1 / Math.sqrt(HEAD));

    private Attention() {}

    /**
     * Attends within each sentence.
     *
     * @param qkv {@code [tokens, 3 * hidden]}: queries, keys and values side by side
     * @param starts the first row of each sentence, and one past the last of all
     * @param context {@code [tokens, hidden]}, written
     * @param pool the threads
     */
    static void attend(Tensor qkv, int[] starts, Tensor context, CpuPool pool) {
        MemorySegment in = qkv.segment();
        MemorySegment out = context.segment();
        pool.run((starts.length - 1) * MiniLm.HEADS, task -> {
            int sentence = task / MiniLm.HEADS;
            int head = task % MiniLm.HEADS;
            head(in, out, starts[sentence], starts[sentence + 1] - starts[sentence], head * HEAD);
        });
    }

    private static void head(MemorySegment qkv, MemorySegment context, long first, int length, int channel) {
        long padded = Math.ceilDiv(length, S.length()) * (long) S.length();
        MemorySegment keys = Scratch.get(0, HEAD * padded * 4); // [HEAD][padded]: neighbours are neighbouring tokens
        MemorySegment weights = Scratch.get(1, padded * 4);
        for (int j = 0; j < padded; j++) {
            for (int d = 0; d < HEAD; d++) {
                float k = j < length
                        ? qkv.get(F32, ((first + j) * ROW + MiniLm.HIDDEN + channel + d) * 4)
                        : 0;
                keys.set(F32, (d * padded + j) * 4, k);
            }
        }
        for (int i = 0; i < length; i++) {
            long query = ((first + i) * ROW + channel) * 4;
            float max = scores(qkv, query, keys, weights, length, padded);
            float sum = exponentials(weights, max, padded);
            long values = (first * ROW + 2 * MiniLm.HIDDEN + channel) * 4;
            average(qkv, values, weights, 1 / sum, context, ((first + i) * MiniLm.HIDDEN + channel) * 4, length);
        }
    }

    /** Writes the scaled scores, minus infinity where there is no token, and returns the largest. */
    private static float scores(MemorySegment qkv, long query, MemorySegment keys, MemorySegment weights, long length,
            long padded) {
        FloatVector max = FloatVector.broadcast(S, Float.NEGATIVE_INFINITY);
        for (long j = 0; j < padded; j += S.length()) {
            FloatVector sum = FloatVector.zero(S);
            for (long d = 0; d < HEAD; d++) {
                sum = FloatVector.fromMemorySegment(S, keys, (d * padded + j) * 4, LE)
                        .fma(FloatVector.broadcast(S, qkv.get(F32, query + d * 4)), sum);
            }
            sum = sum.mul(SCALE).blend(Float.NEGATIVE_INFINITY, S.indexInRange(j, length).not());
            sum.intoMemorySegment(weights, j * 4, LE);
            max = max.max(sum);
        }
        return max.reduceLanes(VectorOperators.MAX);
    }

    /*
     * exp(z) for z <= 0: z = n ln 2 + r with |r| <= ln(2)/2, exp(r) by its series to r^7 (remainder 5e-9), then n goes
     * into the exponent. ln 2 is split so that n times its upper part is exact. Below -87 the result counts as exp(-87),
     * which is nothing beside the largest term, 1.
     */
    private static float exponentials(MemorySegment weights, float max, long padded) {
        FloatVector sum = FloatVector.zero(S);
        for (long j = 0; j < padded; j += S.length()) {
            FloatVector z = FloatVector.fromMemorySegment(S, weights, j * 4, LE).sub(max).max(-87f);
            FloatVector n = z.mul(1.44269504f).add(12582912f).sub(12582912f); // rounds to a whole number: 1.5 * 2^23
            FloatVector r = n.fma(FloatVector.broadcast(S, -0.693359375f), z);
            r = n.fma(FloatVector.broadcast(S, 2.12194440e-4f), r);
            FloatVector e = r.mul(1 / 5040f).add(1 / 720f);
            e = e.fma(r, FloatVector.broadcast(S, 1 / 120f));
            e = e.fma(r, FloatVector.broadcast(S, 1 / 24f));
            e = e.fma(r, FloatVector.broadcast(S, 1 / 6f));
            e = e.fma(r, FloatVector.broadcast(S, 0.5f));
            e = e.fma(r, FloatVector.broadcast(S, 1f));
            e = e.fma(r, FloatVector.broadcast(S, 1f));
            FloatVector power = ((IntVector) n.convert(VectorOperators.F2I, 0)).add(127)
                    .lanewise(VectorOperators.LSHL, 23).reinterpretAsFloats();
            e = e.mul(power);
            e.intoMemorySegment(weights, j * 4, LE);
            sum = sum.add(e);
        }
        MemorySegment lanes = Scratch.get(2, V);
        sum.intoMemorySegment(lanes, 0, LE);
        return Rows.sum(lanes);
    }

    /** Adds up the values by their weights, two vectors of channels at a time. */
    private static void average(MemorySegment qkv, long values, MemorySegment weights, float factor,
            MemorySegment context, long out, long length) {
        for (long d = 0; d < HEAD * 4L; d += 2 * V) {
            FloatVector a = FloatVector.zero(S);
            FloatVector b = FloatVector.zero(S);
            for (long j = 0; j < length; j++) {
                FloatVector w = FloatVector.broadcast(S, weights.get(F32, j * 4));
                a = w.fma(FloatVector.fromMemorySegment(S, qkv, values + j * (ROW * 4L) + d, LE), a);
                b = w.fma(FloatVector.fromMemorySegment(S, qkv, values + j * (ROW * 4L) + d + V, LE), b);
            }
            a.mul(factor).intoMemorySegment(context, out + d, LE);
            b.mul(factor).intoMemorySegment(context, out + d + V, LE);
        }
    }
}
