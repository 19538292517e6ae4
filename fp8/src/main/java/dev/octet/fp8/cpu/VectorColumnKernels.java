package dev.octet.fp8.cpu;

import static dev.octet.fp8.cpu.MatrixView.F32;
import static dev.octet.fp8.cpu.MatrixView.I16;
import static dev.octet.fp8.cpu.MatrixView.I32;

import dev.octet.core.cpu.Scratch;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;

/**
 * The inner loops for one scale per column on the Vector API. They go row by row, so that memory is read as it lies;
 * the scales of a tile's columns stay in the first-level cache.
 */
class VectorColumnKernels extends VectorKernels {
    @Override
    public void maxBitsOfColumns(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment max) {
        if (bf16) {
            maxOfColumnsBF16(x, at, rowBytes, rows, columns, max);
        } else {
            maxOfColumnsF32(x, at, rowBytes, rows, columns, max);
        }
    }

    /** Four rows at a time, since the maxima so far have to be read and written for each; the last may come again. */
    private static void maxOfColumnsF32(MemorySegment x, long at, long rowBytes, long rows, long columns,
            MemorySegment max) {
        long vectorColumns = columns - columns % LANES;
        for (long c = 0; c < columns; c++) {
            max.set(I32, 4 * c, 0);
        }
        for (long r = 0; r < rows; r += 4) {
            long row0 = at + r * rowBytes;
            long row1 = at + Math.min(r + 1, rows - 1) * rowBytes;
            long row2 = at + Math.min(r + 2, rows - 1) * rowBytes;
            long row3 = at + Math.min(r + 3, rows - 1) * rowBytes;
            for (long c = 0; c < vectorColumns; c += LANES) {
                IntVector m0 = IntVector.fromMemorySegment(I, x, row0 + 4 * c, LITTLE).and(MAGNITUDE);
                IntVector m1 = IntVector.fromMemorySegment(I, x, row1 + 4 * c, LITTLE).and(MAGNITUDE);
                IntVector m2 = IntVector.fromMemorySegment(I, x, row2 + 4 * c, LITTLE).and(MAGNITUDE);
                IntVector m3 = IntVector.fromMemorySegment(I, x, row3 + 4 * c, LITTLE).and(MAGNITUDE);
                m0.max(m1).max(m2.max(m3)).max(IntVector.fromMemorySegment(I, max, 4 * c, LITTLE))
                        .intoMemorySegment(max, 4 * c, LITTLE);
            }
        }
        for (long c = vectorColumns; c < columns; c++) {
            int bits = 0;
            for (long r = 0; r < rows; r++) {
                bits = Math.max(bits, x.get(I32, at + r * rowBytes + 4 * c) & MAGNITUDE);
            }
            max.set(I32, 4 * c, bits);
        }
    }

    /** Collects 16-bit maxima in the upper half of the memory, then widens them from the front. */
    private static void maxOfColumnsBF16(MemorySegment x, long at, long rowBytes, long rows, long columns,
            MemorySegment max) {
        long upper = 2 * columns;
        long vectorColumns = columns - columns % (2 * LANES);
        for (long c = 0; c < columns; c++) {
            max.set(I16, upper + 2 * c, (short) 0);
        }
        for (long r = 0; r < rows; r += 4) {
            long row0 = at + r * rowBytes;
            long row1 = at + Math.min(r + 1, rows - 1) * rowBytes;
            long row2 = at + Math.min(r + 2, rows - 1) * rowBytes;
            long row3 = at + Math.min(r + 3, rows - 1) * rowBytes;
            for (long c = 0; c < vectorColumns; c += 2 * LANES) {
                ShortVector m0 = IntVector.fromMemorySegment(I, x, row0 + 2 * c, LITTLE).and(0x7FFF_7FFF)
                        .reinterpretAsShorts();
                ShortVector m1 = IntVector.fromMemorySegment(I, x, row1 + 2 * c, LITTLE).and(0x7FFF_7FFF)
                        .reinterpretAsShorts();
                ShortVector m2 = IntVector.fromMemorySegment(I, x, row2 + 2 * c, LITTLE).and(0x7FFF_7FFF)
                        .reinterpretAsShorts();
                ShortVector m3 = IntVector.fromMemorySegment(I, x, row3 + 2 * c, LITTLE).and(0x7FFF_7FFF)
                        .reinterpretAsShorts();
                m0.max(m1).max(m2.max(m3))
                        .max(IntVector.fromMemorySegment(I, max, upper + 2 * c, LITTLE).reinterpretAsShorts())
                        .reinterpretAsInts().intoMemorySegment(max, upper + 2 * c, LITTLE);
            }
        }
        for (long c = vectorColumns; c < columns; c++) {
            int bits = 0;
            for (long r = 0; r < rows; r++) {
                bits = Math.max(bits, x.get(I16, at + r * rowBytes + 2 * c) & 0x7FFF);
            }
            max.set(I16, upper + 2 * c, (short) bits);
        }
        for (long c = 0; c < columns; c++) {
            max.set(I32, 4 * c, max.get(I16, upper + 2 * c) << 16);
        }
    }

