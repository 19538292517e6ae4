package dev.octet.benchmarks.jmh;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.Fp8Codec;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;

/**
 * Fills matrices the way a quantiser would leave them, in a fraction of its time: E4M3 codes of normally distributed
 * values whose largest of 128 is near 448. The set-up of a benchmark must not depend on a quantiser, nor take longer
 * than the benchmark.
 */
final class RandomCodes {
    /** Longer than any cache line pattern could matter; an odd number of bytes, so that rows do not repeat in step. */
    private static final int PATTERN = (1 << 22) + 77;

    private RandomCodes() {}

    static ScaledTensor scaled(long rows, long columns, Scaling scaling, long seed) {
        ScaledTensor t = ScaledTensor.allocate(DType.F8_E4M3, rows, columns, scaling);
        SplittableRandom random = new SplittableRandom(seed);
        fillCodes(t.codes().segment(), random);
        MemorySegment scales = t.scales().segment();
        for (long i = 0; i < scales.byteSize() / Float.BYTES; i++) {
            scales.set(ValueLayout.JAVA_FLOAT_UNALIGNED, i * Float.BYTES, (float) (0.005 + 0.01 * random.nextDouble()));
        }
        return t;
    }

    private static void fillCodes(MemorySegment codes, SplittableRandom random) {
        byte[] table = new byte[1 << 14];
        for (int i = 0; i < table.length; i++) {
            // The largest of 128 normal values lies near 2.7 on average; anything beyond it is at most the maximum.
            float value = (float) (random.nextGaussian() * (448 / 2.7));
            table[i] = Fp8Codec.encodeE4M3(value, Overflow.SATURATE);
        }
        byte[] pattern = new byte[(int) Math.min(PATTERN, codes.byteSize())];
        for (int i = 0; i < pattern.length; i++) {
            pattern[i] = table[random.nextInt(table.length)];
        }
        repeat(pattern, codes);
    }

    /** A matrix of normally distributed values. */
    static Tensor normal(DType dtype, long rows, long columns, long seed) {
        return normal(dtype, Shape.of(rows, columns), seed);
    }

    /** A tensor of normally distributed values. */
    static Tensor normal(DType dtype, Shape shape, long seed) {
        Tensor t = Tensor.allocate(dtype, shape);
        SplittableRandom random = new SplittableRandom(seed);
        int width = dtype.byteSize();
        byte[] pattern = new byte[(int) Math.min((1L << 20) / width * width, t.segment().byteSize())];
        MemorySegment p = MemorySegment.ofArray(pattern);
        for (int i = 0; i < pattern.length / width; i++) {
            float value = (float) random.nextGaussian();
            switch (dtype) {
                case F32 -> p.set(ValueLayout.JAVA_FLOAT_UNALIGNED, (long) i * width, value);
                case BF16 -> p.set(ValueLayout.JAVA_SHORT_UNALIGNED, (long) i * width,
                        BFloat16.fromFloat(value));
                case F16 -> p.set(ValueLayout.JAVA_SHORT_UNALIGNED, (long) i * width, Float.floatToFloat16(value));
                default -> throw new IllegalArgumentException("dtype is " + dtype + ", it must be F32, BF16 or F16");
            }
        }
        repeat(pattern, t.segment());
        return t;
    }

    private static void repeat(byte[] pattern, MemorySegment target) {
        MemorySegment p = MemorySegment.ofArray(pattern);
        for (long at = 0; at < target.byteSize(); at += pattern.length) {
            long n = Math.min(pattern.length, target.byteSize() - at);
            MemorySegment.copy(p, 0, target, at, n);
        }
    }
}
