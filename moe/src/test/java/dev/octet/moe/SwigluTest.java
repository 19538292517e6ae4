package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import dev.octet.moe.cpu.SwigluBits;
import dev.octet.moe.reference.ReferenceExperts;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** SwiGLU with the quantisation of its result, on every backend. */
@Tag("backend")
class SwigluTest {
    private static Tensor floats(SplittableRandom r, double size, long... dims) {
        Tensor t = Tensor.allocate(DType.F32, Shape.of(dims));
        float[] values = new float[(int) t.shape().elements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (size * r.nextGaussian());
        }
        t.copyFrom(values);
        return t;
    }

    private static ScaledTensor run(String backend, int threads, Tensor x, @Nullable Tensor w, int n, ScaleFormat f) {
        ScaledTensor out = ScaledTensor.allocate(DType.F8_E4M3, x.dim(0), n, new Scaling(Granularity.BLOCK_1X128, f));
        out.codes().segment().fill((byte) 0xFF);
        try (CpuPool pool = new CpuPool(threads)) {
            Moe.on(backend).with(pool).swiglu(x, w, out);
        }
        return out;
    }

    private static void assertSame(ScaledTensor a, ScaledTensor b) {
        assertEquals(-1, a.codes().segment().mismatch(b.codes().segment()));
        for (int r = 0; r < a.rows(); r++) {
            for (int c = 0; c < a.scales().dim(1); c++) {
                if (a.scales().dtype() == DType.F32) {
                    assertEquals(a.scales().getFloat(r, c), b.scales().getFloat(r, c));
                } else {
                    long at = r * a.scales().stride(0) + c * a.scales().stride(1);
                    assertEquals(a.scales().segment().get(ValueLayout.JAVA_BYTE, at),
                            b.scales().segment().get(ValueLayout.JAVA_BYTE, at));
                }
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"1,1,1", "3,7,1", "5,128,3", "2,129,40", "70,300,3", "130,1408,1", "4,200,1e-6", "0,5,1"})
    void eachCodeIsARoundingOfTheExactValue(int rows, int n, double size) {
        SplittableRandom r = new SplittableRandom(rows + n);
        int half = n + n % 5;
        try (Tensor x = floats(r, size, rows, 2L * half); Tensor w = floats(r, 1, rows)) {
            for (Tensor weights : new Tensor[] {null, w}) {
                for (String backend : TestedBackends.names().toList()) {
                    try (ScaledTensor out = run(backend, 1, x, weights, n, ScaleFormat.F32);
                            ScaledTensor more = run(backend, 3, x, weights, n, ScaleFormat.F32)) {
                        assertSame(out, more);
                        float[][] values = ExpertLayer.rows(out);
                        for (int i = 0; i < rows; i++) {
                            for (int c = 0; c < n; c++) {
                                double h = ReferenceExperts.swiglu(x.getFloat(i, c), x.getFloat(i, half + c))
                                        * (weights == null ? 1 : w.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i));
                                float scale = out.scales().getFloat(i, c / 128);
                                // Half a unit in a code's last place, and what FP32 adds to that.
                                assertEquals(h, values[i][c], (Math.abs(h) * 0x1p-4 + scale * 0x1p-10) * 1.0001);
                            }
                        }
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource(ScaleFormat.class)
    void theCpuBackendsGiveTheBitsOfTheQuantiser(ScaleFormat format) {
        SplittableRandom r = new SplittableRandom(5);
        int rows = 67;
        int n = 391;
        try (Tensor x = floats(r, 2, rows, 2 * n); Tensor w = floats(r, 1, rows);
                Tensor h = Tensor.allocate(DType.F32, Shape.of(rows, n))) {
            x.segment().set(ValueLayout.JAVA_FLOAT, 0, Float.NaN);
            x.segment().set(ValueLayout.JAVA_FLOAT, 4L * (2 * n * 2 + 3), Float.POSITIVE_INFINITY);
            x.segment().set(ValueLayout.JAVA_FLOAT, 4L * (2 * n * 3 + 3), 200); // times a large one: saturates nowhere
            x.segment().set(ValueLayout.JAVA_FLOAT, 4L * (2 * n * 3 + n + 3), 3e38f);
            for (int c = 0; c < n; c++) {
                x.segment().set(ValueLayout.JAVA_FLOAT, 4L * (2 * n * 5 + c), -300); // exp is 0
            }
            for (int i = 0; i < rows; i++) {
                float weight = w.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
                for (int c = 0; c < n; c++) {
                    h.segment().set(ValueLayout.JAVA_FLOAT, 4L * (i * n + c), SwigluBits.swiglu(x.getFloat(i, c),
                            x.getFloat(i, n + c), weight));
                }
            }
            try (ScaledTensor expected = ScaledTensor.allocate(DType.F8_E4M3, rows, n,
                    new Scaling(Granularity.BLOCK_1X128, format))) {
                Fp8.on("scalar").quantize(h, expected);
                for (String backend : TestedBackends.names().filter(b -> !b.equals("reference")).toList()) {
                    try (ScaledTensor out = run(backend, 2, x, w, n, format)) {
                        assertSame(expected, out);
                    }
                }
            }
        }
    }

    private static void refused(String message, Executable call) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call);
        assertTrue(e.getMessage().startsWith(message), e.getMessage());
    }

    @Test
    void refusals() {
        Moe moe = Moe.auto();
        SplittableRandom r = new SplittableRandom(1);
        try (Tensor x = floats(r, 1, 3, 20); Tensor odd = floats(r, 1, 3, 21); Tensor w = floats(r, 1, 4);
                ScaledTensor out = ScaledTensor.allocate(DType.F8_E4M3, 3, 10, Scaling.ACTIVATION);
                ScaledTensor wide = ScaledTensor.allocate(DType.F8_E4M3, 3, 11, Scaling.ACTIVATION);
                ScaledTensor other = ScaledTensor.allocate(DType.F8_E5M2, 3, 10, Scaling.ACTIVATION);
                ScaledTensor square = ScaledTensor.allocate(DType.F8_E4M3, 3, 10, Scaling.WEIGHT);
                Tensor half = Tensor.allocate(DType.BF16, Shape.of(3, 20))) {
            refused("gateUp has shape [3, 21]", () -> moe.swiglu(odd, null, out));
            refused("gateUp has shape [3, 20]", () -> moe.swiglu(x, null, wide));
            refused("gateUp is BF16", () -> moe.swiglu(half, null, out));
            refused("out.codes is F8_E5M2", () -> moe.swiglu(x, null, other));
            refused("out has granularity BLOCK_128X128", () -> moe.swiglu(x, null, square));
            refused("weights is F32 [4], it must be F32 [3]", () -> moe.swiglu(x, w, out));
            try (Tensor y = floats(r, 1, 20, 3)) {
                refused("gateUp has stride 3", () -> moe.swiglu(y.transpose(), null, out));
            }
        }
    }
}
