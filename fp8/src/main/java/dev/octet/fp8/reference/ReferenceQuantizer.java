package dev.octet.fp8.reference;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Fp8Codec;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** Casts and quantisers as plain loops over groups, on the calling thread. */
final class ReferenceQuantizer {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private ReferenceQuantizer() {}

    // ---------------------------------------------------------------------------------------------- cast

    static void cast(Tensor source, Tensor target, Overflow overflow, CpuPool pool) {
        if (source.shape().elements() > 0) {
            cast(source, source.segment(), target, target.segment(), overflow, 0, 0, 0);
        }
    }

    private static void cast(Tensor source, MemorySegment from, Tensor target, MemorySegment to, Overflow overflow,
            int dim, long i, long j) {
        if (dim < source.shape().rank()) {
            for (long n = 0; n < source.dim(dim); n++) {
                cast(source, from, target, to, overflow, dim + 1, i + n * source.stride(dim), j + n * target.stride(dim));
            }
        } else if (target.dtype().isFp8()) {
            to.set(ValueLayout.JAVA_BYTE, j, NearestCode.encode(target.dtype(), load(from, source.dtype(), i), overflow));
        } else {
            store(to, target.dtype(), j, NearestCode.decode(source.dtype(), from.get(ValueLayout.JAVA_BYTE, i)));
        }
    }

    // ---------------------------------------------------------------------------------------------- quantise

    static void quantize(Tensor source, ScaledTensor target, CpuPool pool) {
        Granularity granularity = target.scaling().granularity();
        for (long i = 0; i < target.scales().dim(0); i++) {
            for (long j = 0; j < target.scales().dim(1); j++) {
                long fromRow = granularity.blockRows() == Long.MAX_VALUE ? 0 : i * granularity.blockRows();
                long fromColumn = granularity.blockColumns() == Long.MAX_VALUE ? 0 : j * granularity.blockColumns();
                long toRow = Math.min(target.rows() - fromRow, granularity.blockRows()) + fromRow;
                long toColumn = Math.min(target.columns() - fromColumn, granularity.blockColumns()) + fromColumn;
                float scale = quantize(source, target, fromRow, toRow, fromColumn, toColumn);
                storeScale(target, i, j, scale);
            }
        }
    }

    /** One group: returns its scale. */
    private static float quantize(Tensor source, ScaledTensor target, long fromRow, long toRow, long fromColumn,
            long toColumn) {
        float amax = 1e-4f;
        for (long r = fromRow; r < toRow; r++) {
            for (long c = fromColumn; c < toColumn; c++) {
                amax = Math.max(amax, Math.abs(load(source, r, c))); // NaN if one of them is
            }
        }
        float scale = amax / Fp8Codec.max(target.format());
        if (target.scaling().format().isPowerOfTwo()) {
            scale = ceilPowerOfTwo(scale);
        }
        float factor = 1f / scale;
        MemorySegment codes = target.codes().segment();
        for (long r = fromRow; r < toRow; r++) {
            for (long c = fromColumn; c < toColumn; c++) {
                float y = load(source, r, c) * factor;
                // The sign of a product that is NaN is up to the processor; here it is always positive.
                byte code = NearestCode.encode(target.format(), Float.isNaN(y) ? Float.NaN : y, Overflow.SATURATE);
                codes.set(ValueLayout.JAVA_BYTE, r * target.codes().stride(0) + c * target.codes().stride(1), code);
            }
        }
        return scale;
    }

    private static float ceilPowerOfTwo(float scale) {
        if (Float.isNaN(scale) || Float.isInfinite(scale)) {
            return scale;
        }
        float power = 0x1p-126f;
        while (power < scale && power < 0x1p127f) {
            power *= 2;
        }
        return power;
    }

    private static void storeScale(ScaledTensor target, long i, long j, float scale) {
        Tensor scales = target.scales();
        long at = i * scales.stride(0) + j * scales.stride(1);
        if (target.scaling().format() != ScaleFormat.E8M0) {
            scales.segment().set(F32, 4 * at, Float.isNaN(scale) ? Float.NaN : scale);
        } else if (Float.isNaN(scale) || Float.isInfinite(scale)) {
            scales.segment().set(ValueLayout.JAVA_BYTE, at, (byte) 0xFF);
        } else {
            scales.segment().set(ValueLayout.JAVA_BYTE, at, (byte) (Math.getExponent(scale) + 127));
        }
    }

    // ---------------------------------------------------------------------------------------------- dequantise

    static void dequantize(ScaledTensor source, Tensor target, CpuPool pool) {
        for (long r = 0; r < source.rows(); r++) {
            for (long c = 0; c < source.columns(); c++) {
                store(target.segment(), target.dtype(), r * target.stride(0) + c * target.stride(1), value(source, r, c));
            }
        }
    }

    /** The value of one element of a scaled matrix, in FP32. */
    static float value(ScaledTensor t, long row, long column) {
        byte code = t.codes().segment().get(ValueLayout.JAVA_BYTE,
                row * t.codes().stride(0) + column * t.codes().stride(1));
        return NearestCode.decode(t.format(), code) * scale(t, row, column);
    }

    /** The scale of one element of a scaled matrix. */
    static float scale(ScaledTensor t, long row, long column) {
        Granularity granularity = t.scaling().granularity();
        Tensor scales = t.scales();
        long at = row / granularity.blockRows() * scales.stride(0)
                + column / granularity.blockColumns() * scales.stride(1);
        if (t.scaling().format() != ScaleFormat.E8M0) {
            return scales.segment().get(F32, 4 * at);
        }
        int exponent = scales.segment().get(ValueLayout.JAVA_BYTE, at) & 0xFF;
        return exponent == 0xFF ? Float.NaN : (float) Math.pow(2, exponent - 127);
    }

    static void requantize(ScaledTensor source, ScaledTensor target, CpuPool pool) {
        try (Tensor values = Tensor.allocate(DType.F32, source.codes().shape())) {
            dequantize(source, values, pool);
            quantize(values, target, pool);
        }
    }

    // ---------------------------------------------------------------------------------------------- elements

    private static float load(Tensor t, long row, long column) {
        return load(t.segment(), t.dtype(), row * t.stride(0) + column * t.stride(1));
    }

    private static float load(MemorySegment s, DType dtype, long element) {
        return switch (dtype) {
            case F32 -> s.get(F32, 4 * element);
            case BF16 -> BFloat16.toFloat(s.get(I16, 2 * element));
            default -> Float.float16ToFloat(s.get(I16, 2 * element));
        };
    }

    private static void store(MemorySegment s, DType dtype, long element, float value) {
        switch (dtype) {
            case F32 -> s.set(F32, 4 * element, value);
            case BF16 -> s.set(I16, 2 * element, BFloat16.fromFloat(value));
            default -> s.set(I16, 2 * element, Float.floatToFloat16(value));
        }
    }
}
