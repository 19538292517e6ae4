package dev.octet.moe.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.BFloat16;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.nio.ByteOrder;
import java.util.Arrays;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * On the Vector API; what does not fill a vector is left to the scalar loops.
 *
 * <p>Sums: eight rows in one pass. Each is a stream of its own from memory, which one row after the other would not be:
 * what fetches ahead in hardware begins anew with each row, and a row of a few KiB is over before it has got going. Sums
 * stay in registers, so that nothing but rows waits for memory. Fewer than eight rows have rows of zeros in front of
 * them, which leave a sum of +0 as it is; more are added in further passes.
 */
final class VectorRowKernels implements RowKernels {
    static final RowKernels KERNELS = new VectorRowKernels();

    private static final VectorSpecies<Float> F = Lanes.F;
    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final VectorSpecies<Short> S = Lanes.S;
    private static final VectorSpecies<Byte> B = VectorSpecies.of(byte.class, Lanes.F.vectorShape());
    private static final int L = Lanes.COUNT;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    /** Rows of a pass. */
    private static final int ROWS = 8;

    private final RowKernels rest = ScalarRowKernels.KERNELS;
    private final ThreadLocal<Pass> pass = ThreadLocal.withInitial(Pass::new);

    private VectorRowKernels() {}

    /** What a thread keeps for its passes. */
    private static final class Pass {
        final long[] rows = new long[ROWS];
        final float[] weights = new float[ROWS];
        /** Zeros that nobody overwrites. */
        private MemorySegment zeros = MemorySegment.NULL;
        private MemorySegment sums = MemorySegment.NULL;

        /** Grows both rows to so many floats. */
        void room(int n) {
            if (zeros.byteSize() < 4L * n) {
                zeros = Arena.ofAuto().allocate(4L * n, 64);
                sums = Arena.ofAuto().allocate(4L * n, 64);
            }
        }

        /** Takes as many rows as a pass has, or those that are left with zeros in front. */
        void take(long[] from, float[] by, int first, int count) {
            int zero = Math.max(0, ROWS - (count - first));
            Arrays.fill(rows, 0, zero, zeros.address());
            Arrays.fill(weights, 0, zero, 0);
            System.arraycopy(from, first, rows, zero, ROWS - zero);
            System.arraycopy(by, first, weights, zero, ROWS - zero);
        }
    }

    @Override
    public void sum(long[] rows, float[] weights, int count, boolean bf16, long out, boolean outBf16, int first,
            int end) {
        int n = end - first;
        int done = n - n % (2 * L);
        Pass p = pass.get();
        p.room(end);
        if (bf16 && outBf16 && count <= ROWS) {
            p.take(rows, weights, 0, count);
            halvesToHalves(p.rows, p.weights, out, first, first + done);
        } else {
            long sums = outBf16 ? p.sums.address() : out;
            long before = p.zeros.address();
            for (int j = 0; j == 0 || j < count; j += ROWS) {
                p.take(rows, weights, j, count);
                if (bf16) {
                    halvesToFloats(p.rows, p.weights, before, sums, first, first + done);
                } else {
                    floatsToFloats(p.rows, p.weights, before, sums, first, first + done);
                }
                before = sums;
            }
            if (outBf16) {
                round(sums, out, first, first + done);
            }
        }
        Reference.reachabilityFence(p);
        rest.sum(rows, weights, count, bf16, out, outBf16, first + done, end);
    }

