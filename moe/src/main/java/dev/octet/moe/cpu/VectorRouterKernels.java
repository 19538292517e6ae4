package dev.octet.moe.cpu;

import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.ZERO_EXTEND_S2I;

import dev.octet.core.DType;
import dev.octet.core.cpu.NativeMemory;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorSpecies;

/** Sixteen or four accumulators; no row is read twice from beyond L1. */
final class VectorRouterKernels implements RouterKernels {
    static final VectorRouterKernels KERNELS = new VectorRouterKernels();

    private static final VectorSpecies<Float> F = Lanes.F;
    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final VectorSpecies<Short> S = Lanes.S;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    private static final int L = Lanes.COUNT;

    private VectorRouterKernels() {}

    @Override
    public int lanes() {
        return L;
    }

    @Override
    public void tile(float[] a, int aAt, float[] b, int bAt, int stride, int length, float[] sums, int sumsAt) {
        FloatVector s00 = FloatVector.fromArray(F, sums, sumsAt);
        FloatVector s01 = FloatVector.fromArray(F, sums, sumsAt + L);
        FloatVector s02 = FloatVector.fromArray(F, sums, sumsAt + 2 * L);
        FloatVector s03 = FloatVector.fromArray(F, sums, sumsAt + 3 * L);
        FloatVector s10 = FloatVector.fromArray(F, sums, sumsAt + 4 * L);
        FloatVector s11 = FloatVector.fromArray(F, sums, sumsAt + 5 * L);
        FloatVector s12 = FloatVector.fromArray(F, sums, sumsAt + 6 * L);
        FloatVector s13 = FloatVector.fromArray(F, sums, sumsAt + 7 * L);
        FloatVector s20 = FloatVector.fromArray(F, sums, sumsAt + 8 * L);
        FloatVector s21 = FloatVector.fromArray(F, sums, sumsAt + 9 * L);
        FloatVector s22 = FloatVector.fromArray(F, sums, sumsAt + 10 * L);
        FloatVector s23 = FloatVector.fromArray(F, sums, sumsAt + 11 * L);
        FloatVector s30 = FloatVector.fromArray(F, sums, sumsAt + 12 * L);
        FloatVector s31 = FloatVector.fromArray(F, sums, sumsAt + 13 * L);
        FloatVector s32 = FloatVector.fromArray(F, sums, sumsAt + 14 * L);
        FloatVector s33 = FloatVector.fromArray(F, sums, sumsAt + 15 * L);
        for (int i = 0; i < length; i += L) {
            FloatVector b0 = FloatVector.fromArray(F, b, bAt + i);
            FloatVector b1 = FloatVector.fromArray(F, b, bAt + stride + i);
            FloatVector b2 = FloatVector.fromArray(F, b, bAt + 2 * stride + i);
            FloatVector b3 = FloatVector.fromArray(F, b, bAt + 3 * stride + i);
            FloatVector a0 = FloatVector.fromArray(F, a, aAt + i);
            s00 = a0.fma(b0, s00);
            s01 = a0.fma(b1, s01);
            s02 = a0.fma(b2, s02);
            s03 = a0.fma(b3, s03);
            FloatVector a1 = FloatVector.fromArray(F, a, aAt + stride + i);
            s10 = a1.fma(b0, s10);
            s11 = a1.fma(b1, s11);
            s12 = a1.fma(b2, s12);
            s13 = a1.fma(b3, s13);
            FloatVector a2 = FloatVector.fromArray(F, a, aAt + 2 * stride + i);
            s20 = a2.fma(b0, s20);
            s21 = a2.fma(b1, s21);
            s22 = a2.fma(b2, s22);
            s23 = a2.fma(b3, s23);
            FloatVector a3 = FloatVector.fromArray(F, a, aAt + 3 * stride + i);
            s30 = a3.fma(b0, s30);
            s31 = a3.fma(b1, s31);
            s32 = a3.fma(b2, s32);
            s33 = a3.fma(b3, s33);
        }
        s00.intoArray(sums, sumsAt);
        s01.intoArray(sums, sumsAt + L);
        s02.intoArray(sums, sumsAt + 2 * L);
        s03.intoArray(sums, sumsAt + 3 * L);
        s10.intoArray(sums, sumsAt + 4 * L);
        s11.intoArray(sums, sumsAt + 5 * L);
        s12.intoArray(sums, sumsAt + 6 * L);
        s13.intoArray(sums, sumsAt + 7 * L);
        s20.intoArray(sums, sumsAt + 8 * L);
        s21.intoArray(sums, sumsAt + 9 * L);
        s22.intoArray(sums, sumsAt + 10 * L);
        s23.intoArray(sums, sumsAt + 11 * L);
        s30.intoArray(sums, sumsAt + 12 * L);
        s31.intoArray(sums, sumsAt + 13 * L);
        s32.intoArray(sums, sumsAt + 14 * L);
        s33.intoArray(sums, sumsAt + 15 * L);
    }

