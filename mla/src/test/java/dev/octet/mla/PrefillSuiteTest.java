package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Execution;
import dev.octet.mla.spi.MlaBackend;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Prefill on every backend against FP64, within the derived bound. A failure prints the whole case, seed included;
 * {@code -Doctet.test.seed=N} draws other cases.
 */
@Tag("backend")
class PrefillSuiteTest {
    private static final long SEED = Long.getLong("octet.test.seed", 20241226L);
    private static final int SAMPLES = Integer.getInteger("octet.test.samples", 150);

    /** One backend after the other on the same operands, so that the reference is computed once. */
    private static ExpectedAttention runEverywhere(PrefillCase prefill) {
        try (Arena arena = Arena.ofShared()) {
            PrefillCase.Data data = prefill.data(arena);
            ExpectedAttention expected = prefill.expected(data);
            for (MlaBackend backend : TestedBackends.all()) {
                String what = prefill + " on backend " + backend.name();
                try {
                    prefill.run(backend, data, data.lse(), Execution.shared());
                } catch (RuntimeException | Error e) {
                    throw new AssertionError(what, e);
                }
                if (prefill.deviation() >= 0.1 && prefill.deviation() <= 3) {
                    expected.checkRandom(what, data.out(), data.lse());
                } else {
                    expected.check(what, data.out(), data.lse());
                }
                prefill.run(backend, data, null, Execution.shared());
                expected.check(what + " without lse", data.out(), null);
            }
            return expected;
        }
    }

    static List<PrefillCase> samples() {
        List<PrefillCase> cases = new ArrayList<>();
        for (int i = 0; i < SAMPLES; i++) {
            cases.add(PrefillCase.sample(SEED + i));
        }
        return cases;
    }

    @ParameterizedTest
    @MethodSource("samples")
    void sampled(PrefillCase prefill) {
        runEverywhere(prefill);
    }

    static List<PrefillCase> corners() {
        List<PrefillCase> cases = new ArrayList<>();
        for (int heads : new int[] {1, 3, 16, 63, 128}) {
            cases.add(PrefillCase.self(cases.size(), heads, 0, 1, 17, 40));
        }
        for (Layout layout : Layout.values()) {
            for (DType out : new DType[] {DType.F32, DType.BF16}) {
                cases.add(PrefillCase.self(cases.size(), 3, 70, 33).withLayouts(layout, layout)
                        .withTypes(DType.F32, DType.BF16, out));
                cases.add(PrefillCase.self(cases.size(), 3, 70, 33).withLayouts(layout, layout)
                        .withTypes(DType.BF16, DType.F32, out));
            }
        }
        for (int keys : new int[] {63, 64, 65, 95, 96, 97, 127, 128, 129, 192, 193}) {
            cases.add(PrefillCase.self(cases.size(), 2, keys));
        }
        cases.add(PrefillCase.self(80, 0, 5, 6));
        cases.add(PrefillCase.self(81, 3));
        cases.add(PrefillCase.self(82, 3, 20).withDims(5, 0, 0));
        cases.add(PrefillCase.self(83, 3, 20).withDims(0, 4, 3));
        cases.add(PrefillCase.self(84, 1, 600).withTypes(DType.BF16, DType.BF16, DType.BF16));
        cases.add(PrefillCase.self(85, 2, 150).withDims(96, 0, 96));
        return cases;
    }

    @ParameterizedTest
    @MethodSource("corners")
    void corner(PrefillCase prefill) {
        runEverywhere(prefill);
    }

    /** Chunks of a prompt against what is there already, more queries than keys, windows. */
    static List<PrefillCase> visibilities() {
        float scale = MlaConfig.V3.softmaxScale();
        List<PrefillCase> cases = new ArrayList<>();
        for (AttentionOptions options : List.of(AttentionOptions.causal(scale), AttentionOptions.bidirectional(scale),
                AttentionOptions.causal(scale).withWindow(1), AttentionOptions.causal(scale).withWindow(5),
                AttentionOptions.causal(scale).withWindow(100), AttentionOptions.causal(scale).withWindow(100_000))) {
            cases.add(PrefillCase.plain(cases.size(), 2, new int[] {100, 3, 70, 9, 0, 5},
                    new int[] {300, 3, 20, 0, 9, 1})
                    .withOptions(options));
            cases.add(PrefillCase.plain(cases.size(), 1, new int[] {200}, new int[] {130}).withOptions(options));
        }
        return cases;
    }

    @ParameterizedTest
    @MethodSource("visibilities")
    void visibility(PrefillCase prefill) {
        runEverywhere(prefill);
    }

    static List<PrefillCase> longSequences() {
        List<PrefillCase> cases = new ArrayList<>();
        cases.add(PrefillCase.plain(1, 2, new int[] {20}, new int[] {4097}));
        cases.add(PrefillCase.plain(2, 1, new int[] {1, 7, 300}, new int[] {9000, 4097, 300}));
        return cases;
    }

    @ParameterizedTest
    @MethodSource("longSequences")
    void longSequence(PrefillCase prefill) {
        ExpectedAttention expected = runEverywhere(prefill);
        assertTrue(expected.relativeBound() < 1e-3, prefill + ": the bound allows " + expected.relativeBound());
    }

    /** Scores in the thousands, all scores equal, and none but tiny ones. */
    static List<PrefillCase> scores() {
        List<PrefillCase> cases = new ArrayList<>();
        for (double deviation : new double[] {500, 0, 1e-30, 20}) {
            cases.add(PrefillCase.self(cases.size(), 2, 200).withDeviation(deviation));
        }
        return cases;
    }

    @ParameterizedTest
    @MethodSource("scores")
    void score(PrefillCase prefill) {
        runEverywhere(prefill);
    }
}
