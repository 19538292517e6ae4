package dev.octet.fp8.cpu;

import static dev.octet.fp8.cpu.MatrixView.F32;
import static dev.octet.fp8.cpu.MatrixView.I16;
import static dev.octet.fp8.cpu.MatrixView.I32;
import static dev.octet.fp8.cpu.MatrixView.I8;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.fp8.Fp8Codec;
import dev.octet.fp8.Overflow;
import java.lang.foreign.MemorySegment;

/** The inner loops in plain Java. The vector kernels run them too, on what is left over at the end of a row. */
class ScalarKernels implements TileKernels {
    private static final int MAGNITUDE = 0x7FFF_FFFF;

    @Override
    public void maxBitsOfBlocks(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment max) {
        long blocks = TileKernels.blocks(columns);
        for (long r = 0; r < rows; r++) {
            for (long b = 0; b < blocks; b++) {
                max.set(I32, 4 * (r * blocks + b), maxBitsOfRow(x, bf16, at + r * rowBytes + b * BLOCK * (bf16 ? 2 : 4),
                        Math.min(BLOCK, columns - b * BLOCK)));
            }
        }
    }

    static int maxBitsOfRow(MemorySegment x, boolean bf16, long at, long columns) {
        int max = 0;
        if (bf16) {
            for (long c = 0; c < columns; c++) {
                max = Math.max(max, x.get(I16, at + 2 * c) << 16 & MAGNITUDE);
            }
        } else {
            for (long c = 0; c < columns; c++) {
                max = Math.max(max, x.get(I32, at + 4 * c) & MAGNITUDE);
            }
        }
        return max;
    }

    @Override
    public void maxBitsOfColumns(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment max) {
        for (long c = 0; c < columns; c++) {
            max.set(I32, 4 * c, 0);
        }
        for (long r = 0; r < rows; r++) {
            long row = at + r * rowBytes;
            for (long c = 0; c < columns; c++) {
                int bits = bf16 ? x.get(I16, row + 2 * c) << 16 : x.get(I32, row + 4 * c);
                max.set(I32, 4 * c, Math.max(max.get(I32, 4 * c), bits & MAGNITUDE));
            }
        }
    }

    @Override
    public void cast(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            FloatFormat format, MemorySegment codes, long codesAt, long codesRowBytes) {
        for (long r = 0; r < rows; r++) {
            encodeRow(x, bf16, at + r * rowBytes, columns, 1f, format, codes, codesAt + r * codesRowBytes);
        }
    }

    @Override
    public void encodeBlocks(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment factors, long factorsRowBytes, FloatFormat format, MemorySegment codes, long codesAt,
            long codesRowBytes) {
        for (long r = 0; r < rows; r++) {
            for (long c = 0; c < columns; c += BLOCK) {
                encodeRow(x, bf16, at + r * rowBytes + c * (bf16 ? 2 : 4), Math.min(BLOCK, columns - c),
                        factors.get(F32, r * factorsRowBytes + TileKernels.scaleAt(c)), format, codes,
                        codesAt + r * codesRowBytes + c);
            }
        }
    }

    static void encodeRow(MemorySegment x, boolean bf16, long at, long columns, float factor, FloatFormat format,
            MemorySegment codes, long codesAt) {
        Overflow overflow = format.overflow();
        if (format.dtype() == DType.F8_E4M3) {
            for (long c = 0; c < columns; c++) {
                codes.set(I8, codesAt + c, Fp8Codec.encodeE4M3(load(x, bf16, at, c) * factor, overflow));
            }
        } else {
            for (long c = 0; c < columns; c++) {
                codes.set(I8, codesAt + c, Fp8Codec.encodeE5M2(load(x, bf16, at, c) * factor, overflow));
            }
        }
    }

    @Override
    public void encodeColumns(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment factors, FloatFormat format, MemorySegment codes, long codesAt, long codesRowBytes) {
        for (long r = 0; r < rows; r++) {
            encodeColumnsOfRow(x, bf16, at + r * rowBytes, 0, columns, factors, format, codes,
                    codesAt + r * codesRowBytes);
        }
    }

    static void encodeColumnsOfRow(MemorySegment x, boolean bf16, long at, long from, long columns,
            MemorySegment factors, FloatFormat format, MemorySegment codes, long codesAt) {
        for (long c = from; c < columns; c++) {
            codes.set(I8, codesAt + c, Fp8Codec.encode(format.dtype(), load(x, bf16, at, c) * factors.get(F32, 4 * c),
                    format.overflow()));
        }
    }

