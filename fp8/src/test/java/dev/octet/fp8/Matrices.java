package dev.octet.fp8;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.random.RandomGenerator;

/** Operands for GEMM tests, written element by element and without the library's quantisers. */
final class Matrices {
    private Matrices() {}

    // ---------------------------------------------------------------------------------------------- elements

    static void setByte(Tensor t, long row, long column, byte value) {
        t.segment().set(ValueLayout.JAVA_BYTE, row * t.stride(0) + column * t.stride(1), value);
    }

    static byte getByte(Tensor t, long row, long column) {
        return t.segment().get(ValueLayout.JAVA_BYTE, row * t.stride(0) + column * t.stride(1));
    }

    static void setFloat(Tensor t, long row, long column, float value) {
        long i = row * t.stride(0) + column * t.stride(1);
        MemorySegment s = t.segment();
        switch (t.dtype()) {
            case F32 -> s.set(ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * i, value);
            case BF16 -> s.set(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * i, BFloat16.fromFloat(value));
            default -> throw new IllegalArgumentException(t.toString());
        }
    }

    static void setScale(ScaledTensor t, long row, long column, float value) {
        if (t.scales().dtype() == DType.F8_E8M0) {
            setByte(t.scales(), row, column, Fp8Codec.encodeE8M0(value));
        } else {
            setFloat(t.scales(), row, column, value);
        }
    }

    static float getScale(ScaledTensor t, long row, long column) {
        return t.scales().dtype() == DType.F8_E8M0
                ? Fp8Codec.decodeE8M0(getByte(t.scales(), row, column)) : t.scales().getFloat(row, column);
    }

    /** The value of an element, its scale included, in double, which is exact. */
    static double value(ScaledTensor t, long row, long column) {
        Granularity g = t.scaling().granularity();
        return (double) Fp8Codec.decode(t.format(), getByte(t.codes(), row, column))
                * getScale(t, row / g.blockRows(), column / g.blockColumns());
    }

    // ---------------------------------------------------------------------------------------------- operands

    /** Codes and scales of NaN, to be filled. */
    static ScaledTensor place(Arena arena, Layout layout, DType format, long rows, long columns, Scaling scaling) {
        Tensor codes = layout.place(arena, format, rows, columns).view();
        Shape shape = scaling.granularity().scaleShape(rows, columns);
        Tensor scales = layout.place(arena, scaling.format().dtype(), shape.dim(0), shape.dim(1)).view();
        return new ScaledTensor(codes, scales, scaling);
    }

    /**
     * Codes of every finite bit pattern, or those of normal variates, and scales over 16 octaves.
     */
    static ScaledTensor random(Arena arena, RandomGenerator random, Layout layout, DType format, long rows, long columns,
            Scaling scaling) {
        ScaledTensor t = place(arena, layout, format, rows, columns, scaling);
        boolean everyCode = random.nextBoolean();
        byte nan = format == DType.F8_E4M3 ? (byte) 0x7F : 0x7C;
        for (long r = 0; r < rows; r++) {
            for (long c = 0; c < columns; c++) {
                byte code = everyCode ? (byte) (random.nextInt(nan) | random.nextInt(2) << 7)
                        : Fp8Codec.encode(format, (float) random.nextGaussian() * 16, Overflow.SATURATE);
                setByte(t.codes(), r, c, code);
            }
        }
        for (long r = 0; r < t.scales().dim(0); r++) {
            for (long c = 0; c < t.scales().dim(1); c++) {
                float scale = Math.scalb(1 + random.nextFloat(), random.nextInt(-12, 4));
                setScale(t, r, c, scaling.format().isPowerOfTwo() ? Fp8Codec.ceilPowerOfTwo(scale) : scale);
            }
        }
        return t;
    }

    /** Integers from -limit to limit under scales of 1: every sum below 2^24 is exact in FP32 in any order. */
    static ScaledTensor integers(Arena arena, RandomGenerator random, Layout layout, DType format, long rows,
            long columns, Scaling scaling, int limit) {
        ScaledTensor t = place(arena, layout, format, rows, columns, scaling);
        for (long r = 0; r < rows; r++) {
            for (long c = 0; c < columns; c++) {
                setByte(t.codes(), r, c, Fp8Codec.encode(format, random.nextInt(-limit, limit + 1), Overflow.SATURATE));
            }
        }
        for (long r = 0; r < t.scales().dim(0); r++) {
            for (long c = 0; c < t.scales().dim(1); c++) {
                setScale(t, r, c, 1);
            }
        }
        return t;
    }

    /** Quantises by the recipe of {@link Fp8#quantize}, one group after the other. */
    static ScaledTensor quantize(Arena arena, Tensor source, DType format, Scaling scaling) {
        long rows = source.dim(0);
        long columns = source.dim(1);
        ScaledTensor t = place(arena, Layout.CONTIGUOUS, format, rows, columns, scaling);
        long height = Math.min(rows, scaling.granularity().blockRows());
        long width = Math.min(columns, scaling.granularity().blockColumns());
        for (long r0 = 0; r0 < rows; r0 += height) {
            for (long c0 = 0; c0 < columns; c0 += width) {
                long r1 = Math.min(rows, r0 + height);
                long c1 = Math.min(columns, c0 + width);
                float amax = 1e-4f;
                for (long r = r0; r < r1; r++) {
                    for (long c = c0; c < c1; c++) {
                        amax = Math.max(amax, Math.abs(source.getFloat(r, c)));
                    }
                }
                float scale = scale(amax, format, scaling.format());
                setScale(t, r0 / height, c0 / width, scale);
                for (long r = r0; r < r1; r++) {
                    for (long c = c0; c < c1; c++) {
                        setByte(t.codes(), r, c, code(source.getFloat(r, c), amax, scale, format));
                    }
                }
            }
        }
        return t;
    }

    static float scale(float amax, DType format, ScaleFormat scaleFormat) {
        float scale = amax / Fp8Codec.max(format);
        return scaleFormat.isPowerOfTwo() ? Fp8Codec.ceilPowerOfTwo(scale) : scale;
    }

    static byte code(float x, float amax, float scale, DType format) {
        return Fp8Codec.encode(format, Float.isNaN(amax) ? Float.NaN : x * (1 / scale), Overflow.SATURATE);
    }

    /** A BF16 or F32 tensor of normal variates. */
    static Tensor gaussian(Arena arena, RandomGenerator random, Layout layout, DType dtype, long rows, long columns,
            double deviation) {
        Tensor t = layout.place(arena, dtype, rows, columns).view();
        for (long r = 0; r < rows; r++) {
            for (long c = 0; c < columns; c++) {
                setFloat(t, r, c, (float) (random.nextGaussian() * deviation));
            }
        }
        return t;
    }
}
