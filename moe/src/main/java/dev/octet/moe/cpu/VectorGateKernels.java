package dev.octet.moe.cpu;

import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.LE;
import static jdk.incubator.vector.VectorOperators.MAX;
import static jdk.incubator.vector.VectorOperators.XOR;

import dev.octet.core.cpu.NativeMemory;
import dev.octet.moe.ScoreFunction;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorSpecies;

/** As many tokens at a time as a vector has lanes. */
final class VectorGateKernels implements GateKernels {
    static final VectorGateKernels KERNELS = new VectorGateKernels();

    private static final VectorSpecies<Float> F = Lanes.F;
    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final int L = Lanes.COUNT;

    private VectorGateKernels() {}

    @Override
    public int lanes() {
        return L;
    }

    @Override
    public int largest(long address, int count) {
        IntVector largest = IntVector.zero(I);
        int i = 0;
        for (; i <= count - L; i += L) {
            largest = largest.max(IntVector.fromMemorySegment(I, NativeMemory.ALL, address + 4L * i,
                    ByteOrder.LITTLE_ENDIAN).and(ScoreMath.MAGNITUDE));
        }
        int rest = i < count ? ScalarGateKernels.KERNELS.largest(address + 4L * i, count - i) : 0;
        return Math.max(rest, largest.reduceLanes(MAX));
    }

    @Override
    public void load(long address, long stride, int experts, float[] block) {
        for (int t = 0; t < L; t++) {
            long from = address + t * stride;
            for (int e = 0; e < experts; e++) {
                block[e * L + t] = NativeMemory.ALL.get(Gate.F32, from + 4L * e);
            }
        }
    }

    @Override
    public void scores(ScoreFunction function, float[] block, int experts) {
        switch (function) {
            case SIGMOID -> ScoreKernels.sigmoid(block, experts * L);
            case SQRT_SOFTPLUS -> ScoreKernels.sqrtSoftplus(block, experts * L);
            case SOFTMAX -> ScoreKernels.softmax(block, experts * L);
        }
    }

    @Override
    public void keys(float[] scores, float[] bias, int from, int to, int[] keys, boolean sum, int[] group,
            int groupAt) {
        IntVector first = IntVector.broadcast(I, ScoreMath.NEVER);
        IntVector second = first;
        for (int e = from; e < to; e++) {
            IntVector bits = FloatVector.fromArray(F, scores, e * L).add(bias[e]).reinterpretAsInts();
            IntVector key = bits.lanewise(ASHR, 31).and(ScoreMath.MAGNITUDE).lanewise(XOR, bits);
            key.intoArray(keys, e * L);
            second = second.max(first.min(key));
            first = first.max(key);
        }
        if (sum) {
            FloatVector a = first.lanewise(ASHR, 31).and(ScoreMath.MAGNITUDE).lanewise(XOR, first)
                    .reinterpretAsFloats();
            FloatVector b = second.lanewise(ASHR, 31).and(ScoreMath.MAGNITUDE).lanewise(XOR, second)
                    .reinterpretAsFloats();
            IntVector bits = a.add(b).reinterpretAsInts();
            first = bits.lanewise(ASHR, 31).and(ScoreMath.MAGNITUDE).lanewise(XOR, bits);
        }
        first.intoArray(group, groupAt);
    }

    @Override
    public void keep(int[] group, int groups, int kept, int[] caps) {
        for (int g = 0; g < groups; g++) {
            IntVector key = IntVector.fromArray(I, group, g * L);
            IntVector better = IntVector.zero(I);
            for (int h = 0; h < g; h++) {
                better = better.add(1, key.compare(LE, IntVector.fromArray(I, group, h * L)));
            }
            for (int h = g + 1; h < groups; h++) {
                better = better.add(1, key.lt(IntVector.fromArray(I, group, h * L)));
            }
            IntVector.broadcast(I, ScoreMath.NEVER).blend(Integer.MAX_VALUE, better.lt(kept))
                    .intoArray(caps, g * L);
        }
    }