    /**
     * Encodes a piece of a row whose group holds a NaN or an infinity. The factor is NaN or 0, and the products are NaN
     * or zeros; which sign such a NaN has is up to the processor, so it is made positive.
     */
    static void encodeNotFinite(MemorySegment x, boolean bf16, long at, long columns, float factor,
            FloatFormat format, MemorySegment codes, long codesAt) {
        for (long c = 0; c < columns; c++) {
            float y = load(x, bf16, at, c) * factor;
            codes.set(I8, codesAt + c, Fp8Codec.encode(format.dtype(), y != y ? Float.NaN : y, Overflow.SATURATE));
        }
    }

    @Override
    public void widen(MemorySegment halves, long halvesAt, long n, MemorySegment y, long at) {
        widenFrom(0, halves, halvesAt, n, y, at);
    }

    static void widenFrom(long from, MemorySegment halves, long halvesAt, long n, MemorySegment y, long at) {
        for (long i = from; i < n; i++) {
            y.set(F32, at + 4 * i, Float.float16ToFloat(halves.get(I16, halvesAt + 2 * i)));
        }
    }

    @Override
    public void narrow(MemorySegment x, long at, long n, MemorySegment halves, long halvesAt) {
        narrowFrom(0, x, at, n, halves, halvesAt);
    }

    static void narrowFrom(long from, MemorySegment x, long at, long n, MemorySegment halves, long halvesAt) {
        for (long i = from; i < n; i++) {
            halves.set(I16, halvesAt + 2 * i, Float.floatToFloat16(x.get(F32, at + 4 * i)));
        }
    }

    private static float load(MemorySegment x, boolean bf16, long at, long column) {
        return bf16 ? BFloat16.toFloat(x.get(I16, at + 2 * column)) : x.get(F32, at + 4 * column);
    }

    @Override
    public void decodeBlocks(MemorySegment codes, long codesAt, long codesRowBytes, long rows, long columns,
            FloatFormat format, MemorySegment scales, long scalesRowBytes, MemorySegment y, boolean bf16, long at,
            long rowBytes) {
        for (long r = 0; r < rows; r++) {
            for (long c = 0; c < columns; c += BLOCK) {
                decodeRow(codes, codesAt + r * codesRowBytes + c, Math.min(BLOCK, columns - c), format,
                        scales.get(F32, r * scalesRowBytes + TileKernels.scaleAt(c)), y, bf16,
                        at + r * rowBytes + c * (bf16 ? 2 : 4));
            }
        }
    }

    static void decodeRow(MemorySegment codes, long codesAt, long columns, FloatFormat format, float scale,
            MemorySegment y, boolean bf16, long at) {
        if (format.dtype() == DType.F8_E4M3) {
            for (long c = 0; c < columns; c++) {
                store(y, bf16, at, c, Fp8Codec.decodeE4M3(codes.get(I8, codesAt + c)) * scale);
            }
        } else {
            for (long c = 0; c < columns; c++) {
                store(y, bf16, at, c, Fp8Codec.decodeE5M2(codes.get(I8, codesAt + c)) * scale);
            }
        }
    }

    @Override
    public void decodeColumns(MemorySegment codes, long codesAt, long codesRowBytes, long rows, long columns,
            FloatFormat format, MemorySegment scales, MemorySegment y, boolean bf16, long at, long rowBytes) {
        for (long r = 0; r < rows; r++) {
            decodeColumnsOfRow(codes, codesAt + r * codesRowBytes, 0, columns, format, scales, y, bf16,
                    at + r * rowBytes);
        }
    }

    static void decodeColumnsOfRow(MemorySegment codes, long codesAt, long from, long columns, FloatFormat format,
            MemorySegment scales, MemorySegment y, boolean bf16, long at) {
        for (long c = from; c < columns; c++) {
            store(y, bf16, at, c,
                    Fp8Codec.decode(format.dtype(), codes.get(I8, codesAt + c)) * scales.get(F32, 4 * c));
        }
    }

    private static void store(MemorySegment y, boolean bf16, long at, long column, float value) {
        if (bf16) {
            y.set(I16, at + 2 * column, BFloat16.fromFloat(value));
        } else {
            y.set(F32, at + 4 * column, value);
        }
    }
}
