package dev.octet.benchmarks.suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.octet.benchmarks.probe.DotProbe;
import dev.octet.benchmarks.probe.FmaProbe;
import dev.octet.benchmarks.probe.Witness;
import dev.octet.mla.CacheFormat;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class SummaryTest {
    private static final List<String> KEYS = List.of("benchmark", "backend", "threads", "params", "value", "unit",
            "limit",
            "limitKind", "peer", "peerKind", "ratioToLimit", "ratioToPeer", "iterations", "counted", "disturbed");

    @Test
    void aRunGivesOneObjectPerCaseWithTheDocumentedKeys() {
        List<?> summary = (List<?>) Json.parse(Row.summary(Row.of(Measurement.read(TinyRun.JSON))));
        assertNotNull(summary);
        List<Case> cases = TinyRun.cases();
        assertEquals(cases.size(), summary.size());
        for (int i = 0; i < cases.size(); i++) {
            Map<?, ?> row = (Map<?, ?>) summary.get(i);
            assertEquals(KEYS, List.copyOf(row.keySet()));
            assertEquals(cases.get(i).name(), row.get("benchmark"));
            assertEquals("scalar", row.get("backend"));
            assertEquals((double) cases.get(i).threads(), row.get("threads"));
            assertTrue((Double) row.get("value") > 0, row::toString);
            assertTrue((Double) row.get("limit") > 0, row::toString);
            assertEquals((Double) row.get("value") / (Double) row.get("limit"), (Double) row.get("ratioToLimit"), 1e-5);
            assertEquals(0.0, (Double) row.get("iterations") % 2, row::toString);
            assertTrue((Double) row.get("counted") <= (Double) row.get("iterations"), row::toString);
            boolean peer = TinyRun.PEERS && !Limits.peers(cases.get(i)).isEmpty();
            if (peer) {
                assertTrue((Double) row.get("peer") > 0, row::toString);
                assertTrue(String.valueOf(row.get("peerKind")).startsWith("LibTorch"), row::toString);
                assertEquals((Double) row.get("value") / (Double) row.get("peer"), (Double) row.get("ratioToPeer"),
                        1e-5 * (Double) row.get("ratioToPeer"));
            } else {
                assertNull(row.get("peer"));
                assertNull(row.get("peerKind"));
                assertNull(row.get("ratioToPeer"));
            }
        }
        Map<?, ?> first = (Map<?, ?>) summary.getFirst();
        assertEquals(Map.of("m", 1.0, "n", 192.0, "k", 256.0), first.get("params"));
        assertEquals("GB/s", first.get("unit"));
        assertEquals("read bandwidth", first.get("limitKind"));
        assertEquals("GFLOP/s", ((Map<?, ?>) summary.get(2)).get("unit"));
        assertEquals("FP32 FMA peak", ((Map<?, ?>) summary.get(2)).get("limitKind"));
    }

    @Test
    void probesRunBeforeAndAfterAndCountTogether() {
        List<Case> plan = new SuiteRunner(Effort.QUICK, true, System.out, (done, total, next) -> { })
                .plan(TinyRun.cases());
        Case fma = Case.of("ProbeBenchmark.fma", "threads", 1);
        assertEquals(2, plan.stream().filter(fma::equals).count());
        assertTrue(plan.indexOf(fma) < plan.indexOf(TinyRun.cases().getFirst()));
        assertTrue(plan.lastIndexOf(fma) > plan.lastIndexOf(TinyRun.cases().getLast()));
        assertTrue(Measurement.read(TinyRun.JSON).containsKey(fma));
        // dgrad, wgrad and fprop of one shape have one peer, which is measured once.
        assertEquals(plan.stream().filter(c -> c.method().startsWith("Torch")).distinct().count(),
                plan.stream().filter(c -> c.method().startsWith("Torch")).count());
    }

    @Test
    void eachIterationOfARunHasItsWitnesses() {
        assumeTrue(Witness.isThere(), "no native loops for this processor");
        Measurement.read(TinyRun.JSON).forEach((c, m) -> {
            assertTrue(m.counted().witnessed(), c::toString);
            assertTrue(m.read() > 0.1 && m.read() < 1e5, () -> c + " beside " + m.read() + " GB/s");
            assertEquals(c.method().startsWith("Quantize") || c.method().endsWith(".copy"), m.copied() > 0.1,
                    c::toString);
        });
        Map<?, ?> last = (Map<?, ?>) ((List<?>) Json.parse(TinyRun.JSON)).getLast();
        Map<?, ?> metrics = (Map<?, ?>) last.get("secondaryMetrics");
        assertTrue(metrics.keySet().containsAll(List.of("witness.cpus", "witness.fma.before", "witness.fma.after")),
                metrics::toString);
    }

    @Test
    void allocationIsMeasuredForOctetAlone() {
        Measurement.read(TinyRun.JSON).forEach((c, m) -> {
            assertEquals(c.isOctet(), m.allocated() >= 0, c::toString);
            assertEquals(1e7, m.iterationNanos(), c::toString);
        });
    }

    @Test
    void ratesFollowFromTimesOnPaper() {
        Case c = Case.of("GemmBenchmark.fprop", "backend", "cpu", "threads", 2, "m", 1, "n", 256, "k", 512);
        Case read = Case.of("ProbeBenchmark.read", "threads", 2);
        Case peer = Limits.peers(c).getFirst();
        assertNotNull(peer);
        double bytes = 256 * 512 + 4 * 2 * 4;
        // 512 MiB in 2^29 / 32 ns are 32 GB/s.
        Row row = Row.of(Map.of(c, new Measurement(c, bytes / 16, 0, 0, 3e8), read,
                new Measurement(read, (1 << 29) / 32.0, 0, 0, 3e8),
                peer, new Measurement(peer, bytes / 4, 0, 0, 3e8))).getFirst();
        assertEquals(16, row.value(), 1e-9);
        assertEquals(32, row.limit(), 1e-9);
        assertEquals(0.5, row.ratioToLimit(), 1e-12);
        assertEquals(4, row.ratioToPeer(), 1e-12);
    }

    @Test
    void whatWasNotMeasuredIsNull() {
        Case c = Case.of("GemmBenchmark.fprop", "backend", "cpu", "threads", 2, "m", 128, "n", 256, "k", 512);
        Map<String, Object> json = Row.of(Map.of(c, new Measurement(c, 1000, 0, 0, 3e8))).getFirst().toJson();
        assertNull(json.get("limitKind"));
        assertNull(json.get("peerKind"));
        assertTrue(Json.write(json).contains("\"limit\": null"), json::toString);
    }

    @Test
    void aShorterTimeToTheFirstResultIsABiggerRatio() {
        Case c = Case.of("StartupBenchmark.gemm", "backend", "cpu", "threads", 2);
        Case jvm = Limits.probes(c).getFirst();
        Row row = Row.of(Map.of(c, new Measurement(c, 4e8, 0, Double.NaN, 3e8), jvm, new Measurement(jvm, 1e8, 0,
                Double.NaN, 3e8)))
                .getFirst();
        assertEquals("startup.gemm", row.benchmark());
        assertEquals(0.4, row.value(), 1e-12);
        assertEquals(0.25, row.ratioToLimit(), 1e-12);
    }

    @Test
    void theLimitOfAProductGoesFromBytesToArithmetic() {
        Limits l = new Limits(500, 32, Double.NaN, "FP32 FMA peak");
        assertEquals(2 * 32, l.productFlops(1));
        assertEquals(8 * 32, l.productFlops(4));
        assertEquals(500, l.productFlops(128));
        assertEquals(500, l.productFlops(1024));
        // 66 rows are half of the way from 4 to 128, 35 a quarter.
        assertEquals(256 + (500 - 256) / 2.0, l.productFlops(66), 1e-9);
        assertEquals(256 + (500 - 256) / 4.0, l.productFlops(35), 1e-9);
    }

    @Test
    void aProductBetweenFewRowsAndManyIsHeldAgainstTheLine() {
        Case c = Case.of("GemmBenchmark.fprop", "backend", "cpu", "threads", 2, "m", 66, "n", 256, "k", 512);
        Case read = Case.of("ProbeBenchmark.read", "threads", 2);
        Case fma = Case.of("ProbeBenchmark.fma", "threads", 2);
        Row row = Row.of(Map.of(c, new Measurement(c, 2.0 * 66 * 256 * 512 / 189, 0, 0, 3e8), read,
                new Measurement(read, (1 << 29) / 32.0, 0, 0, 3e8), fma,
                new Measurement(fma, FmaProbe.flops(2) / 500, 0, 0, 3e8))).getFirst();
        assertEquals("line from read bandwidth to FP32 FMA peak", row.limitKind());
        assertEquals("GFLOP/s", row.unit());
        assertEquals(378, row.limit(), 1e-9);
        assertEquals(0.5, row.ratioToLimit(), 1e-12);
    }

    @Test
    void fewRowsAreHeldAgainstTheArithmeticWhereItTakesLongerThanReading() {
        Limits l = new Limits(200, 32, Double.NaN, "FP32 FMA peak");
        assertEquals(2 * 32, l.productFlops(1));
        assertEquals(200, l.productFlops(4)); // 8 * 32 would be more than there is
        assertEquals(200, l.productFlops(66));
        Case c = Case.of("GemmBenchmark.fprop", "backend", "cpu", "threads", 2, "m", 4, "n", 256, "k", 512);
        Case fma = Case.of("ProbeBenchmark.fma", "threads", 2);
        Case read = Case.of("ProbeBenchmark.read", "threads", 2);
        Row row = Row.of(Map.of(c, new Measurement(c, (256 * 512 + 4 * 2 * 4) / 12.5, 0, 0, 3e8), read,
                new Measurement(read, (1 << 29) / 32.0, 0, 0, 3e8), fma,
                new Measurement(fma, FmaProbe.flops(2) / 200, 0, 0, 3e8))).getFirst();
        assertEquals("FP32 FMA peak", row.limitKind());
        assertEquals("GB/s", row.unit());
        assertEquals(25, row.limit(), 1e-9);
        assertEquals(0.5, row.ratioToLimit(), 1e-12);
    }

    @Test
    void nativeProductsHaveThePeerOfTheProcessorsArithmeticAndTheFasterOneCounts() {
        Case c = Case.of("GemmBenchmark.fprop", "backend", "native", "threads", 2, "m", 128, "n", 256, "k", 512);
        List<Case> peers = Limits.peers(c);
        assertEquals(List.of("BF16", "F32"), peers.stream().map(p -> p.text("dtype")).toList());
        assertEquals(List.of(peers.get(DotProbe.isThere() ? 0 : 1)), Limits.peersHere(c));
        for (int there = 0; there < 2; there++) {
            Row row = Row.of(Map.of(c, new Measurement(c, 1000, 0, 0, 3e8), peers.get(there),
                    new Measurement(peers.get(there), 2000, 0, 0, 3e8))).getFirst();
            assertEquals("LibTorch " + (there == 0 ? "BF16" : "FP32") + " matmul", row.peerKind());
            assertEquals(2, row.ratioToPeer(), 1e-12);
        }
    }

    private static Map<Case, Measurement> withProbes(Case c, double nanos) {
        Case read = Case.of("ProbeBenchmark.read", "threads", 2);
        Case fma = Case.of("ProbeBenchmark.fma", "threads", 2);
        return Map.of(c, new Measurement(c, nanos, 0, 0, 3e8), read,
                new Measurement(read, (1 << 29) / 32.0, 0, 0, 3e8), fma,
                new Measurement(fma, FmaProbe.flops(2) / 500, 0, 0, 3e8));
    }

    @Test
    void theRooflineIsTheLowerOfArithmeticAndReading() {
        Limits l = new Limits(500, 32, Double.NaN, "FP32 FMA peak");
        // A head has 2 * (576 + 512) operations for a token, a token 1152 bytes, or 656 in FP8.
        AttentionWork one = AttentionWork.decode(1, 8, 1000, CacheFormat.BF16);
        assertEquals(8 * 1000 * 2176.0, one.flops());
        assertEquals(8 * 1000 * 1152.0, one.bytes());
        assertEquals(8 * 1000 * 656.0, AttentionWork.decode(1, 8, 1000, CacheFormat.FP8).bytes());
        assertEquals(32 * 2176 / 1152.0, l.roofline(one), 1e-9);
        assertTrue(l.readingLimits(one));
        AttentionWork v3 = AttentionWork.decode(128, 1, 1000, CacheFormat.BF16);
        assertEquals(500, l.roofline(v3));
        assertEquals(128 * 32 * 2176 / 1152.0, l.reading(v3), 1e-9);
        assertTrue(Double.isNaN(new Limits(Double.NaN, Double.NaN, Double.NaN, "FP32 FMA peak").roofline(v3)));
    }

    @Test
    void aCacheWithoutLatentsIsSoManyTimesAsLarge() {
        double latent = AttentionWork.decode(128, 1, 8192, CacheFormat.BF16).bytes();
        assertEquals(71.1, AttentionWork.uncompressedBytes(128, 8192) / latent, 0.05);
        assertEquals(8.9, AttentionWork.uncompressedBytes(16, 8192) / latent, 0.05);
    }

    @Test
    void decodingGivesOneObjectOfTheDocumentedForm() {
        Case c = Case.of("MlaBenchmark.decode", "backend", "cpu", "threads", 2, "heads", 16, "batch", 8, "context",
                1024, "cache", "FP8");
        Map<String, Object> json = Row.of(withProbes(c, 8 * 1024 * 16 * 2176 / 250.0)).getFirst().toJson();
        assertEquals(KEYS, List.copyOf(json.keySet()));
        assertEquals("mla.decode", json.get("benchmark"));
        assertEquals("{\"heads\": 16, \"batch\": 8, \"context\": 1024, \"cache\": \"FP8\"}",
                Json.write(json.get("params")).strip());
        assertEquals("GFLOP/s", json.get("unit"));
        assertEquals(250, (Double) json.get("value"), 1e-9);
        assertEquals(500, (Double) json.get("limit"), 1e-9);
        assertEquals("FP32 FMA peak", json.get("limitKind"));
        assertEquals(0.5, (Double) json.get("ratioToLimit"), 1e-12);
        assertNull(json.get("peerKind"));
    }

    @Test
    void aPromptIsWorkForThePairsThatAreSeen() {
        Case c = Case.of("MlaBenchmark.prefill", "backend", "cpu", "threads", 2, "heads", 16, "tokens", 512, "dtype",
                "F32");
        Row row = Row.of(withProbes(c, 2.0 * 16 * 320 * 131328 / 125)).getFirst();
        assertEquals("GFLOP/s", row.unit());
        assertEquals(125, row.value(), 1e-9);
        assertEquals(0.25, row.ratioToLimit(), 1e-12);
        assertEquals("FP32 FMA peak", row.limitKind());
    }

    @Test
    void weightsOfHeadsAreBytes() {
        Case c = Case.of("MlaBenchmark.absorb", "backend", "cpu", "threads", 2, "tokens", 8, "heads", 128,
                "weight", "UK");
        Row row = Row.of(withProbes(c, 2.0 * 128 * 512 * 128 / 8)).getFirst();
        assertEquals("GB/s", row.unit());
        assertEquals(8, row.value(), 1e-9);
        assertEquals(0.25, row.ratioToLimit(), 1e-12);
        assertEquals("read bandwidth", row.limitKind());
    }

    @Test
    void groupsAreWeightBytesOrWork() {
        Case one = Case.of("GroupedBenchmark.gemm", "backend", "cpu", "threads", 2, "groups", 64, "rows", 1, "n", 256,
                "k", 128);
        Row row = Row.of(withProbes(one, 64 * (256 * 128 + 8))).getFirst();
        assertEquals("gemm.grouped", row.benchmark());
        assertEquals("GB/s", row.unit());
        assertEquals(1, row.value(), 1e-9);
        assertEquals(0, Limits.peers(one).size());
        Case many = Case.of("GroupedBenchmark.gemm", "backend", "cpu", "threads", 2, "groups", 64, "rows", 128, "n",
                256, "k", 128);
        row = Row.of(withProbes(many, 2 * 4096 * 256 * 128)).getFirst();
        assertEquals("GFLOP/s", row.unit());
        assertEquals(1, row.value(), 1e-9);
        assertEquals(4096, Limits.peers(many).getFirst().number("m")); // 1 + 3 + ... + 127
    }

    @Test
    void permutedRowsAreReadAndWritten() {
        Case c = Case.of("PermuteBenchmark.reduce", "backend", "cpu", "threads", 2, "tokens", 100, "topK", 6, "hidden",
                1000, "dtype", "BF16");
        Row row = Row.of(withProbes(c, 2 * 700 * 1000)).getFirst();
        assertEquals("moe.reduce", row.benchmark());
        assertEquals(1, row.value(), 1e-9);
    }

    @Test
    void aLayerOfExpertsIsWeightBytesOrWork() {
        Case one = Case.of("MoeBenchmark.layer", "backend", "cpu", "threads", 2, "tokens", 1);
        int blocks = 22 * 16 + 16 * 11; // six experts, and the shared ones, which are as wide as two
        Row row = Row.of(withProbes(one, 8 * (3 * 1408 * 2048 + 4 * blocks))).getFirst();
        assertEquals("moe.layer", row.benchmark());
        assertEquals("GB/s", row.unit());
        assertEquals(1, row.value(), 1e-9);
        Case many = Case.of("MoeBenchmark.layer", "backend", "cpu", "threads", 2, "tokens", 256);
        row = Row.of(withProbes(many, 1_000_000)).getFirst();
        assertEquals("GFLOP/s", row.unit());
        assertEquals(256 * 8 * 2 * 3 * 1408 * 2048.0 / 1_000_000, row.value(), 1e-6);
        assertEquals(256, Limits.peers(many).getFirst().number("tokens"));
    }

    @Test
    void aRouterIsLimitedByReadingOrByArithmetic() {
        Case one = Case.of("MoeBenchmark.router", "backend", "cpu", "threads", 2, "tokens", 1, "n", 256, "k", 7168,
                "dtype", "BF16");
        double bytes = 2 * 257 * 7168 + 4 * 256;
        Row row = Row.of(withProbes(one, (long) (bytes / 16))).getFirst();
        assertEquals(0.5, row.ratioToLimit(), 1e-5); // 16 of 32 GB/s
        assertEquals("read bandwidth", row.limitKind());
        assertEquals("BF16", Limits.peers(one).getFirst().text("dtype"));
        Case many = Case.of("MoeBenchmark.router", "backend", "cpu", "threads", 2, "tokens", 4096, "n", 256, "k", 7168,
                "dtype", "F32");
        row = Row.of(withProbes(many, 1_000_000)).getFirst();
        assertEquals(2 * 4096 * 256 * 7168.0 / 1_000_000, row.value(), 1e-6);
        assertEquals("FP32 FMA peak", row.limitKind());
        assertEquals(4096, Limits.peers(many).getFirst().number("m"));
    }

    @Test
    void aGateIsTokens() {
        Case c = Case.of("MoeBenchmark.gate", "backend", "cpu", "threads", 2, "tokens", 4096);
        Row row = Row.of(withProbes(c, 4096 * 125)).getFirst();
        assertEquals("Mtokens/s", row.unit());
        assertEquals(8, row.value(), 1e-9);
        assertEquals(0.256, row.ratioToLimit(), 1e-9); // 32 GB/s are 31.25 tokens of 1024 bytes a microsecond
    }
}
