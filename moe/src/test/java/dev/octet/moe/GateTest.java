package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collections;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Which experts a gate chooses, with which weights, on every backend. */
@Tag("backend")
class GateTest {
    private static final String BACKENDS = "dev.octet.moe.TestedBackends#names";
    private static final GateConfig[] PRESETS = {GateConfig.V3, GateConfig.V2, GateConfig.V2_LITE,
            GateConfig.plain(8, 2),
            new GateConfig(96, 12, 6, 3, ScoreFunction.SQRT_SOFTPLUS, GroupScore.TOP2_SUM, true, 1.5f),
            new GateConfig(7, 7, 1, 1, ScoreFunction.SIGMOID, GroupScore.TOP2_SUM, false, 1),
            new GateConfig(20, 3, 20, 5, ScoreFunction.SQRT_SOFTPLUS, GroupScore.MAX, true, 1)};

    /** The best of all sets of groups and of all sets of experts, on choices that lie far apart. */
    @ParameterizedTest
    @MethodSource(BACKENDS)
    void isTheBestOfAllSubsets(String backend) {
        SplittableRandom random = new SplittableRandom(41);
        for (ScoreFunction scores : ScoreFunction.values()) {
            for (GroupScore group : GroupScore.values()) {
                for (int[] dims : new int[][] {{12, 3, 4, 2}, {12, 2, 3, 1}, {8, 4, 2, 2}, {10, 1, 5, 3}, {9, 5, 1, 1},
                        {12, 6, 4, 4}}) {
                    GateConfig config = new GateConfig(dims[0], dims[1], dims[2], dims[3], scores, group, false, 1);
                    for (int round = 0; round < 20; round++) {
                        bruteForce(backend, config, random);
                    }
                }
            }
        }
    }

    private static void bruteForce(String backend, GateConfig config, SplittableRandom random) {
        int experts = config.experts();
        float[] logits = GateRun.gaussian(random, experts, 1);
        float[] bias = new float[experts];
        for (int e = 0; e < experts; e++) { // distinct binary digits keep sums of any subsets apart
            bias[e] = (random.nextInt(64) - 40) / 8f + 0x1p-4f * (1 << random.nextInt(3)) + e * 0x1p-9f;
        }
        double[] choice = choices(logits, bias, config.scores());
        int size = config.groupSize();
        double[] value = new double[config.groups()];
        for (int g = 0; g < value.length; g++) {
            value[g] = Double.NEGATIVE_INFINITY;
            for (int a = g * size; a < (g + 1) * size; a++) {
                for (int b = g * size; b < (g + 1) * size; b++) {
                    value[g] = Math.max(value[g], config.groupScore() == GroupScore.MAX ? choice[a]
                            : a == b ? Double.NEGATIVE_INFINITY : choice[a] + choice[b]);
                }
            }
            if (size == 1) {
                value[g] = choice[g];
            }
        }
        int groups = best(value, (1 << value.length) - 1, config.keptGroups());
        int allowed = IntStream.range(0, experts).filter(e -> (groups >> e / size & 1) != 0).map(e -> 1 << e).sum();
        int chosen = best(choice, allowed, config.topK());
        if (closest(value) < 1e-5 || closest(choice) < 1e-5) {
            return; // too close for FP32
        }
        int[] got = GateRun.of(backend, logits, bias, config).experts();
        assertEquals(chosen, Arrays.stream(got).map(e -> 1 << e).sum(), config + Arrays.toString(choice));
        for (int i = 1; i < got.length; i++) {
            assertTrue(choice[got[i - 1]] > choice[got[i]], () -> Arrays.toString(got));
        }
    }

    private static double closest(double[] values) {
        double[] sorted = Arrays.stream(values).sorted().toArray();
        return IntStream.range(1, sorted.length).mapToDouble(i -> sorted[i] - sorted[i - 1]).min().orElse(1);
    }

