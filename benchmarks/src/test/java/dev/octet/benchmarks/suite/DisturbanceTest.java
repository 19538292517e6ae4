package dev.octet.benchmarks.suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.benchmarks.probe.Witness;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Which iterations count, on results as JMH writes them. */
class DisturbanceTest {
    private static final Case GEMM =
            Case.of("GemmBenchmark.fprop", "backend", "cpu", "threads", 2, "m", 128, "n", 256, "k", 512);
    private static final Case FEW =
            Case.of("GemmBenchmark.fprop", "backend", "cpu", "threads", 2, "m", 1, "n", 256, "k", 512);
    private static final Case PEER = Limits.peers(GEMM).getFirst();
    private static final Case FMA = Case.of("ProbeBenchmark.fma", "threads", 2);
    private static final Case READ = Case.of("ProbeBenchmark.read", "threads", 2);

    /** One result: time, and FMA before and after, for each iteration; more metrics by their names. */
    private static Map<String, Object> result(Case c, double[][] iterations, Map<String, List<Double>> more) {
        Map<String, Object> secondary = new LinkedHashMap<>();
        if (iterations[0].length > 1) {
            secondary.put("witness.fma.before", metric(column(iterations, 1)));
            secondary.put("witness.fma.after", metric(column(iterations, 2)));
        }
        more.forEach((name, values) -> secondary.put(name, metric(values)));
        Map<String, Object> primary = new LinkedHashMap<>(metric(column(iterations, 0)));
        primary.put("scoreUnit", "ns/op");
        Map<String, Object> out = new LinkedHashMap<>();
        out.put("benchmark", c.jmhName());
        out.put("params", c.params());
        out.put("measurementTime", "150 ms");
        out.put("primaryMetric", primary);
        out.put("secondaryMetrics", secondary);
        return out;
    }

    private static List<Double> column(double[][] iterations, int at) {
        return Stream.of(iterations).map(i -> i[at]).toList();
    }

    /** Two forks, as long as each other if there is an even number. */
    private static Map<String, Object> metric(List<Double> values) {
        int half = values.size() / 2;
        return Map.of("rawData", List.of(values.subList(0, half), values.subList(half, values.size())));
    }

    private static Map<Case, Measurement> read(Map<?, ?>... results) {
        return Measurement.read(Json.write(List.of(results)));
    }

    private static Measurement one(Case c, Map<Case, Measurement> all) {
        return Objects.requireNonNull(all.get(c));
    }

    private static double[][] quiet(int n, double nanos) {
        double[][] all = new double[n][];
        for (int i = 0; i < n; i++) {
            all[i] = new double[] {nanos + i, 500 - i % 3, 500 - i % 2};
        }
        return all;
    }

    @Test
    void whatIsBesideOthersBeforeOrAfterDoesNotCount() {
        double[][] gemm = quiet(10, 1000);
        gemm[2] = new double[] {9000, 449, 500}; // the level is 500, 0.9 of it 450
        gemm[7] = new double[] {9000, 500, 270};
        gemm[8] = new double[] {3000, 451, 451}; // slow for a reason of its own
        Measurement m = one(GEMM, read(result(GEMM, gemm, Map.of())));
        assertEquals(new Counted(10, 8, true, 1), m.counted());
        assertEquals(1004.5, m.nanos()); // 1000 1001 1003 1004 1005 1006 1009 3000
        assertFalse(m.counted().disturbed());
    }

    @Test
    void whatWasMeasuredIsNotLookedAt() {
        double[][] slow = quiet(12, 1000);
        double[][] fast = quiet(12, 1000);
        for (int i = 0; i < 12; i += 3) {
            slow[i] = new double[] {1e6, 250, 250};
            fast[i] = new double[] {1, 250, 250};
        }
        Measurement a = one(GEMM, read(result(GEMM, slow, Map.of())));
        Measurement b = one(GEMM, read(result(GEMM, fast, Map.of())));
        assertEquals(8, a.counted().count());
        assertEquals(a, b);
    }

