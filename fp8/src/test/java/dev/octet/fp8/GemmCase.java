package dev.octet.fp8;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.Arena;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;

/**
 * One GEMM to test, all of whose data follow from these numbers.
 *
 * @param seed what the data are drawn from
 * @param output F32 or BF16, or FP8 for a quantised result
 * @param outputScales the scales of a quantised result
 * @param bias its dtype, or null
 * @param addend what is added to the sums
 */
record GemmCase(long seed, Pairing pairing, long m, long n, long k, DType formatA, DType formatB, ScaleFormat scalesA,
        ScaleFormat scalesB, Layout layoutA, Layout layoutB, DType output, ScaleFormat outputScales, Layout layoutD,
        @Nullable DType bias, Addend addend, Activation activation) {

    private static final long[] EXTENTS = {0, 1, 2, 3, 4, 5, 7, 8, 13, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127,
        128, 129, 576, 1021};
    /** Keeps the reference, and so the whole suite, quick. */
    private static final long LARGEST = 12_000_000;

    /** The pairs of granularities that a GEMM takes, each with the views that its use needs. */
    enum Pairing {
        FORWARD(Granularity.BLOCK_1X128, Granularity.BLOCK_128X128),
        INPUT_GRADIENT(Granularity.BLOCK_1X128, Granularity.BLOCK_128X128),
        WEIGHT_GRADIENT(Granularity.BLOCK_128X1, Granularity.BLOCK_128X1),
        ACTIVATIONS(Granularity.BLOCK_1X128, Granularity.BLOCK_1X128),
        ROWS(Granularity.ROW, Granularity.ROW),
        TENSORS(Granularity.TENSOR, Granularity.TENSOR);

        final Granularity a;
        final Granularity b;

        Pairing(Granularity a, Granularity b) {
            this.a = a;
            this.b = b;
        }

        boolean transposesA() {
            return this == WEIGHT_GRADIENT;
        }

        boolean transposesB() {
            return this == WEIGHT_GRADIENT || this == INPUT_GRADIENT;
        }
    }

    /** What is added to the sums. */
    enum Addend { NONE, F32, BF16, OUTPUT }

    /** How operands are filled. */
    @FunctionalInterface
    interface Filler {
        ScaledTensor make(Arena arena, RandomGenerator random, Layout layout, DType format, long rows, long columns,
                Scaling scaling);
    }

    /** Operands, output and epilogue of one run. */
    record Data(ScaledTensor a, ScaledTensor b, Layout.@Nullable Placed d, @Nullable ScaledTensor quantized,
            Epilogue epilogue, @Nullable Tensor addendBefore) {}

    /** A plain case: E4M3, FP32 scales, contiguous, F32 output, no epilogue. */
    static GemmCase plain(long seed, Pairing pairing, long m, long n, long k) {
        return new GemmCase(seed, pairing, m, n, k, DType.F8_E4M3, DType.F8_E4M3, ScaleFormat.F32, ScaleFormat.F32,
                Layout.CONTIGUOUS, Layout.CONTIGUOUS, DType.F32, ScaleFormat.F32, Layout.CONTIGUOUS, null, Addend.NONE,
                Activation.IDENTITY);
    }

    GemmCase withFormats(DType a, DType b) {
        return new GemmCase(seed, pairing, m, n, k, a, b, scalesA, scalesB, layoutA, layoutB, output, outputScales,
                layoutD, bias, addend, activation);
    }

    GemmCase withLayouts(Layout a, Layout b, Layout d) {
        return new GemmCase(seed, pairing, m, n, k, formatA, formatB, scalesA, scalesB, a, b, output, outputScales, d,
                bias, addend, activation);
    }

    GemmCase withOutput(DType dtype, ScaleFormat scales) {
        return new GemmCase(seed, pairing, m, n, k, formatA, formatB, scalesA, scalesB, layoutA, layoutB, dtype, scales,
                layoutD, bias, addend, activation);
    }

    GemmCase withEpilogue(@Nullable DType biasType, Addend what, Activation function) {
        return new GemmCase(seed, pairing, m, n, k, formatA, formatB, scalesA, scalesB, layoutA, layoutB, output,
                outputScales, layoutD, biasType, what, function);
    }

    /** Draws every number from one seed. */
    static GemmCase sample(long seed) {
        SplittableRandom r = new SplittableRandom(seed);
        long m;
        long n;
        long k;
        do {
            m = pick(r, EXTENTS);
            n = pick(r, EXTENTS);
            k = pick(r, EXTENTS);
        } while (m * n * k > LARGEST || m * n * k == 0 && r.nextInt(8) != 0);
        DType output = pick(r, DType.F32, DType.F32, DType.BF16, DType.BF16, DType.F8_E4M3, DType.F8_E5M2);
        Addend addend = pick(r, Addend.NONE, Addend.NONE, Addend.F32, Addend.BF16, Addend.OUTPUT);
        return new GemmCase(seed, pick(r, Pairing.values()), m, n, k, format(r), format(r),
                pick(r, ScaleFormat.values()), pick(r, ScaleFormat.values()), pick(r, Layout.values()),
                pick(r, Layout.values()), output, pick(r, ScaleFormat.values()), pick(r, Layout.values()),
                pick(r, null, null, DType.F32, DType.BF16),
                output.isFp8() && addend == Addend.OUTPUT ? Addend.F32 : addend, pick(r, Activation.values()));
    }

    private static DType format(SplittableRandom r) {
        return pick(r, DType.F8_E4M3, DType.F8_E4M3, DType.F8_E5M2);
    }

    private static long pick(SplittableRandom r, long[] values) {
        return values[r.nextInt(values.length)];
    }

    @SafeVarargs
    private static <T> T pick(SplittableRandom r, T... values) {
        return values[r.nextInt(values.length)];
    }

    ScaledTensor a(Arena arena, Filler filler) {
        RandomGenerator r = new SplittableRandom(seed ^ 0xA);
        Scaling scaling = new Scaling(pairing.a, scalesA);
        return pairing.transposesA()
                ? filler.make(arena, r, layoutA, formatA, k, m, scaling).transpose()
                : filler.make(arena, r, layoutA, formatA, m, k, scaling);
    }

    ScaledTensor b(Arena arena, Filler filler) {
        RandomGenerator r = new SplittableRandom(seed ^ 0xB);
        Scaling scaling = new Scaling(pairing.b, scalesB);
        return pairing.transposesB()
                ? filler.make(arena, r, layoutB, formatB, k, n, scaling).transpose()
                : filler.make(arena, r, layoutB, formatB, n, k, scaling);
    }

    /** Makes all tensors; equal calls make equal ones. The output is all NaN unless it is the addend too. */
    Data data(Arena arena, Filler filler) {
        RandomGenerator r = new SplittableRandom(seed ^ 0xD);
        ScaledTensor a = a(arena, filler);
        ScaledTensor b = b(arena, filler);
        // About what the sums are, so that no term drowns the others.
        double deviation = Math.scalb(Math.sqrt(k + 1.0), -4);
        Layout.Placed d = output.isFp8() ? null : layoutD.place(arena, output, m, n);
        ScaledTensor quantized = output.isFp8()
                ? Matrices.place(arena, layoutD, output, m, n, new Scaling(Granularity.BLOCK_1X128, outputScales))
                : null;
        Epilogue epilogue = Epilogue.NONE.with(activation);
        Tensor before = null;
        if (addend == Addend.OUTPUT && d != null) {
            before = Matrices.gaussian(arena, r, Layout.CONTIGUOUS, output, m, n, deviation);
            d.view().copyFrom(before);
            epilogue = epilogue.withAddend(d.view());
        } else if (addend != Addend.NONE) {
            DType dtype = addend == Addend.BF16 ? DType.BF16 : DType.F32;
            before = Matrices.gaussian(arena, r, layoutA, dtype, m, n, deviation);
            epilogue = epilogue.withAddend(before);
        }
        if (bias != null) {
            Tensor row = Matrices.gaussian(arena, r, layoutB, bias, 1, n, deviation);
            epilogue = epilogue.withBias(row.slice(0, 0, 1).reshape(n));
        }
        return new Data(a, b, d, quantized, epilogue, before);
    }

    /** Runs it on one backend. */
    void run(Fp8 fp8, Data data) {
        if (data.d() != null) {
            fp8.gemm(data.a(), data.b(), data.d().view(), data.epilogue());
        } else if (data.quantized() != null) {
            fp8.gemm(data.a(), data.b(), data.quantized(), data.epilogue());
        }
    }

    Shape shape() {
        return Shape.of(m, n);
    }
}
