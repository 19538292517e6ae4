package dev.octet.benchmarks.gpu;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.cuda.CudaDevice;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;

/**
 * Random operands on a GPU. Tensor cores draw less power, and so run faster, on zeros than on numbers, hence numbers:
 * a few million normally distributed ones, repeated until the tensor is full.
 */
final class GpuOperands {
    private static final int PIECE = 1 << 22;
    private static final long SEED = 20_260_101;

    private GpuOperands() {}

    /** {@return how many sets of that many bytes no cache holds: four times the second level, and two at least} */
    static int sets(CudaDevice gpu, long bytes) {
        return Math.clamp(Math.ceilDiv(4L * gpu.l2Bytes(), bytes), 2, 64);
    }

    /** {@return E4M3 codes, normally distributed and scaled to the middle of the range, and scales near 1} */
    static ScaledTensor scaled(CudaDevice gpu, long rows, long columns, Scaling scaling) {
        ScaledTensor t = ScaledTensor.allocate(gpu.device(), DType.F8_E4M3, rows, columns, scaling);
        fill(gpu, t.codes(), Codes.PIECE);
        try (Tensor ones = Tensor.allocateStrided(Device.CPU, DType.F32, t.scales().shape(), t.scales().strides())) {
            MemorySegment s = ones.segment();
            Random random = new Random(SEED);
            for (long i = 0; i < s.byteSize() / 4; i++) {
                s.setAtIndex(ValueLayout.JAVA_FLOAT, i, 0.5f + random.nextFloat());
            }
            t.scales().copyFrom(ones);
        }
        return t;
    }

    /** A code between 0 and 448, most of them around 64: the exponent's bias is 7. */
    private static int magnitude(Random r) {
        double value = Math.min(448, Math.abs(r.nextGaussian()) * 64);
        int exponent = Math.max(-6, Math.getExponent(value));
        int code = (exponent + 7) * 8 + (int) ((value / Math.scalb(1.0, exponent) - 1) * 8);
        return Math.clamp(code, 0, 0x7E);
    }

    /** {@return BF16, normally distributed} */
    static Tensor bf16(CudaDevice gpu, long rows, long columns) {
        Tensor t = Tensor.allocate(gpu.device(), DType.BF16, Shape.of(rows, columns));
        fill(gpu, t, Halves.PIECE);
        return t;
    }

    static Tensor output(CudaDevice gpu, DType type, long rows, long columns) {
        return Tensor.allocate(gpu.device(), type, Shape.of(rows, columns));
    }

    private interface Code {
        int next(Random random);
    }

    /** Drawn once, on the host: drawing takes longer than most of what is measured. */
    private static final class Codes {
        static final Tensor PIECE = piece(DType.F8_E4M3, r -> r.nextInt(2) << 7 | magnitude(r));
    }

    /** The same in BF16. */
    private static final class Halves {
        static final Tensor PIECE =
                piece(DType.BF16, r -> Float.floatToRawIntBits((float) r.nextGaussian()) >>> 16);
    }

    private static Tensor piece(DType type, Code code) {
        Tensor t = Tensor.allocate(type, Shape.of(PIECE));
        MemorySegment s = t.segment();
        Random random = new Random(SEED);
        for (long i = 0; i < PIECE; i++) {
            int c = code.next(random);
            if (type.byteSize() == 1) {
                s.set(ValueLayout.JAVA_BYTE, i, (byte) c);
            } else {
                s.set(ValueLayout.JAVA_SHORT, 2 * i, (short) c);
            }
        }
        return t;
    }

    private static void fill(CudaDevice gpu, Tensor target, Tensor piece) {
        try (Tensor there = piece.to(gpu.device())) {
            Tensor flat = target.reshape(target.shape().elements());
            long elements = flat.dim(0);
            for (long at = 0; at < elements; at += PIECE) {
                long n = Math.min(PIECE, elements - at);
                gpu.currentStream().copy(there.slice(0, 0, n), flat.slice(0, at, at + n));
            }
            gpu.currentStream().synchronize();
        }
    }
}
