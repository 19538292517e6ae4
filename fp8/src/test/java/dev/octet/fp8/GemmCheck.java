package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.fp8.reference.ExactResult;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Compares a GEMM's result with the exact one. Every element has an interval that the FP32 value before the final cast
 * must lie in: {@link ExactResult#bound} around the exact sum, widened for the epilogue's own roundings. The final casts
 * are monotonic, so the cast value must lie between the casts of the interval's ends; that is tighter than adding half a
 * unit in the last place.
 */
final class GemmCheck {
    private static final double U = 0x1p-24;
    /**
     * Hopper's FP8 tensor cores, by {@link dev.octet.fp8.reference.HopperAccumulator#PAPER}: 4 steps in a block, in each
     * of which 32 products and the register are cut off 13 bits below the largest, and the sum once more. What the
     * backend multiplies without tensor cores is held to the bound of FP32 where it runs on the host.
     */
    private static final double TENSOR_CORE = 4 * 34 * 0x1p-13;
    /** SiLU in FP32: an exponential, an addition and a division, each off by a few units at most. */
    private static final double SILU_ULPS = 8;
    /** The largest slope of SiLU is 1.0998, at x = 2.4. */
    private static final double SILU_SLOPE = 1.1;
    /** Below x = -88, exp(-x) overflows FP32 and SiLU gives 0 instead of less than this. */
    private static final double SILU_CUT = 0x1p-118;

    private final GemmCase gemm;
    private final String backend;
    private final GemmCase.Data data;
    private final ExactResult exact;

    GemmCheck(GemmCase gemm, String backend, GemmCase.Data data, ExactResult exact) {
        this.gemm = gemm;
        this.backend = backend;
        this.data = data;
        this.exact = exact;
    }

    /** Where one value before the final cast must lie; both ends NaN if it must be NaN. */
    private record Interval(double low, double high) {}

    private Interval interval(int i, int j) {
        double sum = exact.sum(i, j);
        double error = exact.bound(i, j);
        if (backend.equals("cuda") || backend.equals("cuda-hopper")) {
            error += TENSOR_CORE * exact.magnitudes()[i * exact.columns() + j];
        }
        double magnitude = Math.abs(sum) + error;
        Epilogue epilogue = data.epilogue();
        Tensor addend = data.addendBefore();
        if (addend != null) {
            double c = addend.getFloat(i, j);
            sum += c;
            magnitude += Math.abs(c);
            error += U * magnitude;
        }
        Tensor bias = epilogue.bias();
        if (bias != null) {
            double v = bias.reshape(1, bias.dim(0)).getFloat(0, j);
            sum += v;
            magnitude += Math.abs(v);
            error += U * magnitude;
        }
        if (epilogue.activation() == Activation.SILU) {
            sum = sum / (1 + Math.exp(-sum));
            error = SILU_SLOPE * error + SILU_ULPS * U * Math.abs(sum) + SILU_CUT;
        }
        if (Double.isNaN(sum) || Double.isInfinite(sum)) {
            return new Interval(sum, sum);
        }
        return new Interval(sum - error, sum + error);
    }

    /** The whole result, and that nothing around it was touched. */
    void check() {
        if (gemm.output().isFp8()) {
            checkQuantized();
        } else {
            checkFloats();
        }
    }

    private void checkFloats() {
        Layout.Placed placed = data.d();
        if (placed == null) {
            throw new IllegalStateException(gemm.toString());
        }
        Tensor d = placed.view();
        boolean half = d.dtype() == DType.BF16;
        for (int i = 0; i < gemm.m(); i++) {
            for (int j = 0; j < gemm.n(); j++) {
                Interval x = interval(i, j);
                double low = half ? bf16(x.low) : x.low;
                double high = half ? bf16(x.high) : x.high;
                within("element", i, j, low, d.getFloat(i, j), high);
            }
        }
        erase(d);
        untouched(placed.memory());
    }

    private static double bf16(double x) {
        return BFloat16.toFloat(BFloat16.fromFloat((float) x));
    }

    private void checkQuantized() {
        ScaledTensor d = data.quantized();
        if (d == null) {
            throw new IllegalStateException(gemm.toString());
        }
        ScaleFormat format = d.scaling().format();
        for (int i = 0; i < gemm.m(); i++) {
            for (int j0 = 0; j0 < gemm.n(); j0 += Granularity.BLOCK) {
                int j1 = (int) Math.min(gemm.n(), j0 + Granularity.BLOCK);
                Interval[] group = new Interval[j1 - j0];
                float amaxLow = 1e-4f;
                float amaxHigh = 1e-4f;
                for (int j = j0; j < j1; j++) {
                    Interval x = interval(i, j);
                    group[j - j0] = x;
                    double least = x.low <= 0 && x.high >= 0 ? 0 : Math.min(Math.abs(x.low), Math.abs(x.high));
                    amaxLow = Math.max(amaxLow, (float) least);
                    amaxHigh = Math.max(amaxHigh, (float) Math.max(Math.abs(x.low), Math.abs(x.high)));
                }
                float scale = Matrices.getScale(d, i, j0 / Granularity.BLOCK);
                float scaleLow = stored(Matrices.scale(amaxLow, d.format(), format), format);
                float scaleHigh = stored(Matrices.scale(amaxHigh, d.format(), format), format);
                within("scale", i, j0 / Granularity.BLOCK, scaleLow, scale, scaleHigh);
                for (int j = j0; j < j1; j++) {
                    Interval x = group[j - j0];
                    double value = Fp8Codec.decode(d.format(), Matrices.getByte(d.codes(), i, j));
                    within("code", i, j, cast(d, x.low, amaxLow, scale), value, cast(d, x.high, amaxHigh, scale));
                }
            }
        }
    }

    private static float stored(float scale, ScaleFormat format) {
        return format == ScaleFormat.E8M0 ? Fp8Codec.decodeE8M0(Fp8Codec.encodeE8M0(scale)) : scale;
    }

    private static double cast(ScaledTensor d, double x, float amax, float scale) {
        // In E8M0 an infinite scale is stored as NaN, but it was infinite when the codes were made.
        float used = Float.isNaN(scale) && !Float.isNaN(amax) ? Float.POSITIVE_INFINITY : scale;
        return Fp8Codec.decode(d.format(), Matrices.code((float) x, amax, used, d.format()));
    }

    private void within(String what, int i, int j, double low, double value, double high) {
        boolean fits = Double.isNaN(low) || Double.isNaN(high)
                ? Double.isNaN(value) : low <= value && value <= high;
        if (!fits) {
            fail(String.format("%s on backend %s: %s [%d, %d] is %s, it must lie in [%s, %s]; exact sum %s",
                    gemm, backend, what, i, j, value, low, high,
                    what.equals("scale") ? "of each element" : Double.toString(exact.sum(i, j))));
        }
    }

    private static void erase(Tensor d) {
        MemorySegment s = d.segment();
        int size = d.dtype().byteSize();
        for (long i = 0; i < d.dim(0); i++) {
            for (long j = 0; j < d.dim(1); j++) {
                s.asSlice((i * d.stride(0) + j * d.stride(1)) * size, size).fill((byte) 0xFF);
            }
        }
    }

    private void untouched(MemorySegment memory) {
        for (long i = 0; i < memory.byteSize(); i++) {
            if (memory.get(ValueLayout.JAVA_BYTE, i) != (byte) 0xFF) {
                assertEquals(-1, memory.get(ValueLayout.JAVA_BYTE, i), gemm + " on backend " + backend
                        + ": byte " + i + " outside the output");
            }
        }
    }
}
