package dev.octet.fp8.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Activation;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import dev.octet.fp8.cuda.HopperModel.Choice;
import dev.octet.fp8.cuda.HopperModel.Gpu;
import dev.octet.fp8.cuda.HopperModel.Work;
import dev.octet.fp8.cuda.HopperVariant.Share;
import dev.octet.fp8.reference.ExactResult;
import dev.octet.fp8.reference.ReferenceGemm;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Launches that {@link TensorCoreGemm} prepares, on operands that fp8's quantisers wrote, run on emulated instructions
 * and compared with the exact sums. The tensor core's short accumulator is not emulated: sums are FP32.
 */
class TensorCoreGemmTest {
    /** Few, so that blocks have several tiles. */
    private static final Gpu SMALL = Gpu.H200.withMultiprocessors(6);

    private final SplittableRandom random = new SplittableRandom(20250226);

    @BeforeAll
    static void compiler() {
        HostBuild.unavailable().ifPresent(why -> System.out.println("Skipped: TensorCoreGemmTest: " + why));
        Assumptions.assumeTrue(HostBuild.unavailable().isEmpty(), "no C++ compiler");
    }

    private ScaledTensor operand(long rows, long columns, DType format, Granularity granularity) {
        float[] values = new float[Math.toIntExact(rows * columns)];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (random.nextGaussian() * (1 + i % 7));
        }
        // Rows at multiples of 16 bytes, as TMA wants them.
        Tensor codes = Tensor.allocateStrided(format, Shape.of(rows, columns), Math.ceilDiv(columns, 16L) * 16, 1);
        Scaling scaling = new Scaling(granularity, ScaleFormat.F32);
        try (ScaledTensor layout = ScaledTensor.allocate(format, rows, columns, scaling)) {
            Tensor scales = layout.scales();
            ScaledTensor result = new ScaledTensor(codes,
                    Tensor.allocateStrided(DType.F32, scales.shape(), scales.strides()), scaling);
            Fp8.on("reference").quantize(Tensor.of(values, rows, columns), result);
            return result;
        }
    }

    /** A matrix inside a larger one of a known value. */
    private record Output(Tensor all, Tensor d, float[] before) {
        static Output of(DType dtype, long rows, long columns, long more) {
            Tensor all = Tensor.allocate(dtype, Shape.of(rows + 2, columns + more));
            float[] values = new float[Math.toIntExact((rows + 2) * (columns + more))];
            for (int i = 0; i < values.length; i++) {
                values[i] = i % 13 - 6;
            }
            all.copyFrom(values);
            return new Output(all, all.slice(0, 1, rows + 1).slice(1, 0, columns), values);
        }

        /** Nothing but some rows of D was written. */
        void untouched(long[] begins, long[] ends) {
            long width = all.dim(1);
            for (long r = 0; r < all.dim(0); r++) {
                boolean written = false;
                for (int g = 0; g < begins.length; g++) {
                    written |= r - 1 >= begins[g] && r - 1 < ends[g];
                }
                for (long c = written ? d.dim(1) : 0; c < width; c++) {
                    assertEquals(before[(int) (r * width + c)], all.getFloat(r, c), "around D, " + r + ", " + c);
                }
            }
        }
    }

    private void check(ScaledTensor a, ScaledTensor b, Tensor d, long from, Epilogue epilogue, float[] addend,
            String what) {
        ExactResult exact = ReferenceGemm.exact(a, b, CpuPool.shared());
        for (int i = 0; i < a.rows(); i++) {
            for (int j = 0; j < b.rows(); j++) {
                double sum = exact.sum(i, j);
                double error = exact.bound(i, j);
                if (addend != null) {
                    sum += addend[(int) (i * b.rows() + j)];
                }
                Tensor bias = epilogue.bias();
                if (bias != null) {
                    sum += bias.reshape(1, b.rows()).getFloat(0, j);
                }
                error += 0x1p-22 * Math.abs(sum);
                if (epilogue.activation() == Activation.SILU) {
                    sum = sum / (1 + Math.exp(-sum));
                    error = 1.1 * error + 0x1p-20 * Math.abs(sum);
                }
                error += d.dtype() == DType.BF16 ? 0x1.01p-8 * (Math.abs(sum) + error) : 0;
                float got = d.getFloat(from + i, j);
                if (!(Math.abs(got - sum) <= error)) {
                    fail(what + ": D[" + (from + i) + ", " + j + "] is " + got + ", expected " + sum + " +- " + error);
                }
            }
        }
    }

    private static HopperVariant variant(Work w, int rows, int cols, boolean swapped, Share share, boolean overlap) {
        return new HopperVariant(rows, cols, swapped, share, false, overlap, swapped ? w.bVector() : w.aVector(),
                swapped ? w.aVector() : w.bVector(), swapped ? w.bE5m2() : w.aE5m2(), swapped ? w.aE5m2() : w.bE5m2(),
                w.outF32());
    }

    private void dense(Choice choice, ScaledTensor a, ScaledTensor b, Output out, Epilogue epilogue) {
        float[] addend = epilogue.addend() == null ? null : epilogue.addend().toFloatArray();
        try (Arena arena = Arena.ofConfined()) {
            int seed = 3;
            for (HopperEmulation.Timing timing : HopperEmulation.Timing.values()) {
                if (epilogue.addend() == out.d && timing != HopperEmulation.Timing.LAZY) {
                    continue; // it accumulates
                }
                HopperLaunch launch = TensorCoreGemm.prepare(arena.allocate(HopperLaunch.ARGUMENT_BYTES, 8), choice, a,
                        List.of(b), out.d, epilogue, null, null);
                HopperEmulation.run(launch, timing, seed++);
                check(a, b, out.d, 0, epilogue, addend, choice.variant() + ", " + timing);
                out.untouched(new long[] {0}, new long[] {a.rows()});
            }
        }
    }

    private Work work(ScaledTensor a, ScaledTensor b, Tensor d) {
        assertTrue(TensorCoreGemm.refusal(a, List.of(b), d, Epilogue.NONE).isEmpty());
        return TensorCoreGemm.work(a, b, d, new long[] {a.rows()});
    }

    @Test
    void fewTokensSwapOperandsAndSplitK() {
        ScaledTensor a = operand(7, 1040, DType.F8_E4M3, Granularity.BLOCK_1X128);
        ScaledTensor b = operand(200, 1040, DType.F8_E4M3, Granularity.BLOCK_128X128);
        Output out = Output.of(DType.BF16, 7, 200, 8);
        Choice choice = HopperModel.choose(work(a, b, out.d), SMALL);
        assertTrue(choice.variant().swapped() && choice.parts() > 1, choice.toString());
        float[] bias = new float[200];
        for (int i = 0; i < bias.length; i++) {
            bias[i] = i % 5 - 2;
        }
        dense(choice, a, b, out, Epilogue.NONE.withBias(Tensor.of(bias, 200)).with(Activation.SILU));
    }

    @Test
    void wideTilesShareB() {
        ScaledTensor a = operand(300, 400, DType.F8_E4M3, Granularity.BLOCK_1X128);
        ScaledTensor b = operand(450, 400, DType.F8_E4M3, Granularity.BLOCK_128X128);
        Output out = Output.of(DType.BF16, 300, 450, 6);
        HopperVariant v = variant(work(a, b, out.d), 128, 192, false, Share.RIGHT, false);
        dense(HopperModel.estimate(v, 1, work(a, b, out.d), SMALL), a, b, out, Epilogue.NONE);
    }

    @Test
    void tallTilesShareA() {
        ScaledTensor a = operand(260, 272, DType.F8_E4M3, Granularity.BLOCK_1X128);
        ScaledTensor b = operand(270, 272, DType.F8_E4M3, Granularity.BLOCK_128X128);
        Output out = Output.of(DType.BF16, 260, 270, 2);
        HopperVariant v = variant(work(a, b, out.d), 256, 128, false, Share.LEFT, false);
        dense(HopperModel.estimate(v, 1, work(a, b, out.d), SMALL), a, b, out, Epilogue.NONE);
    }

    @Test
    void weightGradientAccumulates() {
        ScaledTensor a = operand(150, 300, DType.F8_E4M3, Granularity.BLOCK_1X128);
        ScaledTensor b = operand(140, 300, DType.F8_E5M2, Granularity.BLOCK_1X128);
        Output out = Output.of(DType.F32, 150, 140, 0);
        HopperVariant v = variant(work(a, b, out.d), 128, 128, false, Share.NONE, false);
        dense(HopperModel.estimate(v, 1, work(a, b, out.d), SMALL), a, b, out, Epilogue.NONE.withAddend(out.d));
    }

    @Test
    void oneScaleForAMatrix() {
        ScaledTensor a = operand(140, 528, DType.F8_E4M3, Granularity.TENSOR);
        ScaledTensor b = operand(150, 528, DType.F8_E4M3, Granularity.TENSOR);
        Output out = Output.of(DType.F32, 140, 150, 1);
        Work w = work(a, b, out.d);
        dense(HopperModel.choose(w, SMALL), a, b, out, Epilogue.NONE);
    }

    @Test
    void oneScaleForARow() {
        ScaledTensor a = operand(70, 656, DType.F8_E4M3, Granularity.ROW);
        ScaledTensor b = operand(150, 656, DType.F8_E4M3, Granularity.ROW);
        Output out = Output.of(DType.BF16, 70, 150, 0);
        HopperVariant v = variant(work(a, b, out.d), 128, 64, true, Share.RIGHT, false);
        dense(HopperModel.estimate(v, 1, work(a, b, out.d), SMALL), a, b, out, Epilogue.NONE);
    }

    private void grouped(boolean swapped, int cols, long[] begins, long[] ends, long rows) {
        int groups = begins.length;
        ScaledTensor a = operand(rows, 272, DType.F8_E4M3, Granularity.BLOCK_1X128);
        List<ScaledTensor> b = operand(groups * 256L, 272, DType.F8_E4M3, Granularity.BLOCK_128X128).split(groups);
        Output out = Output.of(DType.BF16, rows, 256, 0);
        assertTrue(TensorCoreGemm.refusal(a, b, out.d, Epilogue.NONE).isEmpty());
        long[] counts = new long[groups];
        for (int g = 0; g < groups; g++) {
            counts[g] = ends[g] - begins[g];
        }
        Work w = TensorCoreGemm.work(a, b.getFirst(), out.d, counts);
        Choice choice = HopperModel.estimate(variant(w, 128, cols, swapped, Share.NONE, false), 1, w, SMALL);
        try (Arena arena = Arena.ofConfined()) {
            HopperLaunch launch = TensorCoreGemm.prepare(arena.allocate(HopperLaunch.ARGUMENT_BYTES, 8), choice, a, b,
                    out.d, Epilogue.NONE, begins, ends);
            HopperEmulation.run(launch, HopperEmulation.Timing.RANDOM, 5);
        }
        for (int g = 0; g < groups; g++) {
            if (counts[g] > 0) {
                check(a.sliceRows(begins[g], ends[g]), b.get(g), out.d, begins[g], Epilogue.NONE, null, "group " + g);
            }
        }
        out.untouched(begins, ends);
    }

    @Test
    void groupsOneAfterTheOther() {
        grouped(false, 128, new long[] {0, 0, 5, 190, 190}, new long[] {0, 5, 190, 190, 321}, 321);
    }

    @Test
    void groupsWithFreePlaces() {
        grouped(true, 32, new long[] {0, 70, 140}, new long[] {33, 70, 209}, 210);
    }

    @Test
    void refusesWhatTmaCannotRead() {
        ScaledTensor a = operand(70, 256, DType.F8_E4M3, Granularity.BLOCK_1X128);
        ScaledTensor b = operand(128, 256, DType.F8_E4M3, Granularity.BLOCK_128X128);
        Tensor d = Tensor.allocate(DType.F32, Shape.of(70, 128));
        List<String> refused = new ArrayList<>();
        refused.add(why(ScaledTensor.allocate(DType.F8_E4M3, 70, 250, Scaling.ACTIVATION),
                ScaledTensor.allocate(DType.F8_E4M3, 128, 250, Scaling.WEIGHT), d));
        refused.add(why(a.sliceRows(1, 70), b, d.slice(0, 1, 70)));
        refused.add(why(a, operand(256, 128, DType.F8_E4M3, Granularity.BLOCK_128X128).transpose(), d));
        refused.add(why(a, b, Tensor.allocate(DType.F32, Shape.of(128, 70)).transpose()));
        assertEquals(List.of("A's rows do not begin at multiples of 16 bytes",
                "A's scales are not columns at multiples of 16 bytes", "B is not contiguous along K",
                "D is not contiguous along its rows"), refused);
    }

    private static String why(ScaledTensor a, ScaledTensor b, Tensor d) {
        return TensorCoreGemm.refusal(a, List.of(b), d, Epilogue.NONE).orElse("taken");
    }
}
