package dev.octet.moe.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** On the Vector API; what does not fill a vector is left to the scalar loops. */
final class VectorRowKernels implements RowKernels {
    static final RowKernels KERNELS = new VectorRowKernels();

    private static final VectorSpecies<Float> F = Lanes.F;
    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final VectorSpecies<Short> S = Lanes.S;
    private static final int L = Lanes.COUNT;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

    private final RowKernels rest = ScalarRowKernels.KERNELS;
    private final ThreadLocal<float[]> tail = ThreadLocal.withInitial(() -> new float[L]);

    private VectorRowKernels() {}

    @Override
    public void add(long row, boolean bf16, float weight, float[] sums, int n) {
        int whole = n / L * L;
        if (bf16) {
            addHalves(row, weight, sums, whole);
        } else {
            addFloats(row, weight, sums, whole);
        }
        if (whole < n) {
            float[] last = tail.get();
            System.arraycopy(sums, whole, last, 0, n - whole);
            rest.add(row + (bf16 ? 2L : 4L) * whole, bf16, weight, last, n - whole);
            System.arraycopy(last, 0, sums, whole, n - whole);
        }
    }

    private static void addFloats(long row, float weight, float[] sums, int n) {
        FloatVector w = FloatVector.broadcast(F, weight);
        for (int i = 0; i < n; i += L) {
            FloatVector.fromMemorySegment(F, ALL, row + 4L * i, LE).fma(w, FloatVector.fromArray(F, sums, i))
                    .intoArray(sums, i);
        }
    }

    private static void addHalves(long row, float weight, float[] sums, int n) {
        FloatVector w = FloatVector.broadcast(F, weight);
        for (int i = 0; i < n; i += L) {
            FloatVector x = ((IntVector) ShortVector.fromMemorySegment(S, ALL, row + 2L * i, LE)
                    .convertShape(VectorOperators.S2I, I, 0)).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
            x.fma(w, FloatVector.fromArray(F, sums, i)).intoArray(sums, i);
        }
    }

    @Override
    public void load(long row, boolean bf16, float[] x, int n) {
        if (!bf16) {
            rest.load(row, false, x, n);
            return;
        }
        int whole = n / L * L;
        loadHalves(row, x, whole);
        for (int i = whole; i < n; i++) {
            x[i] = Float.intBitsToFloat(ALL.get(ValueLayout.JAVA_SHORT_UNALIGNED, row + 2L * i) << 16);
        }
    }

    private static void loadHalves(long row, float[] x, int n) {
        for (int i = 0; i < n; i += L) {
            ((IntVector) ShortVector.fromMemorySegment(S, ALL, row + 2L * i, LE)
                    .convertShape(VectorOperators.S2I, I, 0)).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats()
                    .intoArray(x, i);
        }
    }

    @Override
    public void store(float[] x, long row, boolean bf16, int n) {
        if (!bf16) {
            MemorySegment.copy(x, 0, ALL, ValueLayout.JAVA_FLOAT_UNALIGNED, row, n);
            return;
        }
        int whole = n / L * L;
        storeHalves(x, row, whole);
        if (whole < n) {
            float[] last = tail.get();
            System.arraycopy(x, whole, last, 0, n - whole);
            rest.store(last, row + 2L * whole, true, n - whole);
        }
    }

    private static void storeHalves(float[] x, long row, int n) {
        for (int i = 0; i < n; i += L) {
            FloatVector v = FloatVector.fromArray(F, x, i);
            IntVector bits = v.reinterpretAsInts();
            IntVector rounded = bits.add(bits.lanewise(VectorOperators.LSHR, 16).and(1)).add(0x7FFF)
                    .lanewise(VectorOperators.LSHR, 16);
            IntVector nan = bits.lanewise(VectorOperators.LSHR, 16).and(0x8000).or(0x7FC0);
            rounded = rounded.blend(nan, v.test(VectorOperators.IS_NAN).cast(I));
            rounded.convertShape(VectorOperators.I2S, S, 0).reinterpretAsShorts()
                    .intoMemorySegment(ALL, row + 2L * i, LE);
        }
    }
}
