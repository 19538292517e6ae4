package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;

/**
 * Casts against LibTorch's, which share no code with ours: every finite BF16 and a million floats, as far as they do
 * not overflow, for what becomes of those differs between its versions; and back, every code.
 */
class LibTorchCastTest {
    private static ScalarType torchType(DType format) {
        return format == DType.F8_E4M3 ? ScalarType.Float8_e4m3fn : ScalarType.Float8_e5m2;
    }

    private static MemorySegment memory(Pointer p, long bytes) {
        return MemorySegment.ofAddress(p.address()).reinterpret(bytes);
    }

    private static void compare(float[] values, DType format) {
        float limit = format == DType.F8_E4M3 ? 464 : Math.nextDown(61440f);
        float[] x = values.clone();
        for (int i = 0; i < x.length; i++) {
            if (!(Math.abs(x[i]) <= limit)) {
                x[i] = 0;
            }
        }
        try (Tensor source = Tensor.of(x, x.length); Tensor codes = Tensor.allocate(format, Shape.of(x.length));
                FloatPointer p = new FloatPointer(x);
                org.bytedeco.pytorch.Tensor t = torch.from_blob(p, new long[] {x.length});
                org.bytedeco.pytorch.Tensor cast = t.to(torchType(format)).contiguous()) {
            Fp8.auto().cast(source, codes, Overflow.SATURATE);
            MemorySegment theirs = memory(cast.data_ptr(), x.length);
            MemorySegment ours = codes.segment();
            for (int i = 0; i < x.length; i++) {
                byte a = theirs.get(ValueLayout.JAVA_BYTE, i);
                byte b = ours.get(ValueLayout.JAVA_BYTE, i);
                if (a != b) {
                    assertEquals(String.format("%02X", a), String.format("%02X", b), format + " of " + x[i]);
                }
            }
        }
    }

    @Test
    void everyBFloat16() {
        float[] x = new float[65536];
        for (int i = 0; i < x.length; i++) {
            x[i] = BFloat16.toFloat((short) i);
        }
        compare(x, DType.F8_E4M3);
        compare(x, DType.F8_E5M2);
    }

    @Test
    void aMillionFloats() {
        SplittableRandom random = new SplittableRandom(20241226L);
        float[] x = new float[1 << 20];
        for (int i = 0; i < x.length; i++) {
            x[i] = Math.scalb((float) random.nextDouble(-2, 2), random.nextInt(-22, 16));
        }
        compare(x, DType.F8_E4M3);
        compare(x, DType.F8_E5M2);
    }

    @Test
    void everyCodeBack() {
        for (DType format : new DType[] {DType.F8_E4M3, DType.F8_E5M2}) {
            float[] x = new float[256];
            for (int c = 0; c < 256; c++) {
                x[c] = Fp8Codec.decode(format, (byte) c);
            }
            try (FloatPointer p = new FloatPointer(x);
                    org.bytedeco.pytorch.Tensor t = torch.from_blob(p, new long[] {256});
                    org.bytedeco.pytorch.Tensor codes = t.to(torchType(format)).contiguous()) {
                MemorySegment s = memory(codes.data_ptr(), 256);
                for (int c = 0; c < 256; c++) {
                    s.set(ValueLayout.JAVA_BYTE, c, (byte) c);
                }
                try (org.bytedeco.pytorch.Tensor back = codes.to(ScalarType.Float).contiguous()) {
                    MemorySegment values = memory(back.data_ptr(), 1024);
                    for (int c = 0; c < 256; c++) {
                        float theirs = values.get(ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * c);
                        assertEquals(Float.floatToIntBits(theirs), Float.floatToIntBits(x[c]), format + " code " + c);
                    }
                }
            }
        }
    }
}