    @Override
    public void row(float[] a, int aAt, long b, long bStride, DType type, int length, float[] sums) {
        if (type == DType.F32) {
            rowOfFloats(a, aAt, b, bStride, length, sums);
        } else {
            rowOfHalves(a, aAt, b, bStride, length, sums);
        }
    }

    private static void rowOfFloats(float[] a, int aAt, long b, long bStride, int length, float[] sums) {
        FloatVector s0 = FloatVector.fromArray(F, sums, 0);
        FloatVector s1 = FloatVector.fromArray(F, sums, L);
        FloatVector s2 = FloatVector.fromArray(F, sums, 2 * L);
        FloatVector s3 = FloatVector.fromArray(F, sums, 3 * L);
        for (int i = 0; i < length; i += L) {
            long at = b + 4L * i;
            FloatVector x = FloatVector.fromArray(F, a, aAt + i);
            s0 = FloatVector.fromMemorySegment(F, NativeMemory.ALL, at, LE).fma(x, s0);
            s1 = FloatVector.fromMemorySegment(F, NativeMemory.ALL, at + bStride, LE).fma(x, s1);
            s2 = FloatVector.fromMemorySegment(F, NativeMemory.ALL, at + 2 * bStride, LE).fma(x, s2);
            s3 = FloatVector.fromMemorySegment(F, NativeMemory.ALL, at + 3 * bStride, LE).fma(x, s3);
        }
        s0.intoArray(sums, 0);
        s1.intoArray(sums, L);
        s2.intoArray(sums, 2 * L);
        s3.intoArray(sums, 3 * L);
    }

    private static void rowOfHalves(float[] a, int aAt, long b, long bStride, int length, float[] sums) {
        FloatVector s0 = FloatVector.fromArray(F, sums, 0);
        FloatVector s1 = FloatVector.fromArray(F, sums, L);
        FloatVector s2 = FloatVector.fromArray(F, sums, 2 * L);
        FloatVector s3 = FloatVector.fromArray(F, sums, 3 * L);
        for (int i = 0; i < length; i += L) {
            long at = b + 2L * i;
            FloatVector x = FloatVector.fromArray(F, a, aAt + i);
            s0 = ((IntVector) ShortVector.fromMemorySegment(S, NativeMemory.ALL, at, LE)
                    .convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().fma(x, s0);
            s1 = ((IntVector) ShortVector.fromMemorySegment(S, NativeMemory.ALL, at + bStride, LE)
                    .convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().fma(x, s1);
            s2 = ((IntVector) ShortVector.fromMemorySegment(S, NativeMemory.ALL, at + 2 * bStride, LE)
                    .convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().fma(x, s2);
            s3 = ((IntVector) ShortVector.fromMemorySegment(S, NativeMemory.ALL, at + 3 * bStride, LE)
                    .convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats().fma(x, s3);
        }
        s0.intoArray(sums, 0);
        s1.intoArray(sums, L);
        s2.intoArray(sums, 2 * L);
        s3.intoArray(sums, 3 * L);
    }

    @Override
    public void widen(long row, float[] to, int at, int length) {
        int whole = length / L * L;
        widenVectors(row, to, at, whole);
        for (int i = whole; i < length; i++) {
            to[at + i] = Float.intBitsToFloat(NativeMemory.ALL.get(Router.I16, row + 2L * i) << 16);
        }
    }

    private static void widenVectors(long row, float[] to, int at, int length) {
        for (int i = 0; i < length; i += L) {
            ((IntVector) ShortVector.fromMemorySegment(S, NativeMemory.ALL, row + 2L * i, LE)
                    .convertShape(ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16).reinterpretAsFloats()
                    .intoArray(to, at + i);
        }
    }
}
