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
                cast(source, from, target, to, overflow, dim + 1, i + n * source.stride(dim),
                        j + n * target.stride(dim));
            }
        } else if (target.dtype().isFp8()) {
            float value = load(from, source.dtype(), i);
            to.set(ValueLayout.JAVA_BYTE, j, NearestCode.encode(target.dtype(), value, overflow));
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
        Elements x = new Elements(source);
        float amax = 1e-4f;
        for (long r = fromRow; r < toRow; r++) {
            for (long c = fromColumn; c < toColumn; c++) {
                amax = Math.max(amax, Math.abs(x.load(r, c))); // NaN if one of them is
            }
        }
        float scale = amax / Fp8Codec.max(target.format());
        if (target.scaling().format().isPowerOfTwo()) {
            scale = ceilPowerOfTwo(scale);
        }
        float factor = 1f / scale;
        MemorySegment codes = target.codes().segment();
        long rowStride = target.codes().stride(0);
        long columnStride = target.codes().stride(1);
        for (long r = fromRow; r < toRow; r++) {
            for (long c = fromColumn; c < toColumn; c++) {
                float y = x.load(r, c) * factor;
                // The sign of a product that is NaN is up to the processor; here it is always positive.
                byte code = NearestCode.encode(target.format(), Float.isNaN(y) ? Float.NaN : y, Overflow.SATURATE);
                codes.set(ValueLayout.JAVA_BYTE, r * rowStride + c * columnStride, code);
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
        Granularity granularity = source.scaling().granularity();
        MemorySegment codes = source.codes().segment();
        MemorySegment scales = source.scales().segment();
        MemorySegment out = target.segment();
        for (long r = 0; r < source.rows(); r++) {
            for (long c = 0; c < source.columns(); c++) {
                byte code = codes.get(ValueLayout.JAVA_BYTE,
                        r * source.codes().stride(0) + c * source.codes().stride(1));
                long scale = r / granularity.blockRows() * source.scales().stride(0)
                        + c / granularity.blockColumns() * source.scales().stride(1);
                store(out, target.dtype(), r * target.stride(0) + c * target.stride(1),
                        NearestCode.decode(source.format(), code) * loadScale(source, scales, scale));
            }
        }
    }

    private static float loadScale(ScaledTensor t, MemorySegment scales, long at) {
        if (t.scaling().format() != ScaleFormat.E8M0) {
            return scales.get(F32, 4 * at);
        }
        int exponent = scales.get(ValueLayout.JAVA_BYTE, at) & 0xFF;
        return exponent == 0xFF ? Float.NaN : (float) Math.pow(2, exponent - 127);
    }

    static void requantize(ScaledTensor source, ScaledTensor target, CpuPool pool) {
        try (Tensor values = Tensor.allocate(DType.F32, source.codes().shape())) {
            dequantize(source, values, pool);
            quantize(values, target, pool);
        }
    }

    // ---------------------------------------------------------------------------------------------- elements

    /** A matrix whose memory is looked up once. */
    private record Elements(MemorySegment segment, DType dtype, long rowStride, long columnStride) {
        Elements(Tensor t) {
            this(t.segment(), t.dtype(), t.stride(0), t.stride(1));
        }

        float load(long row, long column) {
            return ReferenceQuantizer.load(segment, dtype, row * rowStride + column * columnStride);
        }
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
