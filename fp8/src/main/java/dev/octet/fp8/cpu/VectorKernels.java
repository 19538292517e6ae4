package dev.octet.fp8.cpu;

import static dev.octet.fp8.cpu.MatrixView.F32;
import static dev.octet.fp8.cpu.MatrixView.I32;

import dev.octet.core.cpu.CpuConfig;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * The inner loops over blocks on the Vector API; {@link FloatFormat} has the arithmetic. BF16 is read as pairs in
 * 32-bit lanes: the lower half of a lane is an even column, the upper half the odd one after it, and their two codes
 * take the lower bytes of its 16-bit halves, so that nothing is ever shuffled.
 */
class VectorKernels extends ScalarKernels {
    static final VectorShape SHAPE = VectorShape.forBitSize(CpuConfig.vectorBits());
    static final VectorSpecies<Integer> I = VectorSpecies.of(int.class, SHAPE);
    static final VectorSpecies<Float> F = VectorSpecies.of(float.class, SHAPE);
    /** Two codes for each lane of {@link #I}, one in the lower byte of each 16-bit lane. */
    static final VectorSpecies<Short> PAIRS = VectorSpecies.of(short.class, SHAPE);
    /** The same, one in each byte. */
    static final VectorSpecies<Byte> PACKED =
            VectorSpecies.of(byte.class, VectorShape.forBitSize(CpuConfig.vectorBits() / 2));
    /** One code for each lane of {@link #I}; with 128-bit vectors it is half used, as there is none of 32 bits. */
    static final VectorSpecies<Byte> B =
            VectorSpecies.of(byte.class, VectorShape.forBitSize(Math.max(64, CpuConfig.vectorBits() / 4)));
    static final long LANES = I.length();
    /** Bytes of a vector; an int, so that loops over a block have a constant trip count and vanish. */
    private static final int STEP = I.vectorByteSize();
    /** Whether the codes of one vector of floats are a 32-bit word, which is not a vector. */
    static final boolean WORD = I.length() == 4;
    static final ByteOrder LITTLE = ByteOrder.LITTLE_ENDIAN;

    static final int MAGNITUDE = 0x7FFF_FFFF;
    static final int INFINITY = 0x7F80_0000;
    static final int ODD = 0xFFFF_0000;

    @Override
    public void maxBitsOfBlocks(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment max) {
        if (bf16) {
            maxOfBlocksBF16(x, at, rowBytes, rows, columns, max);
        } else {
            maxOfBlocksF32(x, at, rowBytes, rows, columns, max);
        }
    }

    private static void maxOfBlocksBF16(MemorySegment x, long at, long rowBytes, long rows, long columns,
            MemorySegment max) {
        long fullBlocks = columns / BLOCK;
        long blocks = TileKernels.blocks(columns);
        for (long r = 0; r < rows; r++) {
            long row = at + r * rowBytes;
            long out = 4 * r * blocks;
            for (long b = 0; b < fullBlocks; b++) {
                // One comparison of 16-bit lanes serves both halves: without the sign, BF16 bits order as integers.
                ShortVector m = ShortVector.zero(PAIRS);
                for (int i = 0; i < 2 * BLOCK; i += STEP) {
                    m = IntVector.fromMemorySegment(I, x, row + 2 * BLOCK * b + i, LITTLE).and(0x7FFF_7FFF)
                            .reinterpretAsShorts().max(m);
                }
                IntVector pairs = m.reinterpretAsInts();
                max.set(I32, out + 4 * b, pairs.and(ODD).max(pairs.lanewise(VectorOperators.LSHL, 16))
                        .reduceLanes(VectorOperators.MAX));
            }
            if (fullBlocks < blocks) {
                max.set(I32, out + 4 * fullBlocks,
                        maxBitsOfRow(x, true, row + 2 * BLOCK * fullBlocks, columns - BLOCK * fullBlocks));
            }
        }
    }

