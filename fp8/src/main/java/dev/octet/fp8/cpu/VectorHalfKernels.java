package dev.octet.fp8.cpu;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * F16 to F32 and back on the Vector API, by the arithmetic of {@link FloatFormat}: F16 is E5M2 with eight more bits.
 */
final class VectorHalfKernels extends VectorColumnKernels {
    /** One F16 for each lane of {@link #I}. */
    private static final VectorSpecies<Short> HALF =
            VectorSpecies.of(short.class, VectorShape.forBitSize(SHAPE.vectorBitSize() / 2));
    private static final int SHIFT = 13;
    private static final int MIN_NORMAL = Float.floatToRawIntBits(0x1p-14f);
    /** What would come after the largest F16: overflow rounds to it, and its code is that of infinity. */
    private static final int OVERFLOW = Float.floatToRawIntBits(65536f);
    private static final int MAGIC = (SHIFT << 23) + (-(MIN_NORMAL >>> SHIFT) & 0xFFFF);
    private static final int NAN = 0x7E00;

    @Override
    public void widen(MemorySegment halves, long halvesAt, long n, MemorySegment y, long at) {
        long end = n - n % LANES;
        for (long i = 0; i < end; i += LANES) {
            IntVector f = ((IntVector) ShortVector.fromMemorySegment(HALF, halves, halvesAt + 2 * i, LITTLE)
                    .convertShape(VectorOperators.S2I, I, 0)).lanewise(VectorOperators.LSHL, 16)
                    .lanewise(VectorOperators.ASHR, 16 - SHIFT).and(0x8FFF_E000).reinterpretAsFloats().mul(0x1p112f)
                    .reinterpretAsInts();
            f.lanewise(VectorOperators.OR, INFINITY, f.and(MAGNITUDE).compare(VectorOperators.GE, OVERFLOW))
                    .intoMemorySegment(y, at + 4 * i, LITTLE);
        }
        widenFrom(end, halves, halvesAt, n, y, at);
    }

    @Override
    public void narrow(MemorySegment x, long at, long n, MemorySegment halves, long halvesAt) {
        long end = n - n % LANES;
        for (long i = 0; i < end; i += LANES) {
            IntVector v = IntVector.fromMemorySegment(I, x, at + 4 * i, LITTLE);
            IntVector a = v.and(MAGNITUDE);
            FloatVector c = a.min(OVERFLOW).reinterpretAsFloats();
            IntVector e = c.reinterpretAsInts().max(MIN_NORMAL).and(INFINITY);
            IntVector code = c.add(e.add(MAGIC).reinterpretAsFloats()).reinterpretAsInts()
                    .add(e.lanewise(VectorOperators.LSHR, SHIFT)).blend(NAN, a.compare(VectorOperators.GT, INFINITY))
                    .and(0x7FFF).or(v.lanewise(VectorOperators.LSHR, 16).and(0x8000));
            ((ShortVector) code.convertShape(VectorOperators.I2S, HALF, 0))
                    .intoMemorySegment(halves, halvesAt + 2 * i, LITTLE);
        }
        narrowFrom(end, x, at, n, halves, halvesAt);
    }
}