    /** Two columns in each int: the even ones are its low halves. */
    private static void halvesToHalves(long[] rows, float[] weights, long out, int first, int end) {
        long r0 = rows[0];
        long r1 = rows[1];
        long r2 = rows[2];
        long r3 = rows[3];
        long r4 = rows[4];
        long r5 = rows[5];
        long r6 = rows[6];
        long r7 = rows[7];
        FloatVector w0 = FloatVector.broadcast(F, weights[0]);
        FloatVector w1 = FloatVector.broadcast(F, weights[1]);
        FloatVector w2 = FloatVector.broadcast(F, weights[2]);
        FloatVector w3 = FloatVector.broadcast(F, weights[3]);
        FloatVector w4 = FloatVector.broadcast(F, weights[4]);
        FloatVector w5 = FloatVector.broadcast(F, weights[5]);
        FloatVector w6 = FloatVector.broadcast(F, weights[6]);
        FloatVector w7 = FloatVector.broadcast(F, weights[7]);
        for (int i = first; i < end; i += 2 * L) {
            FloatVector even = FloatVector.zero(F);
            FloatVector odd = even;
            IntVector x0 = IntVector.fromMemorySegment(I, ALL, r0 + 2L * i, LE);
            even = x0.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(w0, even);
            odd = x0.and(0xFFFF0000).reinterpretAsFloats().fma(w0, odd);
            IntVector x1 = IntVector.fromMemorySegment(I, ALL, r1 + 2L * i, LE);
            even = x1.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(w1, even);
            odd = x1.and(0xFFFF0000).reinterpretAsFloats().fma(w1, odd);
            IntVector x2 = IntVector.fromMemorySegment(I, ALL, r2 + 2L * i, LE);
            even = x2.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(w2, even);
            odd = x2.and(0xFFFF0000).reinterpretAsFloats().fma(w2, odd);
            IntVector x3 = IntVector.fromMemorySegment(I, ALL, r3 + 2L * i, LE);
            even = x3.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(w3, even);
            odd = x3.and(0xFFFF0000).reinterpretAsFloats().fma(w3, odd);
            IntVector x4 = IntVector.fromMemorySegment(I, ALL, r4 + 2L * i, LE);
            even = x4.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(w4, even);
            odd = x4.and(0xFFFF0000).reinterpretAsFloats().fma(w4, odd);
            IntVector x5 = IntVector.fromMemorySegment(I, ALL, r5 + 2L * i, LE);
            even = x5.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(w5, even);
            odd = x5.and(0xFFFF0000).reinterpretAsFloats().fma(w5, odd);
            IntVector x6 = IntVector.fromMemorySegment(I, ALL, r6 + 2L * i, LE);
            even = x6.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(w6, even);
            odd = x6.and(0xFFFF0000).reinterpretAsFloats().fma(w6, odd);
            IntVector x7 = IntVector.fromMemorySegment(I, ALL, r7 + 2L * i, LE);
            even = x7.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().fma(w7, even);
            odd = x7.and(0xFFFF0000).reinterpretAsFloats().fma(w7, odd);
            IntVector low = even.reinterpretAsInts();
            IntVector lowTop = low.lanewise(VectorOperators.LSHR, 16);
            low = low.add(lowTop.and(1)).add(0x7FFF).lanewise(VectorOperators.LSHR, 16)
                    .blend(lowTop.and(0x8000).or(0x7FC0), even.test(VectorOperators.IS_NAN).cast(I));
            IntVector high = odd.reinterpretAsInts();
            IntVector nan = high.and(0x80000000).or(0x7FC00000);
            high = high.add(high.lanewise(VectorOperators.LSHR, 16).and(1)).add(0x7FFF)
                    .blend(nan, odd.test(VectorOperators.IS_NAN).cast(I)).and(0xFFFF0000);
            low.or(high).intoMemorySegment(ALL, out + 2L * i, LE);
        }
    }