    /** Copies scales so that of each {@code 2 * LANES} of them the even ones come first. */
    private static MemorySegment evenThenOdd(MemorySegment scales, long vectorColumns) {
        MemorySegment sorted = Scratch.get(Slots.SORTED_SCALES, 4 * vectorColumns);
        for (long c = 0; c < vectorColumns; c += 2 * LANES) {
            for (long i = 0; i < LANES; i++) {
                sorted.set(F32, 4 * (c + i), scales.get(F32, 4 * (c + 2 * i)));
                sorted.set(F32, 4 * (c + LANES + i), scales.get(F32, 4 * (c + 2 * i + 1)));
            }
        }
        return sorted;
    }

    @Override
    public void encodeColumns(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment factors, FloatFormat format, MemorySegment codes, long codesAt, long codesRowBytes) {
        if (bf16) {
            encodeColumnsBF16(x, at, rowBytes, rows, columns, factors, format, codes, codesAt, codesRowBytes);
        } else {
            encodeColumnsF32(x, at, rowBytes, rows, columns, factors, format, codes, codesAt, codesRowBytes);
        }
    }

    private static void encodeColumnsBF16(MemorySegment x, long at, long rowBytes, long rows, long columns,
            MemorySegment factors, FloatFormat format, MemorySegment codes, long codesAt, long codesRowBytes) {
        int shift = format.shift();
        IntVector minNormal = IntVector.broadcast(I, format.minNormal());
        IntVector magic = IntVector.broadcast(I, format.magic());
        long vectorColumns = columns - columns % (2 * LANES);
        MemorySegment sorted = evenThenOdd(factors, vectorColumns);
        for (long r = 0; r < rows; r++) {
            long row = at + r * rowBytes;
            long out = codesAt + r * codesRowBytes;
            for (long c = 0; c < vectorColumns; c += 2 * LANES) {
                IntVector v = IntVector.fromMemorySegment(I, x, row + 2 * c, LITTLE);
                IntVector c0 = v.and(0x7FFF).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats()
                        .mul(FloatVector.fromMemorySegment(F, sorted, 4 * c, LITTLE)).reinterpretAsInts();
                IntVector c1 = v.and(0x7FFF_0000).reinterpretAsFloats()
                        .mul(FloatVector.fromMemorySegment(F, sorted, 4 * (c + LANES), LITTLE)).reinterpretAsInts();
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
            encodeColumnsOfRow(x, true, row, vectorColumns, columns, factors, format, codes, out);
        }
    }

    private static void encodeColumnsF32(MemorySegment x, long at, long rowBytes, long rows, long columns,
            MemorySegment factors, FloatFormat format, MemorySegment codes, long codesAt, long codesRowBytes) {
        int shift = format.shift();
        IntVector minNormal = IntVector.broadcast(I, format.minNormal());
        IntVector magic = IntVector.broadcast(I, format.magic());
        long vectorColumns = columns - columns % LANES;
        for (long r = 0; r < rows; r++) {
            long row = at + r * rowBytes;
            long out = codesAt + r * codesRowBytes;
            for (long c = 0; c < vectorColumns; c += LANES) {
                IntVector v = IntVector.fromMemorySegment(I, x, row + 4 * c, LITTLE);
                IntVector b = v.and(MAGNITUDE).reinterpretAsFloats()
                        .mul(FloatVector.fromMemorySegment(F, factors, 4 * c, LITTLE)).reinterpretAsInts();
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
            encodeColumnsOfRow(x, false, row, vectorColumns, columns, factors, format, codes, out);
        }
    }

    @Override
    public void decodeColumns(MemorySegment codes, long codesAt, long codesRowBytes, long rows, long columns,
            FloatFormat format, MemorySegment scales, MemorySegment y, boolean bf16, long at, long rowBytes) {
        if (!bf16) {
            decodeColumnsF32(codes, codesAt, codesRowBytes, rows, columns, format, scales, y, at, rowBytes);
            return;
        }
        if (areFinite(scales, 0, 1, columns)) {
            decodeColumnsBF16(codes, codesAt, codesRowBytes, rows, columns, format, scales, y, at, rowBytes);
        } else {
            super.decodeColumns(codes, codesAt, codesRowBytes, rows, columns, format, scales, y, true, at, rowBytes);
        }
    }

    private static void decodeColumnsF32(MemorySegment codes, long codesAt, long codesRowBytes, long rows,
            long columns, FloatFormat format, MemorySegment scales, MemorySegment y, long at, long rowBytes) {
        int sink = 24 - format.shift();
        FloatVector exponent = FloatVector.broadcast(F, format.decodeScale());
        IntVector field = IntVector.broadcast(I, 0x8000_0000 | 0x7F << format.shift());
        IntVector special = IntVector.broadcast(I, Float.floatToRawIntBits(format.special()));
        IntVector bytesOfWord = IntVector.broadcast(I, 24).sub(IntVector.zero(I).addIndex(1).mul(8));
        long vectorColumns = columns - columns % LANES;
        for (long r = 0; r < rows; r++) {
            long row = codesAt + r * codesRowBytes;
            long out = at + r * rowBytes;
            for (long c = 0; c < vectorColumns; c += LANES) {
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
                        .reinterpretAsFloats().mul(FloatVector.fromMemorySegment(F, scales, 4 * c, LITTLE))
                        .reinterpretAsInts().intoMemorySegment(y, out + 4 * c, LITTLE);
            }
            decodeColumnsOfRow(codes, row, vectorColumns, columns, format, scales, y, false, out);
        }
    }

    private static void decodeColumnsBF16(MemorySegment codes, long codesAt, long codesRowBytes, long rows,
            long columns, FloatFormat format, MemorySegment scales, MemorySegment y, long at, long rowBytes) {
        int sink = 24 - format.shift();
        FloatVector exponent = FloatVector.broadcast(F, format.decodeScale());
        IntVector field = IntVector.broadcast(I, 0x8000_0000 | 0x7F << format.shift());
        IntVector special = IntVector.broadcast(I, Float.floatToRawIntBits(format.special()));
        IntVector half = IntVector.broadcast(I, 0x7FFF);
        long vectorColumns = columns - columns % (2 * LANES);
        MemorySegment sorted = evenThenOdd(scales, vectorColumns);
        for (long r = 0; r < rows; r++) {
            long row = codesAt + r * codesRowBytes;
            long out = at + r * rowBytes;
            for (long c = 0; c < vectorColumns; c += 2 * LANES) {
                IntVector v = ((ShortVector) ByteVector.fromMemorySegment(PACKED, codes, row + c, LITTLE)
                        .convertShape(VectorOperators.B2S, PAIRS, 0)).reinterpretAsInts();
                IntVector f0 = v.lanewise(VectorOperators.LSHL, 24).lanewise(VectorOperators.ASHR, sink).and(field)
                        .reinterpretAsFloats().mul(exponent).reinterpretAsInts();
                IntVector f1 = v.lanewise(VectorOperators.LSHL, 8).lanewise(VectorOperators.ASHR, sink).and(field)
                        .reinterpretAsFloats().mul(exponent).reinterpretAsInts();
                IntVector y0 = f0.lanewise(VectorOperators.OR, INFINITY,
                        f0.and(MAGNITUDE).compare(VectorOperators.GE, special)).reinterpretAsFloats()
                        .mul(FloatVector.fromMemorySegment(F, sorted, 4 * c, LITTLE)).reinterpretAsInts();
                IntVector y1 = f1.lanewise(VectorOperators.OR, INFINITY,
                        f1.and(MAGNITUDE).compare(VectorOperators.GE, special)).reinterpretAsFloats()
                        .mul(FloatVector.fromMemorySegment(F, sorted, 4 * (c + LANES), LITTLE)).reinterpretAsInts();
                y0 = y0.add(half).add(y0.lanewise(VectorOperators.LSHR, 16).and(1));
                y1 = y1.add(half).add(y1.lanewise(VectorOperators.LSHR, 16).and(1));
                y0.lanewise(VectorOperators.LSHR, 16).or(y1.and(ODD)).intoMemorySegment(y, out + 2 * c, LITTLE);
            }
            decodeColumnsOfRow(codes, row, vectorColumns, columns, format, scales, y, true, out);
        }
    }
}
