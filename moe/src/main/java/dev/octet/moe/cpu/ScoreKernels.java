package dev.octet.moe.cpu;

import static dev.octet.moe.cpu.ScoreMath.LIMIT_BITS;
import static dev.octet.moe.cpu.ScoreMath.MAGNITUDE;
import static dev.octet.moe.cpu.ScoreMath.SHIFTER_BITS;
import static dev.octet.moe.cpu.ScoreMath.SIGN;
import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.XOR;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * {@link ScoreMath} on vectors, with a token in each lane. The exponential is written out in each loop, for vectors
 * that cross a method's boundary are objects.
 */
final class ScoreKernels {
    private static final VectorSpecies<Float> F = Lanes.F;
    private static final int L = Lanes.COUNT;
    private static final int ONE_BITS = 0x3F80_0000;

    private ScoreKernels() {}

    static void sigmoid(float[] x, int count) {
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
        for (int i = 0; i < count; i += L) {
            FloatVector v = FloatVector.fromArray(F, x, i);
            IntVector bits = v.reinterpretAsInts();
            FloatVector y = bits.and(MAGNITUDE).min(LIMIT_BITS).or(SIGN).reinterpretAsFloats();
            FloatVector shifted = y.fma(log2e, shifter);
            FloatVector n = shifted.sub(shifter);
            FloatVector r = n.fma(low, n.fma(high, y));
            FloatVector p = e7.fma(r, e6).fma(r, e5).fma(r, e4).fma(r, e3).fma(r, e2).fma(r, one).fma(r, one);
            IntVector exponent = shifted.reinterpretAsInts().sub(SHIFTER_BITS);
            IntVector half = exponent.lanewise(ASHR, 1);
            FloatVector t = p.mul(half.add(127).lanewise(LSHL, 23).reinterpretAsFloats())
                    .mul(exponent.sub(half).add(127).lanewise(LSHL, 23).reinterpretAsFloats());
            one.blend(t, v.lt(0)).div(t.add(one)).intoArray(x, i);
        }
    }

    static void sqrtSoftplus(float[] x, int count) {
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
        FloatVector zero = FloatVector.zero(F);
        for (int i = 0; i < count; i += L) {
            FloatVector u = FloatVector.fromArray(F, x, i);
            IntVector bits = u.reinterpretAsInts();
            FloatVector y = bits.and(MAGNITUDE).min(LIMIT_BITS).or(SIGN).reinterpretAsFloats();
            FloatVector shifted = y.fma(log2e, shifter);
            FloatVector n = shifted.sub(shifter);
            FloatVector r = n.fma(low, n.fma(high, y));
            FloatVector p = e7.fma(r, e6).fma(r, e5).fma(r, e4).fma(r, e3).fma(r, e2).fma(r, one).fma(r, one);
            IntVector exponent = shifted.reinterpretAsInts().sub(SHIFTER_BITS);
            IntVector half = exponent.lanewise(ASHR, 1);
            FloatVector t = p.mul(half.add(127).lanewise(LSHL, 23).reinterpretAsFloats())
                    .mul(exponent.sub(half).add(127).lanewise(LSHL, 23).reinterpretAsFloats());
            FloatVector v = t.div(t.add(2));
            FloatVector w = v.mul(v);
            FloatVector a = FloatVector.broadcast(F, ScoreMath.A17).fma(w, FloatVector.broadcast(F, ScoreMath.A15))
                    .fma(w, FloatVector.broadcast(F, ScoreMath.A13)).fma(w, FloatVector.broadcast(F, ScoreMath.A11))
                    .fma(w, FloatVector.broadcast(F, ScoreMath.A9)).fma(w, FloatVector.broadcast(F, ScoreMath.A7))
                    .fma(w, FloatVector.broadcast(F, ScoreMath.A5)).fma(w, FloatVector.broadcast(F, ScoreMath.A3))
                    .fma(w, one);
            u.blend(zero, u.lt(0)).add(v.add(v).mul(a)).sqrt().intoArray(x, i);
        }
    }

    /** Each lane has its own maximum and its own sum, which adds the experts in their order. */
    static void softmax(float[] x, int count) {
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
        IntVector top = IntVector.broadcast(Lanes.I, ScoreMath.key(Float.floatToRawIntBits(-Float.MAX_VALUE)));
        for (int i = 0; i < count; i += L) {
            IntVector b = FloatVector.fromArray(F, x, i).reinterpretAsInts();
            top = top.max(b.lanewise(ASHR, 31).and(MAGNITUDE).lanewise(XOR, b));
        }
        FloatVector max = top.lanewise(ASHR, 31).and(MAGNITUDE).lanewise(XOR, top).reinterpretAsFloats();
        FloatVector sum = FloatVector.zero(F);
        for (int i = 0; i < count; i += L) {
            FloatVector v = FloatVector.fromArray(F, x, i).sub(max);
            IntVector bits = v.reinterpretAsInts();
            FloatVector y = bits.and(MAGNITUDE).min(LIMIT_BITS).or(SIGN).reinterpretAsFloats();
            FloatVector shifted = y.fma(log2e, shifter);
            FloatVector n = shifted.sub(shifter);
            FloatVector r = n.fma(low, n.fma(high, y));
            FloatVector p = e7.fma(r, e6).fma(r, e5).fma(r, e4).fma(r, e3).fma(r, e2).fma(r, one).fma(r, one);
            IntVector exponent = shifted.reinterpretAsInts().sub(SHIFTER_BITS);
            IntVector half = exponent.lanewise(ASHR, 1);
            FloatVector t = p.mul(half.add(127).lanewise(LSHL, 23).reinterpretAsFloats())
                    .mul(exponent.sub(half).add(127).lanewise(LSHL, 23).reinterpretAsFloats());
            sum = sum.add(t);
            t.intoArray(x, i);
        }
        sum = sum.reinterpretAsInts().max(ONE_BITS).reinterpretAsFloats();
        for (int i = 0; i < count; i += L) {
            FloatVector.fromArray(F, x, i).div(sum).intoArray(x, i);
        }
    }
}
