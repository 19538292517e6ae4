package dev.octet.mla.cpu;

import dev.octet.core.cpu.CpuConfig;
import dev.octet.mla.CacheFormat;
import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * The inner loops of records on the Vector API, bit for bit those of {@link RecordKernels}. A cast to E4M3 lets an FP32
 * addition round: with {@code b} the bits of |x * factor| and {@code e} their exponent field, at least that of the
 * smallest normal code,
 * {@snippet lang=text :
 * t    = float(b) + float(e + 20 exponents)     the last place of t is that of the code; ties go to even
 * code = low bits of t + (e >>> 20) - bias      the lowest bits of t are the significand with its leading one
 * }
 * Products of a finite tile are at most 448, and half a last place of FP32 more, so nothing saturates.
 */
final class VectorRecordKernels extends RecordKernels {
    static final RecordKernels KERNELS = new VectorRecordKernels();

    private static final VectorShape SHAPE = VectorShape.forBitSize(CpuConfig.vectorBits());
    private static final VectorSpecies<Integer> I = VectorSpecies.of(int.class, SHAPE);
    private static final VectorSpecies<Float> F = VectorSpecies.of(float.class, SHAPE);
    /** As many 16-bit lanes as {@link #I} has lanes. */
    private static final VectorSpecies<Short> HALVES =
            VectorSpecies.of(short.class, VectorShape.forBitSize(CpuConfig.vectorBits() / 2));
    /** One code for each lane of {@link #I}; with 128-bit vectors it is half used, as there is none of 32 bits. */
    private static final VectorSpecies<Byte> CODES =
            VectorSpecies.of(byte.class, VectorShape.forBitSize(Math.max(64, CpuConfig.vectorBits() / 4)));
    private static final int LANES = I.length();
    /** Whether the codes of one vector of floats are a 32-bit word, which is not a vector. */
    private static final boolean WORD = LANES == 4;
    private static final ByteOrder LITTLE = ByteOrder.LITTLE_ENDIAN;

    private static final int INFINITY = 0x7F80_0000;
    private static final int MIN_NORMAL = Float.floatToRawIntBits(0x1p-6f);
    /** 20 exponents; and, from the lowest bits, what makes {@link #MIN_NORMAL}'s exponent count as 0, modulo 256. */
    private static final int MAGIC = (20 << 23) + (-(MIN_NORMAL >>> 20) & 0xFF);

    private VectorRecordKernels() {}

    @Override
    void narrow(long x, long y, int n) {
        int end = n - n % LANES;
        for (int i = 0; i < end; i += LANES) {
            IntVector v = IntVector.fromMemorySegment(I, ALL, x + 4L * i, LITTLE);
            IntVector rounded = v.add(0x7FFF).add(v.lanewise(VectorOperators.LSHR, 16).and(1));
            VectorMask<Integer> nan = v.and(MAGNITUDE).compare(VectorOperators.GT, INFINITY);
            IntVector bits = rounded.blend(v.and(~MAGNITUDE).or(NAN), nan).lanewise(VectorOperators.LSHR, 16);
            ((ShortVector) bits.convertShape(VectorOperators.I2S, HALVES, 0)).intoMemorySegment(ALL, y + 2L * i,
                    LITTLE);
        }
        narrow(x, y, end, n);
    }

    @Override
    void widen(long x, long y, int n) {
        int end = n - n % LANES;
        for (int i = 0; i < end; i += LANES) {
            IntVector v = (IntVector) ShortVector.fromMemorySegment(HALVES, ALL, x + 2L * i, LITTLE)
                    .convertShape(VectorOperators.S2I, I, 0);
            v.lanewise(VectorOperators.LSHL, 16).intoMemorySegment(ALL, y + 4L * i, LITTLE);
        }
        widen(x, y, end, n);
    }

    @Override
    void encode(CacheFormat format, long x, boolean bf16, int tiles, long codes, long scales) {
        if (bf16) {
            encodeBF16(format, x, tiles, codes, scales);
        } else {
            encodeF32(format, x, tiles, codes, scales);
        }
    }

    private static void encodeF32(CacheFormat format, long x, int tiles, long codes, long scales) {
        IntVector minNormal = IntVector.broadcast(I, MIN_NORMAL);
        IntVector magic = IntVector.broadcast(I, MAGIC);
        for (int t = 0; t < tiles; t++) {
            long tile = x + 4L * TILE * t;
            long out = codes + (long) TILE * t;
            IntVector max = IntVector.zero(I);
            for (int i = 0; i < TILE; i += LANES) {
                max = IntVector.fromMemorySegment(I, ALL, tile + 4L * i, LITTLE).and(MAGNITUDE).max(max);
            }
            float factor = storeScale(format, max.reduceLanes(VectorOperators.MAX), scales + 4L * t);
            if (!(factor > 0)) {
                encodeTile(tile, false, factor, out);
                continue;
            }
            FloatVector factors = FloatVector.broadcast(F, factor);
            for (int i = 0; i < TILE; i += LANES) {
                IntVector v = IntVector.fromMemorySegment(I, ALL, tile + 4L * i, LITTLE);
                IntVector b = v.and(MAGNITUDE).reinterpretAsFloats().mul(factors).reinterpretAsInts();
                IntVector e = b.max(minNormal).and(INFINITY);
                IntVector s = b.reinterpretAsFloats().add(e.add(magic).reinterpretAsFloats()).reinterpretAsInts();
                IntVector code = s.add(e.lanewise(VectorOperators.LSHR, 20)).and(0x7F)
                        .or(v.lanewise(VectorOperators.LSHR, 24).and(0x80));
                ByteVector bytes = (ByteVector) code.convertShape(VectorOperators.I2B, CODES, 0);
                if (WORD) {
                    ALL.set(I32, out + i, bytes.reinterpretAsInts().lane(0));
                } else {
                    bytes.intoMemorySegment(ALL, out + i, LITTLE);
                }
            }
        }
    }

