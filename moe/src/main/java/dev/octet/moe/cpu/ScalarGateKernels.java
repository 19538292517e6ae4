package dev.octet.moe.cpu;

import dev.octet.core.cpu.NativeMemory;
import dev.octet.moe.ScoreFunction;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** One token at a time. */
final class ScalarGateKernels implements GateKernels {
    static final ScalarGateKernels KERNELS = new ScalarGateKernels();

    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private ScalarGateKernels() {}

    @Override
    public int lanes() {
        return 1;
    }

    @Override
    public int largest(long address, int count) {
        int largest = 0;
        for (int i = 0; i < count; i++) {
            largest = Math.max(largest, NativeMemory.ALL.get(I32, address + 4L * i) & ScoreMath.MAGNITUDE);
        }
        return largest;
    }

    @Override
    public void load(long address, long stride, int experts, float[] block) {
        MemorySegment.copy(NativeMemory.ALL, F32, address, block, 0, experts);
    }

    @Override
    public void scores(ScoreFunction function, float[] block, int experts) {
        ScoreMath.scores(function, block, experts);
    }

    @Override
    public void keys(float[] scores, float[] bias, int from, int to, int[] keys, boolean sum, int[] group,
            int groupAt) {
        int first = ScoreMath.NEVER;
        int second = ScoreMath.NEVER;
        for (int e = from; e < to; e++) {
            int key = ScoreMath.key(Float.floatToRawIntBits(scores[e] + bias[e]));
            keys[e] = key;
            second = Math.max(second, Math.min(first, key));
            first = Math.max(first, key);
        }
        group[groupAt] = sum ? ScoreMath.key(Float.floatToRawIntBits(Float.intBitsToFloat(ScoreMath.key(first))
                + Float.intBitsToFloat(ScoreMath.key(second)))) : first;
    }

    @Override
    public void keep(int[] group, int groups, int kept, int[] caps) {
        for (int g = 0; g < groups; g++) {
            int better = 0;
            for (int h = 0; h < groups; h++) {
                better += group[h] > group[g] || group[h] == group[g] && h < g ? 1 : 0;
            }
            caps[g] = better < kept ? Integer.MAX_VALUE : ScoreMath.NEVER;
        }
    }

    @Override
    public void insertFew(int[] keys, int from, int to, int[] caps, int capAt, int[] slots, int[] index) {
        insertMany(keys, from, to, caps, capAt, slots, index, FEW);
    }

    @Override
    public void insertMany(int[] keys, int from, int to, int[] caps, int capAt, int[] slots, int[] index, int count) {
        for (int e = from; e < to; e++) {
            int key = Math.min(keys[e], caps[capAt]);
            if (key <= slots[count - 1]) {
                continue;
            }
            int j = count - 1;
            for (; j > 0 && key > slots[j - 1]; j--) {
                slots[j] = slots[j - 1];
                index[j] = index[j - 1];
            }
            slots[j] = key;
            index[j] = e;
        }
    }
}