    private static void halvesToFloats(long[] rows, float[] weights, long before, long out, int first, int end) {
        long r0 = rows[0];
        long r1 = rows[1];
        long r2 = rows[2];
        long r3 = rows[3];
        long r4 = rows[4];
        long r5 = rows[5];
        long r6 = rows[6];
        long r7 = rows[7];
        FloatVector w0 = FloatVector.broadcast(F, weights[0]);
        FloatVector w1 = FloatVector.broadcast(F, weights[1]);
        FloatVector w2 = FloatVector.broadcast(F, weights[2]);
        FloatVector w3 = FloatVector.broadcast(F, weights[3]);
        FloatVector w4 = FloatVector.broadcast(F, weights[4]);
        FloatVector w5 = FloatVector.broadcast(F, weights[5]);
        FloatVector w6 = FloatVector.broadcast(F, weights[6]);
        FloatVector w7 = FloatVector.broadcast(F, weights[7]);
        for (int i = first; i < end; i += L) {
            FloatVector sum = FloatVector.fromMemorySegment(F, ALL, before + 4L * i, LE);
            sum = ((IntVector) ShortVector.fromMemorySegment(S, ALL, r0 + 2L * i, LE)
                    .convertShape(VectorOperators.S2I, I, 0)).lanewise(VectorOperators.LSHL, 16)
                    .reinterpretAsFloats().fma(w0, sum);
            sum = ((IntVector) ShortVector.fromMemorySegment(S, ALL, r1 + 2L * i, LE)
                    .convertShape(VectorOperators.S2I, I, 0)).lanewise(VectorOperators.LSHL, 16)
                    .reinterpretAsFloats().fma(w1, sum);
            sum = ((IntVector) ShortVector.fromMemorySegment(S, ALL, r2 + 2L * i, LE)
                    .convertShape(VectorOperators.S2I, I, 0)).lanewise(VectorOperators.LSHL, 16)
                    .reinterpretAsFloats().fma(w2, sum);
            sum = ((IntVector) ShortVector.fromMemorySegment(S, ALL, r3 + 2L * i, LE)
                    .convertShape(VectorOperators.S2I, I, 0)).lanewise(VectorOperators.LSHL, 16)
                    .reinterpretAsFloats().fma(w3, sum);
            sum = ((IntVector) ShortVector.fromMemorySegment(S, ALL, r4 + 2L * i, LE)
                    .convertShape(VectorOperators.S2I, I, 0)).lanewise(VectorOperators.LSHL, 16)
                    .reinterpretAsFloats().fma(w4, sum);
            sum = ((IntVector) ShortVector.fromMemorySegment(S, ALL, r5 + 2L * i, LE)
                    .convertShape(VectorOperators.S2I, I, 0)).lanewise(VectorOperators.LSHL, 16)
                    .reinterpretAsFloats().fma(w5, sum);
            sum = ((IntVector) ShortVector.fromMemorySegment(S, ALL, r6 + 2L * i, LE)
                    .convertShape(VectorOperators.S2I, I, 0)).lanewise(VectorOperators.LSHL, 16)
                    .reinterpretAsFloats().fma(w6, sum);
            sum = ((IntVector) ShortVector.fromMemorySegment(S, ALL, r7 + 2L * i, LE)
                    .convertShape(VectorOperators.S2I, I, 0)).lanewise(VectorOperators.LSHL, 16)
                    .reinterpretAsFloats().fma(w7, sum);
            sum.intoMemorySegment(ALL, out + 4L * i, LE);
        }
    }

    private static void floatsToFloats(long[] rows, float[] weights, long before, long out, int first, int end) {
        long r0 = rows[0];
        long r1 = rows[1];
        long r2 = rows[2];
        long r3 = rows[3];
        long r4 = rows[4];
        long r5 = rows[5];
        long r6 = rows[6];
        long r7 = rows[7];
        FloatVector w0 = FloatVector.broadcast(F, weights[0]);
        FloatVector w1 = FloatVector.broadcast(F, weights[1]);
        FloatVector w2 = FloatVector.broadcast(F, weights[2]);
        FloatVector w3 = FloatVector.broadcast(F, weights[3]);
        FloatVector w4 = FloatVector.broadcast(F, weights[4]);
        FloatVector w5 = FloatVector.broadcast(F, weights[5]);
        FloatVector w6 = FloatVector.broadcast(F, weights[6]);
        FloatVector w7 = FloatVector.broadcast(F, weights[7]);
        for (int i = first; i < end; i += L) {
            FloatVector sum = FloatVector.fromMemorySegment(F, ALL, before + 4L * i, LE);
            sum = FloatVector.fromMemorySegment(F, ALL, r0 + 4L * i, LE).fma(w0, sum);
            sum = FloatVector.fromMemorySegment(F, ALL, r1 + 4L * i, LE).fma(w1, sum);
            sum = FloatVector.fromMemorySegment(F, ALL, r2 + 4L * i, LE).fma(w2, sum);
            sum = FloatVector.fromMemorySegment(F, ALL, r3 + 4L * i, LE).fma(w3, sum);
            sum = FloatVector.fromMemorySegment(F, ALL, r4 + 4L * i, LE).fma(w4, sum);
            sum = FloatVector.fromMemorySegment(F, ALL, r5 + 4L * i, LE).fma(w5, sum);
            sum = FloatVector.fromMemorySegment(F, ALL, r6 + 4L * i, LE).fma(w6, sum);
            sum = FloatVector.fromMemorySegment(F, ALL, r7 + 4L * i, LE).fma(w7, sum);
            sum.intoMemorySegment(ALL, out + 4L * i, LE);
        }
    }

