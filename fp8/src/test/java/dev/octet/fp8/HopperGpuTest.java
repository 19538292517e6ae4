package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.octet.core.DType;
import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.cuda.MirrorBackend;
import dev.octet.fp8.reference.ExactResult;
import dev.octet.fp8.reference.ReferenceGemm;
import dev.octet.fp8.spi.Fp8Backend;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * The Hopper GEMM by the cases of the suites, each within the bound of its tensor cores: pairings, outputs, epilogues,
 * tails, groups, model shapes. Cases run side by side: most of the time goes into compiling variants, which the suites,
 * one case after the other, then find in the cache.
 */
@Tag("gpu")
class HopperGpuTest {
    /** Of the sum of magnitudes: the bound of {@link GemmCheck} for FP8 tensor cores, and BF16's rounding. */
    private static final double BOUND = 4 * 34 * 0x1p-13 + 0x1p-8;

    private static Fp8Backend whole;
    private static Fp8Backend callers;

    @BeforeAll
    static void aHopperGpu() {
        whole = Fp8Backends.FOUND.all().stream().filter(b -> b.name().equals("cuda-hopper")).findFirst().orElseThrow();
        Optional<String> why = whole.unavailable();
        why.ifPresent(w -> System.out.println("The Hopper GEMM is not tested: " + w));
        assumeTrue(why.isEmpty(), why.orElse(""));
        callers = MirrorBackend.ofCallers();
    }

    /** What is wrong with a case, if anything. */
    private static Optional<String> run(Fp8Backend backend, GemmCase gemm) {
        try (Arena arena = Arena.ofShared()) {
            ExactResult exact = ReferenceGemm.exact(gemm.a(arena, Matrices::random), gemm.b(arena, Matrices::random),
                    CpuPool.shared());
            GemmCase.Data data = gemm.data(arena, Matrices::random);
            if (data.d() != null) {
                backend.gemm(data.a(), data.b(), data.d().view(), data.epilogue(), Execution.shared());
            } else {
                backend.gemm(data.a(), data.b(), Objects.requireNonNull(data.quantized()), data.epilogue(),
                        Execution.shared());
            }
            new GemmCheck(gemm, "cuda", data, exact).check();
            return Optional.empty();
        } catch (RuntimeException | AssertionError e) {
            return Optional.of(gemm + ": " + e);
        }
    }

    private static void allRight(Fp8Backend backend, Stream<GemmCase> cases) {
        assertEquals(List.of(), cases.parallel().map(c -> run(backend, c)).flatMap(Optional::stream).toList());
    }

    /** Shapes that take clusters, a split K and the wide tiles, to BF16 through TMA. */
    @Test
    void modelShapes() {
        long[][] shapes = {{1, 2112, 7168}, {16, 7168, 2048}, {64, 1088, 7168}, {128, 576, 7168}, {300, 1056, 1536},
            {1024, 512, 1024}, {700, 1152, 512}};
        allRight(callers, Stream.of(shapes).flatMap(s -> Stream.of(DType.BF16, DType.F32)
                .map(d -> GemmCase.plain(s[0], GemmCase.Pairing.FORWARD, s[0], s[1], s[2])
                        .withOutput(d, ScaleFormat.F32))));
    }

    @Test
    void corners() {
        allRight(callers, GemmSuiteTest.corners().stream());
    }

    /** Without a split of K, as the suites run. */
    @Test
    void suites() {
        allRight(whole, Stream.of(GemmSuiteTest.everyCombination(), GemmSuiteTest.corners(), GemmSuiteTest.samples())
                .flatMap(List::stream));
    }

    @Test
    void groups() {
        long[][] counts = {{5, 295, 0, 400}, {128, 128, 256}, {0, 0, 1}, {20, 3, 0, 127, 129, 64, 1, 17}};
        for (long[] c : counts) {
            for (DType output : new DType[] {DType.F32, DType.BF16}) {
                long place = Math.max(1, Stream.of(c).flatMapToLong(Arrays::stream).max().orElse(0) + 3);
                groups(c, output, place);
                groups(c, output, 0);
            }
        }
    }

    /** Groups one after the other, or, if there is a place, each at a multiple of it. */
    private static void groups(long[] counts, DType output, long place) {
        try (Arena arena = Arena.ofShared()) {
            int n = 384;
            int k = 640;
            SplittableRandom random = new SplittableRandom(counts.length);
            long[] begins = new long[counts.length];
            long[] ends = new long[counts.length];
            long rows = 0;
            for (int g = 0; g < counts.length; g++) {
                begins[g] = place > 0 ? g * place : rows;
                ends[g] = begins[g] + counts[g];
                rows = place > 0 ? (g + 1) * place : ends[g];
            }
            ScaledTensor a = Matrices.random(arena, random, Layout.CONTIGUOUS, DType.F8_E4M3, rows, k,
                    Scaling.ACTIVATION);
            ScaledTensor all = Matrices.random(arena, random, Layout.CONTIGUOUS, DType.F8_E4M3, counts.length * 512L, k,
                    Scaling.WEIGHT);
            List<ScaledTensor> b = all.split(counts.length).stream().map(w -> w.sliceRows(0, n)).toList();
            Layout.Placed d = Layout.CONTIGUOUS.place(arena, output, rows, n);
            callers.groupedGemm(a, begins, ends, b, d.view(), Execution.shared());
            for (int g = 0; g < counts.length; g++) {
                ExactResult exact = ReferenceGemm.exact(a.sliceRows(begins[g], ends[g]), b.get(g), CpuPool.shared());
                for (int i = 0; i < counts[g]; i++) {
                    for (int j = 0; j < n; j++) {
                        float got = d.view().getFloat(begins[g] + i, j);
                        double error = Math.abs(got - exact.sum(i, j));
                        if (!(error <= BOUND * exact.magnitudes()[i * n + j])) {
                            assertEquals(exact.sum(i, j), got, "group " + g + ", row " + i + ", column " + j);
                        }
                    }
                }
            }
            untouched(d.view(), begins, ends);
        }
    }

    private static void untouched(Tensor d, long[] begins, long[] ends) {
        for (long i = 0; i < d.dim(0); i++) {
            boolean written = false;
            for (int g = 0; g < begins.length; g++) {
                written |= i >= begins[g] && i < ends[g];
            }
            for (long j = 0; !written && j < d.dim(1); j++) {
                assertEquals(-1, Float.floatToRawIntBits(d.getFloat(i, j)) >> (d.dtype() == DType.F32 ? 0 : 16),
                        "row " + i + " is no group's");
            }
        }
    }
}