    private static void maxOfBlocksF32(MemorySegment x, long at, long rowBytes, long rows, long columns,
            MemorySegment max) {
        long fullBlocks = columns / BLOCK;
        long blocks = TileKernels.blocks(columns);
        for (long r = 0; r < rows; r++) {
            long row = at + r * rowBytes;
            long out = 4 * r * blocks;
            for (long b = 0; b < fullBlocks; b++) {
                IntVector m = IntVector.zero(I);
                for (int i = 0; i < 4 * BLOCK; i += STEP) {
                    m = IntVector.fromMemorySegment(I, x, row + 4 * BLOCK * b + i, LITTLE).and(MAGNITUDE).max(m);
                }
                max.set(I32, out + 4 * b, m.reduceLanes(VectorOperators.MAX));
            }
            if (fullBlocks < blocks) {
                max.set(I32, out + 4 * fullBlocks,
                        maxBitsOfRow(x, false, row + 4 * BLOCK * fullBlocks, columns - BLOCK * fullBlocks));
            }
        }
    }

    @Override
    public void cast(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            FloatFormat format, MemorySegment codes, long codesAt, long codesRowBytes) {
        if (bf16) {
            castBF16(x, at, rowBytes, rows, columns, format, codes, codesAt, codesRowBytes);
        } else {
            castF32(x, at, rowBytes, rows, columns, format, codes, codesAt, codesRowBytes);
        }
    }

    private static void castBF16(MemorySegment x, long at, long rowBytes, long rows, long columns,
            FloatFormat format, MemorySegment codes, long codesAt, long codesRowBytes) {
        int shift = format.shift();
        IntVector clamp = IntVector.broadcast(I, format.clamp());
        IntVector nan = IntVector.broadcast(I, format.nan());
        IntVector minNormal = IntVector.broadcast(I, format.minNormal());
        IntVector magic = IntVector.broadcast(I, format.magic());
        long vectorColumns = columns - columns % (2 * LANES);
        for (long r = 0; r < rows; r++) {
            long row = at + r * rowBytes;
            long out = codesAt + r * codesRowBytes;
            for (long c = 0; c < vectorColumns; c += 2 * LANES) {
                IntVector v = IntVector.fromMemorySegment(I, x, row + 2 * c, LITTLE);
                IntVector a0 = v.and(0x7FFF).lanewise(VectorOperators.LSHL, 16);
                IntVector a1 = v.and(0x7FFF_0000);
                IntVector c0 = a0.min(clamp);
                IntVector c1 = a1.min(clamp);
                IntVector e0 = c0.max(minNormal).and(INFINITY);
                IntVector e1 = c1.max(minNormal).and(INFINITY);
                IntVector t0 = c0.reinterpretAsFloats().add(e0.add(magic).reinterpretAsFloats()).reinterpretAsInts();
                IntVector t1 = c1.reinterpretAsFloats().add(e1.add(magic).reinterpretAsFloats()).reinterpretAsInts();
                IntVector k0 = t0.add(e0.lanewise(VectorOperators.LSHR, shift))
                        .blend(nan, a0.compare(VectorOperators.GT, INFINITY));
                IntVector k1 = t1.add(e1.lanewise(VectorOperators.LSHR, shift))
                        .blend(nan, a1.compare(VectorOperators.GT, INFINITY));
                IntVector sign = v.reinterpretAsShorts().lanewise(VectorOperators.LSHR, 8).reinterpretAsInts()
                        .and(0x0080_0080);
                ShortVector pairs = k0.and(0xFFFF).or(k1.lanewise(VectorOperators.LSHL, 16)).and(0x007F_007F).or(sign)
                        .reinterpretAsShorts();
                ((ByteVector) pairs.convertShape(VectorOperators.S2B, PACKED, 0))
                        .intoMemorySegment(codes, out + c, LITTLE);
            }
            if (vectorColumns < columns) {
                encodeRow(x, true, row + 2 * vectorColumns, columns - vectorColumns, 1f, format, codes,
                        out + vectorColumns);
            }
        }
    }

