package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Execution;
import dev.octet.mla.reference.AttentionError.Products;
import dev.octet.mla.spi.MlaBackend;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Decode on every backend against FP64, within the derived bound. A failure prints the whole case, seed included;
 * {@code -Doctet.test.seed=N} draws other cases.
 */
@Tag("backend")
class DecodeSuiteTest {
    private static final long SEED = Long.getLong("octet.test.seed", 20241226L);
    private static final int SAMPLES = Integer.getInteger("octet.test.samples", 150);

    /** One backend after the other on the same operands, so that the reference is computed once. */
    static ExpectedAttention runEverywhere(DecodeCase decode) {
        try (Arena arena = Arena.ofShared()) {
            DecodeCase.Data data = decode.data(arena);
            ExpectedAttention expected = decode.expected(data);
            for (MlaBackend backend : TestedBackends.all()) {
                String what = decode + " on backend " + backend.name();
                try {
                    decode.run(backend, data, Execution.shared());
                } catch (RuntimeException | Error e) {
                    throw new AssertionError(what, e);
                }
                if (decode.deviation() >= 0.1 && decode.deviation() <= 3) {
                    expected.checkRandom(what, data.out(), data.lse());
                } else {
                    expected.check(what, data.out(), data.lse());
                }
                decode.run(backend, data, null, Execution.shared());
                expected.check(what + " without lse", data.out(), null);
            }
            return expected;
        }
    }

    static List<DecodeCase> samples() {
        List<DecodeCase> cases = new ArrayList<>();
        for (int i = 0; i < SAMPLES; i++) {
            cases.add(DecodeCase.sample(SEED + i));
        }
        return cases;
    }

    @ParameterizedTest
    @MethodSource("samples")
    void sampled(DecodeCase decode) {
        runEverywhere(decode);
    }

    /** Every number of heads, format, type, layout and page size, around the edges of a page. */
    static List<DecodeCase> corners() {
        List<DecodeCase> cases = new ArrayList<>();
        for (CacheFormat format : CacheFormat.values()) {
            for (int heads : new int[] {1, 3, 16, 63, 128}) {
                cases.add(DecodeCase.plain(cases.size(), heads, 0, 1, 63, 64, 65, 200).withFormat(format));
            }
            for (int page : new int[] {1, 7, 64, 100}) {
                cases.add(DecodeCase.plain(cases.size(), 5, 0, 1, page - 1, page, page + 1, 3 * page).withFormat(format)
                        .withPages(page).withTypes(DType.BF16, DType.BF16));
            }
            for (Layout layout : Layout.values()) {
                cases.add(DecodeCase.plain(cases.size(), 6, 70, 131).withFormat(format).withLayouts(layout, layout)
                        .withTypes(DType.F32, DType.BF16));
                cases.add(DecodeCase.plain(cases.size(), 6, 70, 131).withFormat(format).withLayouts(layout, layout)
                        .withTypes(DType.BF16, DType.F32));
            }
        }
        cases.add(DecodeCase.plain(90, 3).withQueries());
        cases.add(DecodeCase.plain(91, 0, 5, 6));
        return cases;
    }

    @ParameterizedTest
    @MethodSource("corners")
    void corner(DecodeCase decode) {
        runEverywhere(decode);
    }

    /** Several query tokens of a sequence, more of them than keys too, and windows. */
    static List<DecodeCase> visibilities() {
        float scale = MlaConfig.V3.softmaxScale();
        List<DecodeCase> cases = new ArrayList<>();
        for (AttentionOptions options : List.of(AttentionOptions.causal(scale), AttentionOptions.bidirectional(scale),
                AttentionOptions.causal(scale).withWindow(1), AttentionOptions.causal(scale).withWindow(5),
                AttentionOptions.causal(scale).withWindow(130), AttentionOptions.causal(scale).withWindow(100_000))) {
            cases.add(DecodeCase.plain(cases.size(), 4, 300, 0, 2, 65, 1).withQueries(2, 3, 5, 4, 0)
                    .withOptions(options));
            cases.add(DecodeCase.plain(cases.size(), 17, 129, 12, 5).withQueries(40, 12, 7).withOptions(options)
                    .withFormat(CacheFormat.FP8));
        }
        return cases;
    }

    @ParameterizedTest
    @MethodSource("visibilities")
    void visibility(DecodeCase decode) {
        runEverywhere(decode);
    }

    /** Sequences so long that kernels split them, alone and beside short ones. */
    static List<DecodeCase> longSequences() {
        List<DecodeCase> cases = new ArrayList<>();
        cases.add(DecodeCase.plain(1, 3, 4097));
        cases.add(DecodeCase.plain(2, 3, 9000, 1, 500).withQueries(2, 1, 2));
        cases.add(DecodeCase.plain(3, 7, 4097).withFormat(CacheFormat.FP8));
        cases.add(DecodeCase.plain(4, 1, 9000).withFormat(CacheFormat.FP8_FP32_SCALE).withPages(100)
                .withOptions(AttentionOptions.causal(0.1f).withWindow(5000)));
        cases.add(DecodeCase.plain(5, 128, 4097).withTypes(DType.BF16, DType.BF16));
        return cases;
    }

    @ParameterizedTest
    @MethodSource("longSequences")
    void longSequence(DecodeCase decode) {
        ExpectedAttention expected = runEverywhere(decode);
        double most = TestedBackends.decodeProducts() == Products.FP32 ? 1e-3 : 2e-3;
        assertTrue(expected.relativeBound() < most, decode + ": the bound allows " + expected.relativeBound());
    }

    /** Scores in the thousands, all scores equal, and none but tiny ones. */
    static List<DecodeCase> scores() {
        List<DecodeCase> cases = new ArrayList<>();
        for (CacheFormat format : CacheFormat.values()) {
            cases.add(DecodeCase.plain(1, 3, 300, 7).withFormat(format).withDeviation(500));
            cases.add(DecodeCase.plain(2, 3, 300, 7).withFormat(format).withDeviation(0));
            cases.add(DecodeCase.plain(3, 3, 300, 7).withFormat(format).withDeviation(1e-30));
            cases.add(DecodeCase.plain(4, 3, 300, 7).withFormat(format).withDeviation(20));
        }
        return cases;
    }

    @ParameterizedTest
    @MethodSource("scores")
    void score(DecodeCase decode) {
        runEverywhere(decode);
    }
}