    private static void round(long from, long to, int first, int end) {
        for (int i = first; i < end; i += L) {
            FloatVector v = FloatVector.fromMemorySegment(F, ALL, from + 4L * i, LE);
            IntVector bits = v.reinterpretAsInts();
            IntVector top = bits.lanewise(VectorOperators.LSHR, 16);
            bits.add(top.and(1)).add(0x7FFF).lanewise(VectorOperators.LSHR, 16)
                    .blend(top.and(0x8000).or(0x7FC0), v.test(VectorOperators.IS_NAN).cast(I))
                    .convertShape(VectorOperators.I2S, S, 0).reinterpretAsShorts()
                    .intoMemorySegment(ALL, to + 2L * i, LE);
        }
    }

    @Override
    public void scale(long row, float weight, long out, boolean bf16, int first, int end) {
        int n = end - first;
        int done = n - n % (2 * L);
        if (bf16) {
            scaleHalves(row, weight, out, first, first + done);
        } else {
            scaleFloats(row, weight, out, first, first + done);
        }
        rest.scale(row, weight, out, bf16, first + done, end);
    }

    private static void scaleHalves(long row, float weight, long out, int first, int end) {
        FloatVector w = FloatVector.broadcast(F, weight);
        for (int i = first; i < end; i += 2 * L) {
            IntVector x = IntVector.fromMemorySegment(I, ALL, row + 2L * i, LE);
            FloatVector even = x.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().mul(w);
            FloatVector odd = x.and(0xFFFF0000).reinterpretAsFloats().mul(w);
            IntVector low = even.reinterpretAsInts();
            IntVector lowTop = low.lanewise(VectorOperators.LSHR, 16);
            low = low.add(lowTop.and(1)).add(0x7FFF).lanewise(VectorOperators.LSHR, 16)
                    .blend(lowTop.and(0x8000).or(0x7FC0), even.test(VectorOperators.IS_NAN).cast(I));
            IntVector high = odd.reinterpretAsInts();
            IntVector nan = high.and(0x80000000).or(0x7FC00000);
            high = high.add(high.lanewise(VectorOperators.LSHR, 16).and(1)).add(0x7FFF)
                    .blend(nan, odd.test(VectorOperators.IS_NAN).cast(I)).and(0xFFFF0000);
            low.or(high).intoMemorySegment(ALL, out + 2L * i, LE);
        }
    }

    private static void scaleFloats(long row, float weight, long out, int first, int end) {
        FloatVector w = FloatVector.broadcast(F, weight);
        for (int i = first; i < end; i += L) {
            FloatVector.fromMemorySegment(F, ALL, row + 4L * i, LE).mul(w)
                    .intoMemorySegment(ALL, out + 4L * i, LE);
        }
    }

    @Override
    public void copy(long row, long out, long bytes) {
        // Not by MemorySegment.copy, which was seen to take a tenth longer for rows of a few KiB.
        int whole = (int) Math.min(bytes, 1 << 30) / B.length() * B.length();
        copyVectors(row, out, whole);
        rest.copy(row + whole, out + whole, bytes - whole);
    }

    private static void copyVectors(long row, long out, int bytes) {
        for (int i = 0; i < bytes; i += B.length()) {
            ByteVector.fromMemorySegment(B, ALL, row + i, LE).intoMemorySegment(ALL, out + i, LE);
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
            x[i] = BFloat16.toFloat(ALL.get(ValueLayout.JAVA_SHORT_UNALIGNED, row + 2L * i));
        }
    }

    private static void loadHalves(long row, float[] x, int n) {
        for (int i = 0; i < n; i += L) {
            ((IntVector) ShortVector.fromMemorySegment(S, ALL, row + 2L * i, LE)
                    .convertShape(VectorOperators.S2I, I, 0)).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats()
                    .intoArray(x, i);
        }
    }
}