    private static void castF32(MemorySegment x, long at, long rowBytes, long rows, long columns,
            FloatFormat format, MemorySegment codes, long codesAt, long codesRowBytes) {
        int shift = format.shift();
        IntVector clamp = IntVector.broadcast(I, format.clamp());
        IntVector nan = IntVector.broadcast(I, format.nan());
        IntVector minNormal = IntVector.broadcast(I, format.minNormal());
        IntVector magic = IntVector.broadcast(I, format.magic());
        long vectorColumns = columns - columns % LANES;
        for (long r = 0; r < rows; r++) {
            long row = at + r * rowBytes;
            long out = codesAt + r * codesRowBytes;
            for (long c = 0; c < vectorColumns; c += LANES) {
                IntVector v = IntVector.fromMemorySegment(I, x, row + 4 * c, LITTLE);
                IntVector a = v.and(MAGNITUDE);
                IntVector b = a.min(clamp);
                IntVector e = b.max(minNormal).and(INFINITY);
                IntVector t = b.reinterpretAsFloats().add(e.add(magic).reinterpretAsFloats()).reinterpretAsInts();
                IntVector k = t.add(e.lanewise(VectorOperators.LSHR, shift))
                        .blend(nan, a.compare(VectorOperators.GT, INFINITY));
                IntVector code = k.and(0x7F).or(v.lanewise(VectorOperators.LSHR, 24).and(0x80));
                ByteVector bytes = (ByteVector) code.convertShape(VectorOperators.I2B, B, 0);
                if (WORD) {
                    codes.set(I32, out + c, bytes.reinterpretAsInts().lane(0));
                } else {
                    bytes.intoMemorySegment(codes, out + c, LITTLE);
                }
            }
            if (vectorColumns < columns) {
                encodeRow(x, false, row + 4 * vectorColumns, columns - vectorColumns, 1f, format, codes,
                        out + vectorColumns);
            }
        }
    }

    @Override
    public void encodeBlocks(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment factors, long factorsRowBytes, FloatFormat format, MemorySegment codes, long codesAt,
            long codesRowBytes) {
        if (bf16) {
            encodeBF16(x, at, rowBytes, rows, columns, factors, factorsRowBytes, format, codes, codesAt,
                    codesRowBytes);
        } else {
            encodeF32(x, at, rowBytes, rows, columns, factors, factorsRowBytes, format, codes, codesAt, codesRowBytes);
        }
    }

    private static void encodeBF16(MemorySegment x, long at, long rowBytes, long rows, long columns,
            MemorySegment factors, long factorsRowBytes, FloatFormat format, MemorySegment codes, long codesAt,
            long codesRowBytes) {
        int shift = format.shift();
        IntVector minNormal = IntVector.broadcast(I, format.minNormal());
        IntVector magic = IntVector.broadcast(I, format.magic());
        long vectorColumns = columns - columns % (2 * LANES);
        for (long r = 0; r < rows; r++) {
            long row = at + r * rowBytes;
            long scales = r * factorsRowBytes;
            long out = codesAt + r * codesRowBytes;
            for (long c = 0; c < vectorColumns; c += 2 * LANES) {
                IntVector v = IntVector.fromMemorySegment(I, x, row + 2 * c, LITTLE);
                FloatVector scale = FloatVector.broadcast(F, factors.get(F32, scales + TileKernels.scaleAt(c)));
                IntVector c0 = v.and(0x7FFF).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats()
                        .mul(scale).reinterpretAsInts();
                IntVector c1 = v.and(0x7FFF_0000).reinterpretAsFloats().mul(scale).reinterpretAsInts();
                IntVector e0 = c0.max(minNormal).and(INFINITY);
                IntVector e1 = c1.max(minNormal).and(INFINITY);
                IntVector t0 = c0.reinterpretAsFloats().add(e0.add(magic).reinterpretAsFloats()).reinterpretAsInts();
                IntVector t1 = c1.reinterpretAsFloats().add(e1.add(magic).reinterpretAsFloats()).reinterpretAsInts();
                IntVector k0 = t0.add(e0.lanewise(VectorOperators.LSHR, shift));
                IntVector k1 = t1.add(e1.lanewise(VectorOperators.LSHR, shift));
                IntVector sign = v.reinterpretAsShorts().lanewise(VectorOperators.LSHR, 8).reinterpretAsInts()
                        .and(0x0080_0080);
                ShortVector pairs = k0.and(0xFFFF).or(k1.lanewise(VectorOperators.LSHL, 16)).and(0x007F_007F).or(sign)
                        .reinterpretAsShorts();
                ((ByteVector) pairs.convertShape(VectorOperators.S2B, PACKED, 0))
                        .intoMemorySegment(codes, out + c, LITTLE);
            }
            for (long c = vectorColumns; c < columns; c++) {
                float factor = factors.get(F32, scales + TileKernels.scaleAt(c));
                encodeRow(x, true, row + 2 * c, 1, factor, format, codes, out + c);
            }
        }
    }

