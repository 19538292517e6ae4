package dev.octet.fp8;

import dev.octet.core.DType;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.GemmCase.Addend;
import dev.octet.fp8.GemmCase.Pairing;
import dev.octet.fp8.reference.ExactResult;
import dev.octet.fp8.reference.ReferenceGemm;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every backend against the exact sums: all pairings, formats, layouts and epilogues, on sizes that are no multiple of
 * anything. A failure prints the whole case, seed included; {@code -Doctet.test.seed=N} draws other cases.
 */
@Tag("backend")
class GemmSuiteTest {
    private static final long SEED = Long.getLong("octet.test.seed", 20241226L);
    private static final int SAMPLES = Integer.getInteger("octet.test.samples", 400);

    /** One backend after the other on the same operands, so that the exact sums are made once. */
    private static void runEverywhere(GemmCase gemm) {
        try (Arena arena = Arena.ofShared()) {
            ExactResult exact = ReferenceGemm.exact(gemm.a(arena, Matrices::random), gemm.b(arena, Matrices::random),
                    CpuPool.shared());
            for (String backend : TestedBackends.names().toList()) {
                GemmCase.Data data = gemm.data(arena, Matrices::random);
                try {
                    gemm.run(Fp8.on(backend), data);
                } catch (RuntimeException | Error e) {
                    throw new AssertionError(gemm + " on backend " + backend, e);
                }
                new GemmCheck(gemm, backend, data, exact).check();
            }
        }
    }

    static List<GemmCase> samples() {
        List<GemmCase> cases = new ArrayList<>();
        for (int i = 0; i < SAMPLES; i++) {
            cases.add(GemmCase.sample(SEED + i));
        }
        return cases;
    }

    @ParameterizedTest
    @MethodSource("samples")
    void sampled(GemmCase gemm) {
        runEverywhere(gemm);
    }

    static List<GemmCase> everyCombination() {
        List<GemmCase> cases = new ArrayList<>();
        List<DType> formats = List.of(DType.F8_E4M3, DType.F8_E5M2);
        for (Pairing pairing : Pairing.values()) {
            for (DType a : formats) {
                for (DType b : formats) {
                    for (DType output : List.of(DType.F32, DType.BF16, DType.F8_E4M3, DType.F8_E5M2)) {
                        cases.add(GemmCase.plain(cases.size(), pairing, 13, 145, 300).withFormats(a, b)
                                .withOutput(output, ScaleFormat.values()[cases.size() % 3]));
                    }
                }
            }
            for (Layout layout : Layout.values()) {
                cases.add(GemmCase.plain(cases.size(), pairing, 33, 67, 257).withLayouts(layout, layout, layout));
                cases.add(GemmCase.plain(cases.size(), pairing, 3, 131, 129).withLayouts(layout, layout, layout)
                        .withOutput(DType.BF16, ScaleFormat.F32));
            }
        }
        return cases;
    }

    @ParameterizedTest
    @MethodSource("everyCombination")
    void combination(GemmCase gemm) {
        runEverywhere(gemm);
    }

    /** Tails of the published models' shapes, and edges of every tile that a kernel may have. */
    static List<GemmCase> corners() {
        List<GemmCase> cases = new ArrayList<>();
        for (long m : new long[] {1, 2, 4, 7}) {
            cases.add(GemmCase.plain(m, Pairing.FORWARD, m, 576, 896));
            cases.add(GemmCase.plain(m, Pairing.FORWARD, m, 2112, 384).withOutput(DType.BF16, ScaleFormat.F32));
            cases.add(GemmCase.plain(m, Pairing.FORWARD, m, 40, 10944));
            cases.add(GemmCase.plain(m, Pairing.INPUT_GRADIENT, m, 10944, 40));
        }
        cases.add(GemmCase.plain(5, Pairing.FORWARD, 128, 256, 512));
        cases.add(GemmCase.plain(6, Pairing.FORWARD, 129, 257, 513));
        cases.add(GemmCase.plain(7, Pairing.FORWARD, 127, 255, 511));
        cases.add(GemmCase.plain(8, Pairing.FORWARD, 1021, 129, 200).withOutput(DType.BF16, ScaleFormat.F32));
        cases.add(GemmCase.plain(9, Pairing.INPUT_GRADIENT, 130, 257, 385).withOutput(DType.BF16, ScaleFormat.F32));
        cases.add(GemmCase.plain(10, Pairing.WEIGHT_GRADIENT, 257, 130, 385)
                .withEpilogue(null, Addend.OUTPUT, Activation.IDENTITY));
        cases.add(GemmCase.plain(11, Pairing.ACTIVATIONS, 200, 200, 1024)
                .withEpilogue(DType.BF16, Addend.F32, Activation.SILU));
        cases.add(GemmCase.plain(12, Pairing.ROWS, 65, 576, 2048));
        cases.add(GemmCase.plain(13, Pairing.TENSORS, 65, 576, 2048));
        cases.add(GemmCase.plain(20, Pairing.FORWARD, 11, 133, 4160));
        cases.add(GemmCase.plain(21, Pairing.FORWARD, 16, 40, 8190).withOutput(DType.BF16, ScaleFormat.F32));
        cases.add(GemmCase.plain(22, Pairing.TENSORS, 9, 70, 4096));
        for (Pairing pairing : Pairing.values()) {
            for (Addend addend : List.of(Addend.NONE, Addend.F32, Addend.OUTPUT)) {
                cases.add(GemmCase.plain(14, pairing, 5, 130, 0).withEpilogue(DType.F32, addend, Activation.SILU));
                cases.add(GemmCase.plain(15, pairing, 0, 130, 40).withEpilogue(DType.F32, addend, Activation.IDENTITY));
                cases.add(GemmCase.plain(16, pairing, 5, 0, 40).withEpilogue(DType.F32, addend, Activation.IDENTITY));
            }
            cases.add(GemmCase.plain(17, pairing, 5, 130, 0).withOutput(DType.F8_E4M3, ScaleFormat.E8M0));
            cases.add(GemmCase.plain(18, pairing, 0, 130, 40).withOutput(DType.F8_E4M3, ScaleFormat.F32));
            cases.add(GemmCase.plain(19, pairing, 5, 0, 40).withOutput(DType.F8_E5M2, ScaleFormat.F32));
        }
        return cases;
    }

    @ParameterizedTest
    @MethodSource("corners")
    void corner(GemmCase gemm) {
        runEverywhere(gemm);
    }
}
