package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** Casts and quantisers name the argument that does not fit, and write nothing. */
class ConversionRefusalTest {
    private static final Fp8 FP8 = Fp8.on("reference");

    private static void illegal(String message, Executable call) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call);
        assertTrue(String.valueOf(e.getMessage()).contains(message), e.getMessage());
    }

    private static void untouched(String message, Tensor target, Executable call) {
        target.segment().fill((byte) 0x55);
        byte[] before = target.segment().toArray(ValueLayout.JAVA_BYTE);
        illegal(message, call);
        assertArrayEquals(before, target.segment().toArray(ValueLayout.JAVA_BYTE), "something was written");
    }

    @Test
    void casts() {
        try (Tensor f32 = Tensor.of(new float[12], 3, 4); Tensor bf16 = Tensor.allocate(DType.BF16, Shape.of(3, 4));
                Tensor codes = Tensor.allocate(DType.F8_E4M3, Shape.of(3, 4));
                Tensor others = Tensor.allocate(DType.F8_E5M2, Shape.of(3, 4));
                Tensor turned = Tensor.allocate(DType.F8_E4M3, Shape.of(4, 3))) {
            untouched("source is F32 and target BF16", bf16, () -> FP8.cast(f32, bf16, Overflow.SATURATE));
            untouched("source is F8_E4M3 and target F8_E5M2", others,
                    () -> FP8.cast(codes, others, Overflow.SATURATE));
            untouched("target has shape", turned, () -> FP8.cast(f32, turned, Overflow.SATURATE));
        }
    }

    @Test
    void quantisers() {
        try (Tensor f32 = Tensor.of(new float[12], 3, 4); Tensor cube = f32.reshape(3, 2, 2);
                Tensor ints = Tensor.allocate(DType.I32, Shape.of(3, 4));
                ScaledTensor fits = ScaledTensor.allocate(DType.F8_E4M3, 3, 4, Scaling.ACTIVATION);
                ScaledTensor turned = ScaledTensor.allocate(DType.F8_E4M3, 4, 3, Scaling.ACTIVATION)) {
            illegal("source has shape", () -> FP8.quantize(cube, DType.F8_E4M3, Scaling.ACTIVATION));
            illegal("BF16", () -> FP8.quantize(f32, DType.BF16, Scaling.ACTIVATION));
            untouched("source has shape", fits.codes(), () -> FP8.quantize(cube, fits));
            untouched("source is I32, it must be F32, BF16 or F16", fits.codes(), () -> FP8.quantize(ints, fits));
            untouched("target.codes has shape", turned.codes(), () -> FP8.quantize(f32, turned));
            untouched("target.codes has shape", turned.codes(), () -> FP8.requantize(fits, turned));
            illegal("F32", () -> FP8.requantize(fits, DType.F32, Scaling.ACTIVATION));
        }
    }

    @Test
    void dequantisers() {
        try (ScaledTensor source = ScaledTensor.allocate(DType.F8_E4M3, 3, 4, Scaling.ACTIVATION);
                Tensor ints = Tensor.allocate(DType.I32, Shape.of(3, 4));
                Tensor turned = Tensor.allocate(DType.F32, Shape.of(4, 3))) {
            illegal("dtype is I32, it must be F32, BF16 or F16", () -> FP8.dequantize(source, DType.I32));
            untouched("target is I32, it must be F32, BF16 or F16", ints, () -> FP8.dequantize(source, ints));
            untouched("target has shape", turned, () -> FP8.dequantize(source, turned));
        }
    }
}
