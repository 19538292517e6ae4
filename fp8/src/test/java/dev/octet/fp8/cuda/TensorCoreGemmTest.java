package dev.octet.fp8.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.octet.core.DType;
import dev.octet.core.GuardedMemory;
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
import dev.octet.fp8.cuda.HopperVariant.Out;
import dev.octet.fp8.cuda.HopperVariant.Share;
import dev.octet.fp8.reference.ExactResult;
import dev.octet.fp8.reference.ReferenceGemm;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

/**
 * Launches that {@link TensorCoreGemm} prepares, on operands that fp8's quantisers wrote, run on emulated instructions
 * and compared with the exact sums. The tensor core's short accumulator is not emulated: sums are FP32.
 */
class TensorCoreGemmTest {
    /** Most of a test's time goes to a compiler that uses one core: another test may run meanwhile. */
    @Test
    @Execution(ExecutionMode.CONCURRENT)
    @Target(ElementType.METHOD)
    @Retention(RetentionPolicy.RUNTIME)
    @interface CompilingTest {}

    /** Few, so that blocks have several tiles. */
    private static final Gpu SMALL = EmulatedLauncher.SMALL;

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
                w.out(), w.epilogue());
    }

    private void dense(Choice choice, ScaledTensor a, ScaledTensor b, Output out, Epilogue epilogue) {
        float[] addend = epilogue.addend() == null ? null : epilogue.addend().toFloatArray();
        int seed = 3;
        for (HopperEmulation.Timing timing : HopperEmulation.Timing.values()) {
            if (epilogue.addend() == out.d && timing != HopperEmulation.Timing.LAZY) {
                continue; // it accumulates
            }
            TensorCoreGemm gemm = new TensorCoreGemm();
            gemm.a().read(a);
            gemm.b().read(b);
            assertEquals(0, gemm.a().stagedBytes() + gemm.b().stagedBytes());
            HopperLaunch launch = gemm.prepare(choice, choice.clusters(), a.columns(), out.d, null, epilogue);
            HopperEmulation.run(launch, timing, seed++);
            check(a, b, out.d, 0, epilogue, addend, choice.variant() + ", " + timing);
            out.untouched(new long[] {0}, new long[] {a.rows()});
        }
    }

    private static Work work(ScaledTensor a, ScaledTensor b, Tensor d, boolean epilogue, long... rows) {
        TensorCoreGemm gemm = new TensorCoreGemm();
        gemm.a().read(a);
        gemm.b().read(b);
        Out out = d.dtype() == DType.F32 ? Out.F32 : Out.BF16;
        return TensorCoreGemm.work(gemm.a(), gemm.b(), rows.length == 0 ? new long[] {a.rows()} : rows, a.columns(),
                out, epilogue);
    }

    @CompilingTest
    void fewTokensSwapOperandsAndSplitK() {
        ScaledTensor a = operand(7, 1040, DType.F8_E4M3, Granularity.BLOCK_1X128);
        ScaledTensor b = operand(200, 1040, DType.F8_E4M3, Granularity.BLOCK_128X128);
        Output out = Output.of(DType.BF16, 7, 200, 8);
        Choice choice = HopperModel.choose(work(a, b, out.d, true), SMALL);
        assertTrue(choice.variant().swapped() && choice.parts() > 1, choice.toString());
        float[] bias = new float[200];
        for (int i = 0; i < bias.length; i++) {
            bias[i] = i % 5 - 2;
        }
        dense(choice, a, b, out, Epilogue.NONE.withBias(Tensor.of(bias, 200)).with(Activation.SILU));
    }

    @CompilingTest
    void wideTilesShareB() {
        ScaledTensor a = operand(300, 400, DType.F8_E4M3, Granularity.BLOCK_1X128);
        ScaledTensor b = operand(450, 400, DType.F8_E4M3, Granularity.BLOCK_128X128);
        Output out = Output.of(DType.BF16, 300, 450, 6);
        HopperVariant v = variant(work(a, b, out.d, false), 128, 192, false, Share.RIGHT, false);
        dense(HopperModel.estimate(v, 1, work(a, b, out.d, false), SMALL), a, b, out, Epilogue.NONE);
    }

    @CompilingTest
    void tallTilesShareA() {
        ScaledTensor a = operand(260, 272, DType.F8_E4M3, Granularity.BLOCK_1X128);
        ScaledTensor b = operand(270, 272, DType.F8_E4M3, Granularity.BLOCK_128X128);
        Output out = Output.of(DType.BF16, 260, 270, 2);
        HopperVariant v = variant(work(a, b, out.d, false), 256, 128, false, Share.LEFT, false);
        dense(HopperModel.estimate(v, 1, work(a, b, out.d, false), SMALL), a, b, out, Epilogue.NONE);
    }

    @CompilingTest
    void weightGradientAccumulates() {
        ScaledTensor a = operand(150, 300, DType.F8_E4M3, Granularity.BLOCK_1X128);
        ScaledTensor b = operand(140, 300, DType.F8_E5M2, Granularity.BLOCK_1X128);
        Output out = Output.of(DType.F32, 150, 140, 0);
        HopperVariant v = variant(work(a, b, out.d, true), 128, 128, false, Share.NONE, false);
        dense(HopperModel.estimate(v, 1, work(a, b, out.d, true), SMALL), a, b, out, Epilogue.NONE.withAddend(out.d));
    }

    @CompilingTest
    void oneScaleForAMatrix() {
        ScaledTensor a = operand(140, 528, DType.F8_E4M3, Granularity.TENSOR);
        ScaledTensor b = operand(150, 528, DType.F8_E4M3, Granularity.TENSOR);
        Output out = Output.of(DType.F32, 140, 150, 1);
        Work w = work(a, b, out.d, false);
        dense(HopperModel.choose(w, SMALL), a, b, out, Epilogue.NONE);
    }

    @CompilingTest
    void oneScaleForARow() {
        ScaledTensor a = operand(70, 656, DType.F8_E4M3, Granularity.ROW);
        ScaledTensor b = operand(150, 656, DType.F8_E4M3, Granularity.ROW);
        Output out = Output.of(DType.BF16, 70, 150, 0);
        HopperVariant v = variant(work(a, b, out.d, false), 128, 64, true, Share.RIGHT, false);
        dense(HopperModel.estimate(v, 1, work(a, b, out.d, false), SMALL), a, b, out, Epilogue.NONE);
    }

    private void grouped(boolean swapped, int cols, long[] begins, long[] ends, long rows) {
        int groups = begins.length;
        ScaledTensor a = operand(rows, 272, DType.F8_E4M3, Granularity.BLOCK_1X128);
        List<ScaledTensor> b = operand(groups * 256L, 272, DType.F8_E4M3, Granularity.BLOCK_128X128).split(groups);
        Output out = Output.of(DType.BF16, rows, 256, 0);
        long[] counts = new long[groups];
        for (int g = 0; g < groups; g++) {
            counts[g] = ends[g] - begins[g];
        }
        Work w = work(a, b.getFirst(), out.d, false, counts);
        Choice choice = HopperModel.estimate(variant(w, 128, cols, swapped, Share.NONE, false), 1, w, SMALL);
        TensorCoreGemm gemm = new TensorCoreGemm();
        gemm.a().read(a);
        assertTrue(HopperOperand.stacked(b));
        gemm.b().read(b);
        HopperLaunch launch = gemm.prepare(choice, choice.clusters(), a.columns(), out.d, null, Epilogue.NONE);
        gemm.table(begins, ends, 0, groups);
        HopperEmulation.run(launch, HopperEmulation.Timing.RANDOM, 5);
        for (int g = 0; g < groups; g++) {
            if (counts[g] > 0) {
                check(a.sliceRows(begins[g], ends[g]), b.get(g), out.d, begins[g], Epilogue.NONE, null, "group " + g);
            }
        }
        out.untouched(begins, ends);
    }

    @CompilingTest
    void groupsOneAfterTheOther() {
        grouped(false, 128, new long[] {0, 0, 5, 190, 190}, new long[] {0, 5, 190, 190, 321}, 321);
    }

    @CompilingTest
    void groupsWithFreePlaces() {
        grouped(true, 32, new long[] {0, 70, 140}, new long[] {33, 70, 209}, 210);
    }

    // ------------------------------------------------------------------ whole operations, staged where needed

    private static final HopperEmulation.Timing RANDOM = HopperEmulation.Timing.RANDOM;

    private ScaledTensor quantized(long rows, long columns, Granularity granularity, ScaleFormat scales) {
        float[] values = new float[Math.toIntExact(rows * columns)];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (random.nextGaussian() * (1 + i % 7));
        }
        return Fp8.on("reference").quantize(Tensor.of(values, rows, columns), DType.F8_E4M3,
                new Scaling(granularity, scales));
    }

    private void runs(ScaledTensor a, ScaledTensor b, Output out, Epilogue epilogue, String... launches) {
        EmulatedLauncher launcher = new EmulatedLauncher(RANDOM);
        float[] addend = epilogue.addend() == null ? null : epilogue.addend().toFloatArray();
        CudaGemm.gemm(launcher, a, b, out.d, epilogue);
        assertEquals(List.of(launches), launcher.launched.stream().map(TensorCoreGemmTest::kind).toList());
        check(a, b, out.d, 0, epilogue, addend, launcher.launched.toString());
        out.untouched(new long[] {0}, new long[] {a.rows()});
    }

    private static String kind(String launched) {
        return launched.contains("stages") ? "hopper" : launched;
    }

    @CompilingTest
    void inputGradientStagesWeights() {
        ScaledTensor dy = quantized(150, 272, Granularity.BLOCK_1X128, ScaleFormat.F32);
        ScaledTensor w = quantized(272, 208, Granularity.BLOCK_128X128, ScaleFormat.F32);
        runs(dy, w.transpose(), Output.of(DType.BF16, 150, 208, 8), Epilogue.NONE, "STAGE", "hopper");
    }

    @CompilingTest
    void weightGradientStagesBoth() {
        // Of 131 rows no 16 lie at a multiple of 16 bytes: read one by one.
        ScaledTensor dy = quantized(300, 131, Granularity.BLOCK_128X1, ScaleFormat.F32);
        ScaledTensor x = quantized(300, 144, Granularity.BLOCK_128X1, ScaleFormat.F32);
        Output out = Output.of(DType.F32, 131, 144, 0);
        runs(dy.transpose(), x.transpose(), out, Epilogue.NONE.withAddend(out.d), "STAGE", "hopper");
    }

    /** Staging reads no byte behind the codes: there the JVM would end. */
    @CompilingTest
    void stagingStaysWithinItsOperands() {
        Assumptions.assumeTrue(GuardedMemory.isThere(), "memory between pages that can't be touched");
        try (GuardedMemory memory = new GuardedMemory()) {
            ScaledTensor dy = quantized(200, 131, Granularity.BLOCK_128X1, ScaleFormat.F32);
            ScaledTensor x = quantized(200, 144, Granularity.BLOCK_128X1, ScaleFormat.F32);
            ScaledTensor left = new ScaledTensor(memory.copy(dy.codes(), true), dy.scales(), dy.scaling());
            ScaledTensor right = new ScaledTensor(memory.copy(x.codes(), true), x.scales(), x.scaling());
            runs(left.transpose(), right.transpose(), Output.of(DType.F32, 131, 144, 0), Epilogue.NONE, "STAGE",
                    "hopper");
        }
    }

    @CompilingTest
    void exponentScalesOfBlocksAreReadInPlaceAndThoseOfRowsStaged() {
        ScaledTensor a = quantized(130, 400, Granularity.BLOCK_1X128, ScaleFormat.E8M0);
        ScaledTensor b = quantized(208, 400, Granularity.BLOCK_128X128, ScaleFormat.E8M0);
        runs(a, b, Output.of(DType.BF16, 130, 208, 8), Epilogue.NONE, "STAGE", "hopper");
    }

    @CompilingTest
    void oddRowsAndStridedResults() {
        // Rows of 250 bytes; D, the addend and the bias with strides of their own.
        ScaledTensor a = quantized(70, 250, Granularity.BLOCK_1X128, ScaleFormat.F32).sliceRows(1, 70);
        ScaledTensor b = quantized(150, 250, Granularity.BLOCK_1X128, ScaleFormat.F32);
        Tensor d = Tensor.allocate(DType.F32, Shape.of(150, 69)).transpose();
        float[] values = new float[69 * 150];
        for (int i = 0; i < values.length; i++) {
            values[i] = i % 11 - 5;
        }
        Tensor addend = Tensor.of(values, 150, 69).transpose();
        Tensor bias = Tensor.of(values, 150, 69).slice(1, 3, 4).reshape(150);
        Epilogue epilogue = Epilogue.NONE.withAddend(addend).withBias(bias);
        EmulatedLauncher launcher = new EmulatedLauncher(RANDOM);
        CudaGemm.gemm(launcher, a, b, d, epilogue);
        check(a, b, d, 0, epilogue, addend.toFloatArray(), launcher.launched.toString());
        assertEquals("STAGE", launcher.launched.getFirst());
        assertEquals(2, launcher.launched.size());
    }

    /** Small whole numbers, whose sums are exact in any order: a quantised result has the reference's bits. */
    private ScaledTensor wholeNumbers(long rows, long columns, Granularity granularity) {
        float[] values = new float[Math.toIntExact(rows * columns)];
        for (int i = 0; i < values.length; i++) {
            values[i] = random.nextInt(-3, 4);
        }
        return Fp8.on("reference").quantize(Tensor.of(values, rows, columns), DType.F8_E4M3,
                new Scaling(granularity, ScaleFormat.POWER_OF_TWO));
    }

    private void quantizes(ScaledTensor a, ScaledTensor b, DType format, ScaleFormat scales, long pitch) {
        long m = a.rows();
        long n = b.rows();
        Scaling scaling = new Scaling(Granularity.BLOCK_1X128, scales);
        ScaledTensor expected = ScaledTensor.allocate(format, m, n, scaling);
        Fp8.on("reference").gemm(a, b, expected, Epilogue.NONE);
        Tensor all = Tensor.allocate(format, Shape.of(m + 1, pitch));
        all.segment().fill((byte) 0x55);
        Tensor own = expected.scales();
        long blocks = own.dim(1);
        Tensor allScales = Tensor.allocate(own.dtype(), Shape.of(m + 1, blocks + 1));
        allScales.segment().fill((byte) 0x55);
        ScaledTensor d = new ScaledTensor(all.slice(0, 0, m).slice(1, 0, n),
                allScales.slice(0, 0, m).slice(1, 0, blocks), scaling);
        EmulatedLauncher launcher = new EmulatedLauncher(RANDOM);
        CudaGemm.gemm(launcher, a, b, d, Epilogue.NONE);
        assertTrue(launcher.launched.getLast().contains("FP8"), launcher.launched.toString());
        for (long i = 0; i <= m; i++) {
            for (long j = 0; j < pitch; j++) {
                byte code = i < m && j < n ? expected.codes().segment().get(ValueLayout.JAVA_BYTE, i * n + j) : 0x55;
                assertEquals(code, all.segment().get(ValueLayout.JAVA_BYTE, i * pitch + j), "code " + i + ", " + j);
            }
        }
        assertArrayEquals(dequantized(expected), dequantized(d)); // with the same codes: the same scales
        byte[] scaleBytes = allScales.segment().toArray(ValueLayout.JAVA_BYTE);
        for (int i = 0; i < scaleBytes.length; i++) {
            long scale = i / own.dtype().byteSize();
            if (scale / (blocks + 1) >= m || scale % (blocks + 1) >= blocks) {
                assertEquals(0x55, scaleBytes[i], "around the scales, byte " + i);
            }
        }
    }

    private static float[] dequantized(ScaledTensor t) {
        return Fp8.on("reference").dequantize(t, DType.F32).toFloatArray();
    }

    @CompilingTest
    void quantizesInTheEpilogue() {
        ScaledTensor a = wholeNumbers(330, 272, Granularity.BLOCK_1X128);
        ScaledTensor b = wholeNumbers(330, 272, Granularity.BLOCK_128X128);
        quantizes(a, b, DType.F8_E4M3, ScaleFormat.F32, 336);
        quantizes(a, b, DType.F8_E5M2, ScaleFormat.E8M0, 333);
    }

    @CompilingTest
    void quantizesFewTokens() {
        ScaledTensor a = wholeNumbers(9, 528, Granularity.BLOCK_1X128);
        ScaledTensor b = wholeNumbers(330, 528, Granularity.BLOCK_128X128);
        quantizes(a, b, DType.F8_E4M3, ScaleFormat.POWER_OF_TWO, 331);
        quantizes(a, b, DType.F8_E5M2, ScaleFormat.F32, 336);
    }

    /** 17 tiles for clusters of two that share A: the last block has nothing to do, and no scale. */
    @CompilingTest
    void quantizesAnOddNumberOfTiles() {
        ScaledTensor a = wholeNumbers(2, 144, Granularity.TENSOR);
        ScaledTensor b = wholeNumbers(2112, 144, Granularity.TENSOR);
        quantizes(a, b, DType.F8_E4M3, ScaleFormat.F32, 2112);
    }

    @CompilingTest
    void groupsAnywhere() {
        // At unequal distances, one transposed: a launch for each group that has rows.
        ScaledTensor a = quantized(200, 272, Granularity.BLOCK_1X128, ScaleFormat.F32);
        List<ScaledTensor> b = List.of(quantized(208, 272, Granularity.BLOCK_128X128, ScaleFormat.F32),
                quantized(208, 272, Granularity.BLOCK_128X128, ScaleFormat.F32),
                quantized(272, 208, Granularity.BLOCK_128X128, ScaleFormat.F32).transpose());
        long[] begins = {0, 60, 60};
        long[] ends = {60, 60, 190};
        Output out = Output.of(DType.BF16, 200, 208, 0);
        EmulatedLauncher launcher = new EmulatedLauncher(RANDOM);
        CudaGemm.grouped(launcher, a, begins, ends, b, out.d);
        assertEquals(List.of("hopper", "STAGE", "hopper"),
                launcher.launched.stream().map(TensorCoreGemmTest::kind).toList());
        for (int g = 0; g < 3; g += 2) {
            check(a.sliceRows(begins[g], ends[g]), b.get(g), out.d, begins[g], Epilogue.NONE, null, "group " + g);
        }
        out.untouched(begins, ends);
    }

    @CompilingTest
    void groupsOfTransposedWeightsAreStagedTogether() {
        ScaledTensor a = quantized(190, 256, Granularity.BLOCK_1X128, ScaleFormat.F32);
        List<ScaledTensor> b = quantized(3 * 256, 208, Granularity.BLOCK_128X128, ScaleFormat.F32).split(3).stream()
                .map(ScaledTensor::transpose).toList();
        long[] begins = {0, 60, 60};
        long[] ends = {60, 60, 190};
        Output out = Output.of(DType.BF16, 190, 208, 0);
        EmulatedLauncher launcher = new EmulatedLauncher(RANDOM);
        CudaGemm.grouped(launcher, a, begins, ends, b, out.d);
        assertEquals(List.of("STAGE", "hopper"), launcher.launched.stream().map(TensorCoreGemmTest::kind).toList());
        for (int g = 0; g < 3; g += 2) {
            check(a.sliceRows(begins[g], ends[g]), b.get(g), out.d, begins[g], Epilogue.NONE, null, "group " + g);
        }
        out.untouched(begins, ends);
    }

    @CompilingTest
    void groupsAlongKAccumulate() {
        ScaledTensor a = quantized(290, 131, Granularity.BLOCK_128X1, ScaleFormat.F32).transpose();
        ScaledTensor b = quantized(290, 144, Granularity.BLOCK_128X1, ScaleFormat.F32).transpose();
        long[] offsets = {0, 128, 128, 290, 290};
        Tensor d = Tensor.allocate(DType.F32, Shape.of(4, 131, 144));
        float[] before = new float[4 * 131 * 144];
        for (int i = 0; i < before.length; i++) {
            before[i] = i % 9 - 4;
        }
        d.copyFrom(before);
        EmulatedLauncher launcher = new EmulatedLauncher(RANDOM);
        CudaGemm.kGrouped(launcher, a, b, offsets, d, d);
        assertEquals(List.of("STAGE", "hopper", "hopper", "hopper", "hopper"),
                launcher.launched.stream().map(TensorCoreGemmTest::kind).toList());
        for (int g = 0; g < 4; g++) {
            Tensor one = d.slice(0, g, g + 1).reshape(131, 144);
            float[] addend = Arrays.copyOfRange(before, g * 131 * 144, (g + 1) * 131 * 144);
            if (offsets[g + 1] > offsets[g]) {
                check(a.sliceColumns(offsets[g], offsets[g + 1]), b.sliceColumns(offsets[g], offsets[g + 1]), one, 0,
                        Epilogue.NONE, addend, "group " + g);
            } else {
                assertArrayEquals(addend, one.toFloatArray());
            }
        }
    }

    @CompilingTest
    void refusesNothingButNothing() {
        ScaledTensor a = quantized(70, 256, Granularity.BLOCK_1X128, ScaleFormat.F32);
        ScaledTensor b = quantized(128, 256, Granularity.BLOCK_128X128, ScaleFormat.F32);
        assertNull(TensorCoreGemm.refusal(a, b));
        assertEquals("nothing to multiply", TensorCoreGemm.refusal(a.sliceColumns(0, 0), b.sliceColumns(0, 0)));
    }
}