    @Test
    void theRuleIsTheSameForPeersAndProbes() {
        double[][] some = quiet(10, 1000);
        some[0] = new double[] {5000, 300, 500};
        some[1] = new double[] {5000, 300, 300};
        Map<Case, Measurement> all = read(result(GEMM, some, Map.of()), result(PEER, some, Map.of()),
                result(FMA, some, Map.of()), result(READ, some, Map.of()));
        for (Case c : List.of(GEMM, PEER, FMA, READ)) {
            assertEquals(new Counted(10, 8, true, 1), one(c, all).counted(), c::toString);
            // Of 1002 to 1009 the median, or, where it is a peak, the 10th percentile.
            assertEquals(c.equals(FMA) ? 1002.7 : 1005.5, one(c, all).nanos(), 1e-9, c::toString);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2, 3, 4, 5, 20})
    void withFewUndisturbedOnesAllCount(int undisturbed) {
        double[][] gemm = new double[12][];
        for (int i = 0; i < 12; i++) {
            gemm[i] = i < undisturbed ? new double[] {1000, 500, 500} : new double[] {2000, 260, 500};
        }
        // The level is that of the run: the other cases have it.
        Measurement m = one(GEMM, read(result(GEMM, gemm, Map.of()), result(FEW, quiet(40, 10), Map.of())));
        boolean disturbed = undisturbed < 4;
        assertEquals(Math.min(12, undisturbed), m.counted().undisturbed());
        assertEquals(disturbed, m.counted().disturbed());
        assertEquals(disturbed ? 12 : Math.min(12, undisturbed), m.counted().count());
        assertEquals(disturbed ? 2000 : 1000, m.nanos());
    }

    @Test
    void threeOfNineAreEnoughAndTwoOfFourAreNot() {
        for (int n : new int[] {4, 9}) {
            double[][] gemm = new double[n][];
            for (int i = 0; i < n; i++) {
                gemm[i] = new double[] {1000, i < (n == 4 ? 2 : 3) ? 500 : 100, 500};
            }
            Measurement m = one(GEMM, read(result(GEMM, gemm, Map.of()), result(FEW, quiet(40, 10), Map.of())));
            assertEquals(n == 4, m.counted().disturbed());
        }
    }

    @Test
    void twoIterationsAreNotDisturbedIfNobodyWasThere() {
        Measurement m = one(GEMM, read(result(GEMM, quiet(2, 7), Map.of())));
        assertEquals(new Counted(2, 2, true, 1), m.counted());
        assertFalse(m.counted().disturbed());
    }

    @Test
    void aFewReadingsThatAreTooGoodDoNotMakeALevel() {
        double[][] gemm = quiet(40, 1000);
        gemm[3] = new double[] {1000, 900, 900};
        gemm[4] = new double[] {1000, 900, 500};
        assertEquals(40, one(GEMM, read(result(GEMM, gemm, Map.of()))).counted().count());
    }

    @Test
    void eachNumberOfThreadsHasItsLevel() {
        Case single = Case.of("GemmBenchmark.fprop", "backend", "cpu", "threads", 1, "m", 128, "n", 256, "k", 512);
        double[][] half = new double[6][];
        for (int i = 0; i < 6; i++) {
            half[i] = new double[] {2000, 250, 250};
        }
        Map<Case, Measurement> all = read(result(GEMM, quiet(10, 1000), Map.of()), result(single, half, Map.of()));
        assertEquals(6, one(single, all).counted().count());
        assertFalse(one(single, all).counted().disturbed());
    }

    @Test
    void dotProductsAreAWitnessToo() {
        List<Double> dots = new ArrayList<>(List.of(1000., 1000., 1000., 1000., 880., 1000., 1000., 1000., 1000., 1000.));
        Measurement m = one(GEMM, read(result(GEMM, quiet(10, 1000), Map.of("witness.dot.before", dots))));
        assertEquals(9, m.counted().count());
    }

    @Test
    void memoryIsTheLimitAndNoReasonToLeaveOut() {
        double[][] few = quiet(10, 4000);
        few[9] = new double[] {9000, 100, 100};
        List<Double> before = List.of(30., 30., 30., 30., 30., 60., 60., 60., 60., 90.);
        List<Double> after = List.of(34., 34., 34., 34., 38., 64., 64., 64., 64., 90.);
        Map<Case, Measurement> all = read(result(FEW, few, Map.of("witness.read.before", before, "witness.read.after",
                after)), result(READ, quiet(10, (1 << 29) / 50.0), Map.of()), result(FMA, quiet(10, 1000), Map.of()));
        assertEquals(9, one(FEW, all).counted().count());
        assertEquals(34, one(FEW, all).read()); // 32 32 32 32 34 62 62 62 62, and 90 beside one that does not count
        Row row = Row.byCase(all).get(FEW);
        assertEquals(34, Objects.requireNonNull(row).limit());
        assertEquals(50, Limits.of(all, 2, "cpu").read(), 0.01);
        assertEquals(9, row.toJson().get("counted"));
    }