    private static void encodeF32(MemorySegment x, long at, long rowBytes, long rows, long columns,
            MemorySegment factors, long factorsRowBytes, FloatFormat format, MemorySegment codes, long codesAt,
            long codesRowBytes) {
        int shift = format.shift();
        IntVector minNormal = IntVector.broadcast(I, format.minNormal());
        IntVector magic = IntVector.broadcast(I, format.magic());
        long vectorColumns = columns - columns % LANES;
        for (long r = 0; r < rows; r++) {
            long row = at + r * rowBytes;
            long scales = r * factorsRowBytes;
            long out = codesAt + r * codesRowBytes;
            for (long c = 0; c < vectorColumns; c += LANES) {
                IntVector v = IntVector.fromMemorySegment(I, x, row + 4 * c, LITTLE);
                FloatVector scale = FloatVector.broadcast(F, factors.get(F32, scales + TileKernels.scaleAt(c)));
                IntVector b = v.and(MAGNITUDE).reinterpretAsFloats().mul(scale).reinterpretAsInts();
                IntVector e = b.max(minNormal).and(INFINITY);
                IntVector t = b.reinterpretAsFloats().add(e.add(magic).reinterpretAsFloats()).reinterpretAsInts();
                IntVector k = t.add(e.lanewise(VectorOperators.LSHR, shift));
                IntVector code = k.and(0x7F).or(v.lanewise(VectorOperators.LSHR, 24).and(0x80));
                ByteVector bytes = (ByteVector) code.convertShape(VectorOperators.I2B, B, 0);
                if (WORD) {
                    codes.set(I32, out + c, bytes.reinterpretAsInts().lane(0));
                } else {
                    bytes.intoMemorySegment(codes, out + c, LITTLE);
                }
            }
            for (long c = vectorColumns; c < columns; c++) {
                float factor = factors.get(F32, scales + TileKernels.scaleAt(c));
                encodeRow(x, false, row + 4 * c, 1, factor, format, codes, out + c);
            }
        }
    }

    @Override
    public void decodeBlocks(MemorySegment codes, long codesAt, long codesRowBytes, long rows, long columns,
            FloatFormat format, MemorySegment scales, long scalesRowBytes, MemorySegment y, boolean bf16, long at,
            long rowBytes) {
        if (!bf16) {
            decodeF32(codes, codesAt, codesRowBytes, rows, columns, format, scales, scalesRowBytes, y, at, rowBytes);
        } else if (areFinite(scales, scalesRowBytes, rows, TileKernels.blocks(columns))) {
            decodeBF16(codes, codesAt, codesRowBytes, rows, columns, format, scales, scalesRowBytes, y, at, rowBytes);
        } else {
            // Only here can a NaN have low bits, whose rounding would carry into the sign.
            super.decodeBlocks(codes, codesAt, codesRowBytes, rows, columns, format, scales, scalesRowBytes, y, true,
                    at, rowBytes);
        }
    }

    static boolean areFinite(MemorySegment scales, long scalesRowBytes, long rows, long count) {
        boolean finite = true;
        for (long r = 0; r < (scalesRowBytes == 0 ? 1 : rows); r++) {
            for (long i = 0; i < count; i++) {
                finite &= Math.abs(scales.get(F32, r * scalesRowBytes + 4 * i)) < Float.POSITIVE_INFINITY;
            }
        }
        return finite;
    }