    /**
     * An expert's key is compared with all slots at once. Slots below it move down by one: each becomes the larger of
     * itself and of the smaller one of the key and the slot above. An equal key stays below, for its number is higher.
     */
    @Override
    public void insertFew(int[] keys, int from, int to, int[] caps, int capAt, int[] slots, int[] index) {
        IntVector cap = IntVector.fromArray(I, caps, capAt);
        IntVector s0 = IntVector.fromArray(I, slots, 0);
        IntVector i0 = IntVector.fromArray(I, index, 0);
        IntVector s1 = IntVector.fromArray(I, slots, L);
        IntVector i1 = IntVector.fromArray(I, index, L);
        IntVector s2 = IntVector.fromArray(I, slots, 2 * L);
        IntVector i2 = IntVector.fromArray(I, index, 2 * L);
        IntVector s3 = IntVector.fromArray(I, slots, 3 * L);
        IntVector i3 = IntVector.fromArray(I, index, 3 * L);
        IntVector s4 = IntVector.fromArray(I, slots, 4 * L);
        IntVector i4 = IntVector.fromArray(I, index, 4 * L);
        IntVector s5 = IntVector.fromArray(I, slots, 5 * L);
        IntVector i5 = IntVector.fromArray(I, index, 5 * L);
        IntVector s6 = IntVector.fromArray(I, slots, 6 * L);
        IntVector i6 = IntVector.fromArray(I, index, 6 * L);
        IntVector s7 = IntVector.fromArray(I, slots, 7 * L);
        IntVector i7 = IntVector.fromArray(I, index, 7 * L);
        for (int e = from; e < to; e++) {
            IntVector key = IntVector.fromArray(I, keys, e * L).min(cap);
            IntVector number = IntVector.broadcast(I, e);
            VectorMask<Integer> m0 = s0.lt(key);
            VectorMask<Integer> m1 = s1.lt(key);
            VectorMask<Integer> m2 = s2.lt(key);
            VectorMask<Integer> m3 = s3.lt(key);
            VectorMask<Integer> m4 = s4.lt(key);
            VectorMask<Integer> m5 = s5.lt(key);
            VectorMask<Integer> m6 = s6.lt(key);
            VectorMask<Integer> m7 = s7.lt(key);
            i7 = i7.blend(number.blend(i6, m6), m7);
            s7 = s7.max(key.min(s6));
            i6 = i6.blend(number.blend(i5, m5), m6);
            s6 = s6.max(key.min(s5));
            i5 = i5.blend(number.blend(i4, m4), m5);
            s5 = s5.max(key.min(s4));
            i4 = i4.blend(number.blend(i3, m3), m4);
            s4 = s4.max(key.min(s3));
            i3 = i3.blend(number.blend(i2, m2), m3);
            s3 = s3.max(key.min(s2));
            i2 = i2.blend(number.blend(i1, m1), m2);
            s2 = s2.max(key.min(s1));
            i1 = i1.blend(number.blend(i0, m0), m1);
            s1 = s1.max(key.min(s0));
            i0 = i0.blend(number, m0);
            s0 = s0.max(key);
        }
        s0.intoArray(slots, 0);
        i0.intoArray(index, 0);
        s1.intoArray(slots, L);
        i1.intoArray(index, L);
        s2.intoArray(slots, 2 * L);
        i2.intoArray(index, 2 * L);
        s3.intoArray(slots, 3 * L);
        i3.intoArray(index, 3 * L);
        s4.intoArray(slots, 4 * L);
        i4.intoArray(index, 4 * L);
        s5.intoArray(slots, 5 * L);
        i5.intoArray(index, 5 * L);
        s6.intoArray(slots, 6 * L);
        i6.intoArray(index, 6 * L);
        s7.intoArray(slots, 7 * L);
        i7.intoArray(index, 7 * L);
    }

    @Override
    public void insertMany(int[] keys, int from, int to, int[] caps, int capAt, int[] slots, int[] index, int count) {
        IntVector cap = IntVector.fromArray(I, caps, capAt);
        for (int e = from; e < to; e++) {
            IntVector key = IntVector.fromArray(I, keys, e * L).min(cap);
            int last = (count - 1) * L;
            if (!IntVector.fromArray(I, slots, last).lt(key).anyTrue()) {
                continue;
            }
            for (int at = last; at > 0; at -= L) {
                IntVector slot = IntVector.fromArray(I, slots, at);
                IntVector above = IntVector.fromArray(I, slots, at - L);
                IntVector moved = IntVector.broadcast(I, e).blend(IntVector.fromArray(I, index, at - L), above.lt(key));
                IntVector.fromArray(I, index, at).blend(moved, slot.lt(key)).intoArray(index, at);
                slot.max(key.min(above)).intoArray(slots, at);
            }
            IntVector slot = IntVector.fromArray(I, slots, 0);
            IntVector.fromArray(I, index, 0).blend(e, slot.lt(key)).intoArray(index, 0);
            slot.max(key).intoArray(slots, 0);
        }
    }
}