    @Test
    void aCaseThatIsRunAgainHasTheIterationsOfBothRuns() {
        double[][] bad = new double[6][];
        for (int i = 0; i < 6; i++) {
            bad[i] = new double[] {3000, 250, 250};
        }
        Map<String, Object> first = result(GEMM, bad, Map.of());
        Map<String, Object> others = result(FEW, quiet(100, 10), Map.of());
        Map<Case, Measurement> once = read(first, others);
        assertTrue(one(GEMM, once).counted().disturbed());
        assertEquals(List.of(GEMM), SuiteRunner.again(once, 5));
        assertEquals(List.of(), SuiteRunner.again(once, 0));
        Map<Case, Measurement> twice = read(first, others, result(GEMM, quiet(6, 1000), Map.of()));
        assertEquals(new Counted(12, 6, true, 2), one(GEMM, twice).counted());
        assertEquals(1002.5, one(GEMM, twice).nanos());
        assertEquals(List.of(), SuiteRunner.again(twice, 5));
    }

    @Test
    void probesAreNotRunAgain() {
        double[][] bad = {{1, 100, 100}, {1, 100, 100}, {1, 100, 100}};
        Map<Case, Measurement> all = read(result(FMA, bad, Map.of()), result(GEMM, quiet(90, 10), Map.of()));
        assertTrue(one(FMA, all).counted().disturbed());
        assertEquals(List.of(), SuiteRunner.again(all, 5));
    }

    @Test
    void withoutWitnessesAllCountAndTheLimitIsTheProbes() {
        double[][] times = {{10}, {30}, {20}, {90}, {25}};
        Map<Case, Measurement> all = read(result(FEW, times, Map.of()), result(READ, new double[][] {{(1 << 29) / 32.0}},
                Map.of()));
        assertEquals(new Counted(5, 5, false, 1), one(FEW, all).counted());
        assertEquals(25, one(FEW, all).nanos());
        assertEquals(32, Row.of(all).getFirst().limit(), 1e-4);
    }

    @Test
    void aWitnessThatGaveNoNumberIsNone() {
        Map<String, Object> result = result(GEMM, new double[][] {{1}, {2}, {3}, {4}}, Map.of());
        String json = Json.write(List.of(result)).replace("\"secondaryMetrics\": {}",
                "\"secondaryMetrics\": {\"witness.fma.before\": {\"rawData\": [[\"NaN\", \"NaN\"], [\"NaN\", \"NaN\"]]}}");
        assertTrue(json.contains("NaN"), json);
        assertEquals(new Counted(4, 4, false, 1), one(GEMM, Measurement.read(json)).counted());
    }

    /** Results of before there were witnesses give the figures that were made from them then. */
    @ParameterizedTest
    @ValueSource(strings = {"epyc-zen5-2-cores", "epyc-zen5-2-cores-native", "epyc-zen5-2-cores-mla"})
    void resultsThatAreKeptStayTheSame(String name) throws Exception {
        Path folder = Path.of(System.getProperty("basedir", "")).toAbsolutePath().resolve("results").resolve(name);
        List<?> kept = (List<?>) Objects.requireNonNull(Json.parse(Files.readString(folder.resolve("summary.json"))));
        List<?> now = (List<?>) Objects.requireNonNull(Json.parse(Row.summary(Row.of(Measurement.read(
                Files.readString(folder.resolve("jmh.json")))))));
        assertEquals(kept.size(), now.size());
        for (int i = 0; i < kept.size(); i++) {
            Map<?, ?> row = (Map<?, ?>) now.get(i);
            ((Map<?, ?>) kept.get(i)).forEach((key, value) -> assertEquals(value, row.get(key)));
        }
    }

    @Test
    void whatIsWitnessedFollowsFromTheCase() {
        assertEquals(List.of(Witness.Kind.FMA, Witness.Kind.READ), WitnessProfiler.kinds(GEMM));
        assertEquals(List.of(Witness.Kind.FMA, Witness.Kind.READ), WitnessProfiler.kinds(PEER));
        assertEquals(List.of(Witness.Kind.FMA, Witness.Kind.READ, Witness.Kind.COPY), WitnessProfiler.kinds(
                Case.of("QuantizeBenchmark.quantize", "backend", "cpu", "threads", 2, "granularity", "BLOCK_1X128",
                        "dtype", "BF16", "rows", 4096, "columns", 7168)));
        assertEquals(List.of(Witness.Kind.FMA, Witness.Kind.READ, Witness.Kind.DOT),
                WitnessProfiler.kinds(Case.of("ProbeBenchmark.dot", "threads", 2)));
        assertEquals(List.of(Witness.Kind.FMA), WitnessProfiler.kinds(Case.of("DowncallBenchmark.ordinary", "backend",
                "native", "threads", 1)));
    }
}
