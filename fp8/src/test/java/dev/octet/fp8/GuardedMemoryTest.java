package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.octet.core.DType;
import dev.octet.core.GuardedMemory;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** No operation reads or writes a byte beside its tensors. One that does ends the JVM: the test before the end is it. */
@Tag("backend")
class GuardedMemoryTest {
    private static final String BACKENDS = "dev.octet.fp8.TestedBackends#names";

    @BeforeAll
    static void linux() {
        assumeTrue(GuardedMemory.isThere(), "memory between pages that can't be touched is made on Linux alone");
    }

    private static Tensor random(DType dtype, long rows, long columns) {
        SplittableRandom random = new SplittableRandom(rows * 1000 + columns);
        float[] values = new float[Math.toIntExact(rows * columns)];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextDouble(-3, 3);
        }
        Tensor t = Tensor.allocate(dtype, Shape.of(rows, columns));
        t.copyFrom(values);
        return t;
    }

    private static ScaledTensor copy(GuardedMemory memory, ScaledTensor t, boolean atEnd) {
        return new ScaledTensor(memory.copy(t.codes(), atEnd), memory.copy(t.scales(), atEnd), t.scaling());
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void conversions(String backend) {
        Fp8 fp8 = Fp8.on(backend);
        for (long[] size : new long[][] {{3, 131}, {130, 257}}) {
            for (DType wide : new DType[] {DType.F32, DType.BF16, DType.F16}) {
                for (Granularity granularity : Granularity.values()) {
                    for (boolean atEnd : new boolean[] {true, false}) {
                        Scaling scaling = new Scaling(granularity, atEnd ? ScaleFormat.F32 : ScaleFormat.E8M0);
                        try (GuardedMemory memory = new GuardedMemory();
                                Tensor values = random(wide, size[0], size[1]);
                                ScaledTensor expected = fp8.quantize(values, DType.F8_E4M3, scaling)) {
                            Tensor x = memory.copy(values, atEnd);
                            ScaledTensor y = copy(memory, expected, atEnd);
                            Tensor back = memory.zeros(wide, x.shape(), atEnd);
                            fp8.quantize(x, y);
                            fp8.dequantize(y, back);
                            if (granularity != Granularity.ROW) { // which has no transpose
                                fp8.dequantize(y.transpose(), back.transpose());
                            }
                            assertArrayEquals(fp8.dequantize(expected, wide).toFloatArray(), back.toFloatArray());
                            fp8.requantize(y, copy(memory, expected, atEnd));
                            fp8.cast(x, y.codes(), Overflow.SATURATE);
                            fp8.cast(y.codes().transpose(), back.transpose(), Overflow.SATURATE);
                        }
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void products(String backend) {
        Fp8 fp8 = Fp8.on(backend);
        for (long[] s : new long[][] {{1, 3, 1}, {5, 131, 250}, {131, 72, 129}}) {
            for (boolean atEnd : new boolean[] {true, false}) {
                try (GuardedMemory memory = new GuardedMemory()) {
                    ScaledTensor a = fp8.quantize(random(DType.F32, s[0], s[2]), DType.F8_E4M3, Scaling.ACTIVATION);
                    ScaledTensor b = fp8.quantize(random(DType.F32, s[1], s[2]), DType.F8_E5M2, Scaling.WEIGHT);
                    check(fp8, memory, a, b, atEnd);
                    ScaledTensor turned = fp8.quantize(random(DType.F32, s[2], s[1]), DType.F8_E4M3, Scaling.WEIGHT);
                    check(fp8, memory, a, turned.transpose(), atEnd);
                    Scaling gradient = Scaling.ACTIVATION.transposed();
                    check(fp8, memory, fp8.quantize(random(DType.F32, s[2], s[0]), DType.F8_E4M3, gradient).transpose(),
                            fp8.quantize(random(DType.F32, s[2], s[1]), DType.F8_E4M3, gradient).transpose(), atEnd);
                }
            }
        }
    }

    private static void check(Fp8 fp8, GuardedMemory memory, ScaledTensor a, ScaledTensor b, boolean atEnd) {
        try (Tensor expected = fp8.gemm(a, b, DType.BF16)) {
            Tensor d = memory.zeros(DType.BF16, expected.shape(), atEnd);
            fp8.gemm(guarded(memory, a, atEnd), guarded(memory, b, atEnd), d, Epilogue.NONE);
            assertArrayEquals(expected.toFloatArray(), d.toFloatArray());
        }
    }

    /** Transposed views stay views: what is guarded is what they look at. */
    private static ScaledTensor guarded(GuardedMemory memory, ScaledTensor t, boolean atEnd) {
        return t.codes().stride(1) == 1 ? copy(memory, t, atEnd) : copy(memory, t.transpose(), atEnd).transpose();
    }
}