    /** Of all sets with so many members, inside the allowed ones, that with the largest sum. */
    private static int best(double[] values, int allowed, int members) {
        int best = 0;
        double most = Double.NEGATIVE_INFINITY;
        for (int set = 0; set < 1 << values.length; set++) {
            if (Integer.bitCount(set) == members && (set & ~allowed) == 0) {
                double sum = 0;
                for (int i = 0; i < values.length; i++) {
                    sum += (set >> i & 1) * values[i];
                }
                if (sum > most) {
                    most = sum;
                    best = set;
                }
            }
        }
        return best;
    }

    static double[] choices(float[] logits, float[] bias, ScoreFunction function) {
        double sum = IntStream.range(0, logits.length).mapToDouble(e -> Math.exp(logits[e])).sum();
        return IntStream.range(0, logits.length).mapToDouble(e -> bias[e] + switch (function) {
            case SOFTMAX -> Math.exp(logits[e]) / sum;
            case SIGMOID -> 1 / (1 + Math.exp(-logits[e]));
            case SQRT_SOFTPLUS -> Math.sqrt(Math.log1p(Math.exp(logits[e])));
        }).toArray();
    }

    /** Were dropped groups masked with 0, their experts would beat kept ones whose choices are negative. */
    @ParameterizedTest
    @MethodSource(BACKENDS)
    void aKeptNegativeChoiceBeatsADroppedGroup(String backend) {
        GateConfig config = new GateConfig(8, 4, 4, 2, ScoreFunction.SIGMOID, GroupScore.TOP2_SUM, true, 1);
        float[] bias = {-3, -3.5f, -1, -4, -6, -6, -2, -2.5f};
        assertArrayEquals(new int[] {2, 6, 7, 3}, GateRun.of(backend, new float[8], bias, config).experts());
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void equalScoresGoToTheLowestNumbers(String backend) {
        for (GateConfig config : PRESETS) {
            GateRun run = GateRun.of(backend, new float[19 * config.experts()], null, config);
            for (int t = 0; t < 19; t++) {
                assertArrayEquals(IntStream.range(0, config.topK()).toArray(), run.experts(t), config.toString());
            }
        }
    }

    /** Groups of equal value, and equal choices in different groups and inside one. */
    @ParameterizedTest
    @MethodSource(BACKENDS)
    void tiesAcrossGroups(String backend) {
        GateConfig config = new GateConfig(12, 5, 4, 2, ScoreFunction.SIGMOID, GroupScore.TOP2_SUM, false, 1);
        // Values 1.5 + 2 * 0.5, 2 + 1, 2 + 1 and 0 + 1; groups 1 and 2 are kept; 4 and 8 tie, then 3, 5, 6 and 7.
        float[] bias = {1, 0.5f, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0};
        assertArrayEquals(new int[] {4, 8, 3, 5, 6}, GateRun.of(backend, new float[12], bias, config).experts());
        // Three groups tie: the first two are kept.
        float[] even = {0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 0, 0};
        assertArrayEquals(new int[] {1, 2, 4, 5, 0}, GateRun.of(backend, new float[12], even, config).experts());
    }

    /** 0.5 + i * 2^-24 is exact: neighbours differ by one unit in the last place. */
    @ParameterizedTest
    @MethodSource(BACKENDS)
    void scoresOneUnitApart(String backend) {
        GateConfig config = new GateConfig(32, 8, 1, 1, ScoreFunction.SIGMOID, GroupScore.MAX, false, 1);
        float[] bias = new float[32];
        Integer[] order = IntStream.range(0, 32).boxed().toArray(Integer[]::new);
        Collections.shuffle(Arrays.asList(order), new Random(7));
        for (int i = 0; i < 32; i++) {
            bias[order[i]] = (31 - i) * 0x1p-24f;
        }
        int[] expected = Arrays.stream(order).limit(8).mapToInt(e -> e).toArray();
        assertArrayEquals(expected, GateRun.of(backend, new float[32], bias, config).experts());
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void keepsFewGroupsAndItsWeightsAddUp(String backend) {
        SplittableRandom random = new SplittableRandom(5);
        for (GateConfig config : PRESETS) {
            float[] logits = GateRun.gaussian(random, 150 * config.experts(), 2);
            float[] bias = GateRun.gaussian(random, config.experts(), 0.3);
            GateRun run = GateRun.of(backend, logits, bias, config);
            for (int t = 0; t < 150; t++) {
                int[] experts = run.experts(t);
                assertEquals(config.topK(), Arrays.stream(experts).distinct().count());
                assertTrue(Arrays.stream(experts).map(e -> e / config.groupSize()).distinct().count()
                        <= config.keptGroups());
                double sum = 0;
                for (float w : run.weights(t)) {
                    sum += w;
                }
                if (config.normalize()) { // k divisions, k products, a sum of k
                    assertEquals(config.scale(), sum, config.scale() * (config.topK() + 3) * 0x1p-24);
                }
            }
        }
    }

    /** The order of tokens, and how many threads there are, change no bit of a token's result. */
    @ParameterizedTest
    @MethodSource(BACKENDS)
    void tokensDoNotDependOnEachOther(String backend) {
        SplittableRandom random = new SplittableRandom(6);
        for (GateConfig config : PRESETS) {
            int tokens = 203;
            int experts = config.experts();
            float[] logits = GateRun.gaussian(random, tokens * experts, 3);
            float[] bias = GateRun.gaussian(random, experts, 0.1);
            GateRun run = GateRun.of(backend, 1, logits, bias, config);
            for (int threads : new int[] {2, 5}) {
                run.assertSame(GateRun.of(backend, threads, logits, bias, config), threads + " threads");
            }
            float[] turned = new float[logits.length];
            int[] from = IntStream.range(0, tokens).map(t -> t * 74 % tokens).toArray();
            for (int t = 0; t < tokens; t++) {
                System.arraycopy(logits, from[t] * experts, turned, t * experts, experts);
            }
            GateRun other = GateRun.of(backend, 2, turned, bias, config);
            for (int t = 0; t < tokens; t++) {
                assertArrayEquals(run.experts(from[t]), other.experts(t));
                assertArrayEquals(run.weights(from[t]), other.weights(t));
            }
            GateRun one = GateRun.of(backend, Arrays.copyOfRange(logits, 11 * experts, 12 * experts), bias, config);
            assertArrayEquals(run.weights(11), one.weights(0));
        }
    }

    /** One definition of scores for all vector widths and none; and against FP64 where no two choices are close. */
    @ParameterizedTest
    @MethodSource(BACKENDS)
    void agreesWithTheOtherBackends(String backend) {
        SplittableRandom random = new SplittableRandom(8);
        for (GateConfig config : PRESETS) {
            float[] logits = GateRun.gaussian(random, 300 * config.experts(), 2);
            float[] bias = GateRun.gaussian(random, config.experts(), 0.2);
            GateRun run = GateRun.of(backend, logits, bias, config);
            if (!backend.equals("reference")) {
                run.assertSame(GateRun.of("scalar", logits, bias, config), config.toString());
            }
            GateRun exact = GateRun.of("reference", logits, bias, config);
            int same = 0;
            for (int t = 0; t < 300; t++) {
                if (Arrays.equals(exact.experts(t), run.experts(t))) {
                    same++;
                    for (int i = 0; i < config.topK(); i++) {
                        float w = exact.weights(t)[i];
                        assertEquals(w, run.weights(t)[i], w * (5 * config.experts() + 40) * 0x1p-24);
                    }
                }
            }
            assertTrue(same >= 295, same + " of 300 tokens as in FP64, " + config);
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void infiniteLogits(String backend) {
        float low = Float.NEGATIVE_INFINITY;
        for (ScoreFunction scores : ScoreFunction.values()) {
            GateConfig config = new GateConfig(4, 3, 1, 1, scores, GroupScore.MAX, true, 1);
            GateRun run = GateRun.of(backend, new float[] {low, 1, low, low, low, low, low, low}, null, config);
            assertArrayEquals(new int[] {1, 0, 2, 0, 1, 2}, run.experts(), scores.toString());
            assertArrayEquals(new float[] {1, 0, 0, 0, 0, 0}, run.weights(), scores.toString());
        }
        GateConfig config = GateConfig.plain(3, 1);
        float most = Float.MAX_VALUE;
        assertArrayEquals(new float[] {1}, GateRun.of(backend, new float[] {-most, most, 0}, null, config).weights());
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void mixtral(String backend) {
        GateRun run = GateRun.of(backend, new float[] {0, 3, 1, 2, -1, -2, -3, -4}, null, GateConfig.plain(8, 2));
        assertArrayEquals(new int[] {1, 3}, run.experts());
        assertEquals(1 / (1 + Math.exp(-1)), run.weights()[0], 20 * 0x1p-24);
        assertEquals(1 / (1 + Math.exp(1)), run.weights()[1], 20 * 0x1p-24);
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void anyStridesAndNoTokens(String backend) {
        SplittableRandom random = new SplittableRandom(9);
        GateConfig config = GateConfig.V2_LITE;
        int tokens = 37;
        float[] logits = GateRun.gaussian(random, tokens * 64, 1);
        GateRun expected = GateRun.of(backend, logits, null, config);
        try (Tensor memory = Tensor.allocate(DType.F32, Shape.of(66, tokens + 1));
                Tensor experts = Tensor.allocate(DType.I32, Shape.of(8, tokens));
                Tensor weights = Tensor.allocate(DType.F32, Shape.of(tokens, 12));
                Routing none = Routing.allocate(0, 6);
                Tensor empty = Tensor.allocate(DType.F32, Shape.of(0, 64))) {
            Tensor x = memory.slice(0, 1, 65).slice(1, 0, tokens).transpose();
            x.copyFrom(logits);
            Routing out = new Routing(experts.slice(0, 1, 7).transpose(),
                    weights.reshape(tokens, 6, 2).slice(2, 1, 2).reshape(tokens, 6));
            Moe.on(backend).gate(x, null, config, GateOptions.NONE, out);
            GateRun.of(out).assertSame(expected, "strided");
            assertEquals(0, weights.toFloatArray()[0]);
            Moe.on(backend).gate(empty, null, config, GateOptions.NONE, none);
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void unavailableExpertsAndPadding(String backend) {
        SplittableRandom random = new SplittableRandom(10);
        GateConfig config = new GateConfig(16, 4, 4, 2, ScoreFunction.SIGMOID, GroupScore.TOP2_SUM, true, 1);
        int tokens = 90;
        float[] logits = GateRun.gaussian(random, tokens * 16, 1);
        logits[16 * 3 + 5] = Float.NaN; // of padding
        BitSet padding = new BitSet();
        padding.set(3);
        padding.set(64, 80);
        GateOptions options = GateOptions.NONE.withUnavailable(1, 4, 5, 6, 7, 10).withPadding(padding);
        GateRun run = GateRun.of(Moe.on(backend), logits, null, config, options);
        for (int t = 0; t < tokens; t++) {
            if (padding.get(t)) {
                assertArrayEquals(new int[] {-1, -1, -1, -1}, run.experts(t));
                assertArrayEquals(new float[4], run.weights(t));
                continue;
            }
            // As if the lost experts had logits and a bias so low that nobody would take them.
            float[] row = Arrays.copyOfRange(logits, 16 * t, 16 * t + 16);
            float[] bias = new float[16];
            options.unavailable().stream().forEach(e -> bias[e] = -1000);
            GateRun other = GateRun.of(backend, row, bias, config);
            assertArrayEquals(other.experts(), run.experts(t));
            assertArrayEquals(other.weights(), run.weights(t));
        }
        // One expert left in group 0 counts for itself: 5 against 2 + 2; in the others two of 2.
        float[] bias = {9, 9, 9, 4.5f, 1.5f, 1.5f, 1.5f, 1.5f, 1, 1, 1, 1, 0, 0, 0, 0};
        GateRun lone = GateRun.of(Moe.on(backend), new float[16], bias, config,
                GateOptions.NONE.withUnavailable(0, 1, 2));
        assertArrayEquals(new int[] {3, 4, 5, 6}, lone.experts());
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void replayGivesTheSameWeights(String backend) {
        SplittableRandom random = new SplittableRandom(12);
        for (GateConfig config : PRESETS) {
            float[] logits = GateRun.gaussian(random, 70 * config.experts(), 2);
            float[] bias = GateRun.gaussian(random, config.experts(), 0.3);
            try (Tensor x = GateRun.tensor(logits, 70, config.experts()); Tensor b = Tensor.of(bias, bias.length);
                    Routing out = Routing.allocate(70, config.topK());
                    Routing again = Routing.allocate(70, config.topK())) {
                Moe.on(backend).gate(x, b, config, GateOptions.NONE, out);
                Moe.on(backend).replay(x, out.experts(), config, again);
                GateRun.of(again).assertSame(GateRun.of(out), config.toString());
            }
        }
    }

    /** An expert in two places counts twice in the sum, and has its weight in both. */
    @ParameterizedTest
    @MethodSource(BACKENDS)
    void replayOfAnExpertTwice(String backend) {
        GateConfig config = new GateConfig(4, 3, 1, 1, ScoreFunction.SIGMOID, GroupScore.MAX, true, 2.5f);
        try (Tensor x = GateRun.tensor(new float[] {0, 0, 9, 0}, 1, 4);
                Tensor experts = Tensor.allocate(DType.I32, Shape.of(1, 3)); Routing out = Routing.allocate(1, 3)) {
            int[] chosen = {3, 1, 3};
            for (int i = 0; i < 3; i++) {
                experts.segment().setAtIndex(ValueLayout.JAVA_INT, i, chosen[i]);
            }
            Moe.on(backend).replay(x, experts, config, out);
            assertArrayEquals(chosen, GateRun.of(out).experts());
            for (float w : GateRun.of(out).weights()) {
                assertEquals(2.5 / 3, w, 2.5 * 4 * 0x1p-24);
            }
        }
    }

    /** All experts of all groups, and nothing but padding. */
    @ParameterizedTest
    @MethodSource(BACKENDS)
    void everyExpertAndNoTokenAtAll(String backend) {
        SplittableRandom random = new SplittableRandom(13);
        GateConfig config = new GateConfig(24, 24, 4, 4, ScoreFunction.SIGMOID, GroupScore.TOP2_SUM, true, 1);
        float[] logits = GateRun.gaussian(random, 20 * 24, 1);
        GateRun run = GateRun.of(backend, logits, null, config);
        for (int t = 0; t < 20; t++) {
            assertArrayEquals(IntStream.range(0, 24).toArray(), Arrays.stream(run.experts(t)).sorted().toArray());
            for (int i = 1; i < 24; i++) {
                assertTrue(run.weights(t)[i - 1] >= run.weights(t)[i], "the best first");
            }
        }
        Arrays.fill(logits, Float.NaN);
        BitSet padding = new BitSet();
        padding.set(0, 20);
        GateRun none = GateRun.of(Moe.on(backend), logits, null, config, GateOptions.NONE.withPadding(padding));
        assertTrue(Arrays.stream(none.experts()).allMatch(e -> e == -1));
        assertArrayEquals(new float[20 * 24], none.weights());
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void replayOfNoExpert(String backend) {
        GateConfig config = GateConfig.plain(4, 2);
        float nan = Float.NaN;
        try (Tensor x = GateRun.tensor(new float[] {0, 0, 0, 0, nan, 0, 0, 0}, 2, 4);
                Tensor experts = Tensor.allocate(DType.I32, Shape.of(2, 2)); Routing out = Routing.allocate(2, 2)) {
            int[] chosen = {3, -1, -1, -1};
            for (int i = 0; i < 4; i++) {
                experts.segment().setAtIndex(ValueLayout.JAVA_INT, i, chosen[i]);
            }
            Moe.on(backend).replay(x, experts, config, out);
            assertArrayEquals(chosen, GateRun.of(out).experts());
            assertArrayEquals(new float[] {1, 0, 0, 0}, GateRun.of(out).weights());
            for (int wrong : new int[] {4, -2}) {
                experts.segment().setAtIndex(ValueLayout.JAVA_INT, 1, wrong);
                out.weights().copyFrom(new float[] {7, 7, 7, 7});
                String message = assertThrows(IllegalArgumentException.class,
                        () -> Moe.on(backend).replay(x, experts, config, out)).getMessage();
                assertTrue(message.contains("token 0") && message.contains(wrong + " in place 1"), message);
                assertArrayEquals(new float[] {7, 7, 7, 7}, GateRun.of(out).weights());
            }
        }
    }
}