    private static void encodeBF16(CacheFormat format, long x, int tiles, long codes, long scales) {
        IntVector minNormal = IntVector.broadcast(I, MIN_NORMAL);
        IntVector magic = IntVector.broadcast(I, MAGIC);
        for (int t = 0; t < tiles; t++) {
            long tile = x + 2L * TILE * t;
            long out = codes + (long) TILE * t;
            IntVector max = IntVector.zero(I);
            for (int i = 0; i < TILE; i += LANES) {
                IntVector v = (IntVector) ShortVector.fromMemorySegment(HALVES, ALL, tile + 2L * i, LITTLE)
                        .convertShape(VectorOperators.S2I, I, 0);
                max = v.and(0x7FFF).max(max);
            }
            float factor = storeScale(format, max.reduceLanes(VectorOperators.MAX) << 16, scales + 4L * t);
            if (!(factor > 0)) {
                encodeTile(tile, true, factor, out);
                continue;
            }
            FloatVector factors = FloatVector.broadcast(F, factor);
            for (int i = 0; i < TILE; i += LANES) {
                IntVector v = (IntVector) ShortVector.fromMemorySegment(HALVES, ALL, tile + 2L * i, LITTLE)
                        .convertShape(VectorOperators.S2I, I, 0);
                IntVector b = v.and(0x7FFF).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().mul(factors)
                        .reinterpretAsInts();
                IntVector e = b.max(minNormal).and(INFINITY);
                IntVector s = b.reinterpretAsFloats().add(e.add(magic).reinterpretAsFloats()).reinterpretAsInts();
                IntVector code = s.add(e.lanewise(VectorOperators.LSHR, 20)).and(0x7F)
                        .or(v.lanewise(VectorOperators.LSHR, 8).and(0x80));
                ByteVector bytes = (ByteVector) code.convertShape(VectorOperators.I2B, CODES, 0);
                if (WORD) {
                    ALL.set(I32, out + i, bytes.reinterpretAsInts().lane(0));
                } else {
                    bytes.intoMemorySegment(ALL, out + i, LITTLE);
                }
            }
        }
    }

    @Override
    void decode(long codes, long scales, int tiles, long y, boolean bf16) {
        if (bf16) {
            decodeBF16(codes, scales, tiles, y);
        } else {
            decodeF32(codes, scales, tiles, y);
        }
    }

    private static void decodeF32(long codes, long scales, int tiles, long y) {
        IntVector nan = IntVector.broadcast(I, NAN);
        for (int t = 0; t < tiles; t++) {
            long in = codes + (long) TILE * t;
            long out = y + 4L * TILE * t;
            float scale = ALL.get(F32, scales + 4L * t);
            if (!(Math.abs(scale) < Float.POSITIVE_INFINITY)) {
                decodeTile(in, scale, out, false);
                continue;
            }
            FloatVector factors = FloatVector.broadcast(F, scale);
            for (int i = 0; i < TILE; i += LANES) {
                // With 128-bit vectors this reads 4 bytes more than it uses; behind the codes are the scales.
                IntVector v = (IntVector) ByteVector.fromMemorySegment(CODES, ALL, in + i, LITTLE)
                        .convertShape(VectorOperators.B2I, I, 0);
                IntVector value = v.lanewise(VectorOperators.LSHL, 20).and(0x87F0_0000).reinterpretAsFloats()
                        .mul(0x1p120f).mul(factors).reinterpretAsInts();
                value.blend(nan, v.and(0x7F).compare(VectorOperators.EQ, 0x7F)).intoMemorySegment(ALL, out + 4L * i,
                        LITTLE);
            }
        }
    }

    private static void decodeBF16(long codes, long scales, int tiles, long y) {
        IntVector nan = IntVector.broadcast(I, NAN);
        for (int t = 0; t < tiles; t++) {
            long in = codes + (long) TILE * t;
            long out = y + 2L * TILE * t;
            float scale = ALL.get(F32, scales + 4L * t);
            if (!(Math.abs(scale) < Float.POSITIVE_INFINITY)) {
                decodeTile(in, scale, out, true);
                continue;
            }
            FloatVector factors = FloatVector.broadcast(F, scale);
            for (int i = 0; i < TILE; i += LANES) {
                IntVector v = (IntVector) ByteVector.fromMemorySegment(CODES, ALL, in + i, LITTLE)
                        .convertShape(VectorOperators.B2I, I, 0);
                IntVector value = v.lanewise(VectorOperators.LSHL, 20).and(0x87F0_0000).reinterpretAsFloats()
                        .mul(0x1p120f).mul(factors).reinterpretAsInts();
                IntVector rounded = value.add(0x7FFF).add(value.lanewise(VectorOperators.LSHR, 16).and(1))
                        .blend(nan, v.and(0x7F).compare(VectorOperators.EQ, 0x7F)).lanewise(VectorOperators.LSHR, 16);
                ((ShortVector) rounded.convertShape(VectorOperators.I2S, HALVES, 0)).intoMemorySegment(ALL,
                        out + 2L * i, LITTLE);
            }
        }
    }
}
