package dev.octet.moe.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;
import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;

import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/** On the Vector API; what does not fill a vector is left to the scalar loops. */
final class VectorSwigluKernels implements SwigluKernels {
    static final SwigluKernels KERNELS = new VectorSwigluKernels();

    private static final VectorSpecies<Float> F = Lanes.F;
    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final int L = Lanes.COUNT;
    /** One code for each lane of {@link #I}; there is no vector for the 32 bits that four lanes would take. */
    private static final VectorSpecies<Byte> B =
            VectorSpecies.of(byte.class, VectorShape.forBitSize(Math.max(64, 8 * L)));
    private static final boolean CODES_ARE_VECTORS = L > 4;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

    private static final int MAX_BITS = 0x43E0_0000; // 448
    private static final int MIN_NORMAL = 121 << 23; // 2^-6
    private static final int EXPONENT = 0x7F80_0000;
    /** To the exponent of a sum whose unit is the code's: 23 bits of FP32 less the 3 of E4M3. */
    private static final int ROUNDING = 20 << 23;

    private final SwigluKernels rest = ScalarSwigluKernels.KERNELS;

    private VectorSwigluKernels() {}

    @Override
    public void activate(long gate, long up, float weight, float[] h, int n) {
        int whole = n / L * L;
        vectors(gate, up, weight, h, whole);
        ScalarSwigluKernels.activate(gate, up, weight, h, whole, n);
    }

    private static void vectors(long gate, long up, float weight, float[] h, int n) {
        FloatVector log2e = FloatVector.broadcast(F, ScoreMath.LOG2_E);
        FloatVector shifter = FloatVector.broadcast(F, ScoreMath.SHIFTER);
        FloatVector high = FloatVector.broadcast(F, -ScoreMath.LN2_HIGH);
        FloatVector low = FloatVector.broadcast(F, -ScoreMath.LN2_LOW);
        FloatVector e7 = FloatVector.broadcast(F, ScoreMath.E7);
        FloatVector e6 = FloatVector.broadcast(F, ScoreMath.E6);
        FloatVector e5 = FloatVector.broadcast(F, ScoreMath.E5);
        FloatVector e4 = FloatVector.broadcast(F, ScoreMath.E4);
        FloatVector e3 = FloatVector.broadcast(F, ScoreMath.E3);
        FloatVector e2 = FloatVector.broadcast(F, ScoreMath.E2);
        FloatVector one = FloatVector.broadcast(F, 1);
        FloatVector w = FloatVector.broadcast(F, weight);
        for (int i = 0; i < n; i += L) {
            FloatVector g = FloatVector.fromMemorySegment(F, ALL, gate + 4L * i, LE);
            FloatVector y = g.reinterpretAsInts().and(ScoreMath.MAGNITUDE).min(ScoreMath.LIMIT_BITS).or(ScoreMath.SIGN)
                    .reinterpretAsFloats();
            FloatVector shifted = y.fma(log2e, shifter);
            FloatVector k = shifted.sub(shifter);
            FloatVector r = k.fma(low, k.fma(high, y));
            FloatVector p = e7.fma(r, e6).fma(r, e5).fma(r, e4).fma(r, e3).fma(r, e2).fma(r, one).fma(r, one);
            IntVector exponent = shifted.reinterpretAsInts().sub(ScoreMath.SHIFTER_BITS);
            IntVector half = exponent.lanewise(ASHR, 1);
            FloatVector t = p.mul(half.add(127).lanewise(LSHL, 23).reinterpretAsFloats())
                    .mul(exponent.sub(half).add(127).lanewise(LSHL, 23).reinterpretAsFloats());
            g.blend(g.mul(t), g.lt(0)).div(t.add(one))
                    .mul(FloatVector.fromMemorySegment(F, ALL, up + 4L * i, LE)).mul(w).intoArray(h, i);
        }
    }

    @Override
    public int maxBits(float[] h, int at, int n) {
        int whole = n / L * L;
        IntVector max = IntVector.zero(I);
        for (int i = 0; i < whole; i += L) {
            max = FloatVector.fromArray(F, h, at + i).reinterpretAsInts().and(ScoreMath.MAGNITUDE).max(max);
        }
        return Math.max(max.reduceLanes(VectorOperators.MAX), rest.maxBits(h, at + whole, n - whole));
    }

    @Override
    public void encode(float[] h, int at, float factor, long codes, int n) {
        int whole = CODES_ARE_VECTORS ? n / L * L : 0;
        encodeVectors(h, at, factor, codes, whole);
        rest.encode(h, at + whole, factor, codes + whole, n - whole);
    }

    private static void encodeVectors(float[] h, int at, float factor, long codes, int n) {
        FloatVector f = FloatVector.broadcast(F, factor);
        for (int i = 0; i < n; i += L) {
            IntVector x = FloatVector.fromArray(F, h, at + i).mul(f).reinterpretAsInts();
            IntVector magnitude = x.and(ScoreMath.MAGNITUDE).min(MAX_BITS);
            IntVector exponent = magnitude.max(MIN_NORMAL).and(EXPONENT);
            IntVector magic = exponent.add(ROUNDING);
            IntVector units = magnitude.reinterpretAsFloats().add(magic.reinterpretAsFloats()).reinterpretAsInts()
                    .sub(magic);
            IntVector code = units.add(exponent.lanewise(LSHR, 20)).sub(MIN_NORMAL >> 20)
                    .or(x.lanewise(LSHR, 24).and(0x80));
            ((ByteVector) code.convertShape(VectorOperators.I2B, B, 0)).intoMemorySegment(ALL, codes + i, LE);
        }
    }
}