    private static void decodeF32(MemorySegment codes, long codesAt, long codesRowBytes, long rows,
            long columns, FloatFormat format, MemorySegment scales, long scalesRowBytes, MemorySegment y, long at,
            long rowBytes) {
        int sink = 24 - format.shift();
        FloatVector exponent = FloatVector.broadcast(F, format.decodeScale());
        IntVector field = IntVector.broadcast(I, 0x8000_0000 | 0x7F << format.shift());
        IntVector special = IntVector.broadcast(I, Float.floatToRawIntBits(format.special()));
        IntVector bytesOfWord = IntVector.broadcast(I, 24).sub(IntVector.zero(I).addIndex(1).mul(8));
        long vectorColumns = columns - columns % LANES;
        for (long r = 0; r < rows; r++) {
            long row = codesAt + r * codesRowBytes;
            long out = at + r * rowBytes;
            long scalesRow = r * scalesRowBytes;
            for (long c = 0; c < vectorColumns; c += LANES) {
                FloatVector s = FloatVector.broadcast(F, scales.get(F32, scalesRow + TileKernels.scaleAt(c)));
                IntVector v;
                if (WORD) {
                    v = IntVector.broadcast(I, codes.get(I32, row + c)).lanewise(VectorOperators.LSHL, bytesOfWord);
                } else {
                    v = ((IntVector) ByteVector.fromMemorySegment(B, codes, row + c, LITTLE)
                            .convertShape(VectorOperators.B2I, I, 0)).lanewise(VectorOperators.LSHL, 24);
                }
                IntVector f = v.lanewise(VectorOperators.ASHR, sink).and(field).reinterpretAsFloats().mul(exponent)
                        .reinterpretAsInts();
                f.lanewise(VectorOperators.OR, INFINITY, f.and(MAGNITUDE).compare(VectorOperators.GE, special))
                        .reinterpretAsFloats().mul(s)
                        .reinterpretAsInts().intoMemorySegment(y, out + 4 * c, LITTLE);
            }
            for (long c = vectorColumns; c < columns; c++) {
                float scale = scales.get(F32, scalesRow + TileKernels.scaleAt(c));
                decodeRow(codes, row + c, 1, format, scale, y, false, out + 4 * c);
            }
        }
    }

    private static void decodeBF16(MemorySegment codes, long codesAt, long codesRowBytes, long rows,
            long columns, FloatFormat format, MemorySegment scales, long scalesRowBytes, MemorySegment y, long at,
            long rowBytes) {
        int sink = 24 - format.shift();
        FloatVector exponent = FloatVector.broadcast(F, format.decodeScale());
        IntVector field = IntVector.broadcast(I, 0x8000_0000 | 0x7F << format.shift());
        IntVector special = IntVector.broadcast(I, Float.floatToRawIntBits(format.special()));
        IntVector half = IntVector.broadcast(I, 0x7FFF);
        long vectorColumns = columns - columns % (2 * LANES);
        for (long r = 0; r < rows; r++) {
            long row = codesAt + r * codesRowBytes;
            long out = at + r * rowBytes;
            long scalesRow = r * scalesRowBytes;
            for (long c = 0; c < vectorColumns; c += 2 * LANES) {
                FloatVector s = FloatVector.broadcast(F, scales.get(F32, scalesRow + TileKernels.scaleAt(c)));
                IntVector v = ((ShortVector) ByteVector.fromMemorySegment(PACKED, codes, row + c, LITTLE)
                        .convertShape(VectorOperators.B2S, PAIRS, 0)).reinterpretAsInts();
                IntVector f0 = v.lanewise(VectorOperators.LSHL, 24).lanewise(VectorOperators.ASHR, sink).and(field)
                        .reinterpretAsFloats().mul(exponent).reinterpretAsInts();
                IntVector f1 = v.lanewise(VectorOperators.LSHL, 8).lanewise(VectorOperators.ASHR, sink).and(field)
                        .reinterpretAsFloats().mul(exponent).reinterpretAsInts();
                IntVector y0 = f0.lanewise(VectorOperators.OR, INFINITY,
                        f0.and(MAGNITUDE).compare(VectorOperators.GE, special)).reinterpretAsFloats()
                        .mul(s).reinterpretAsInts();
                IntVector y1 = f1.lanewise(VectorOperators.OR, INFINITY,
                        f1.and(MAGNITUDE).compare(VectorOperators.GE, special)).reinterpretAsFloats()
                        .mul(s).reinterpretAsInts();
                y0 = y0.add(half).add(y0.lanewise(VectorOperators.LSHR, 16).and(1));
                y1 = y1.add(half).add(y1.lanewise(VectorOperators.LSHR, 16).and(1));
                y0.lanewise(VectorOperators.LSHR, 16).or(y1.and(ODD)).intoMemorySegment(y, out + 2 * c, LITTLE);
            }
            for (long c = vectorColumns; c < columns; c++) {
                float scale = scales.get(F32, scalesRow + TileKernels.scaleAt(c));
                decodeRow(codes, row + c, 1, format, scale, y, true, out + 2 * c);
            }
        }
    }
}
