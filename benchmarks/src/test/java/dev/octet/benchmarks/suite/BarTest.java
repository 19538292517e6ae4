package dev.octet.benchmarks.suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.benchmarks.probe.CopyProbe;
import dev.octet.benchmarks.probe.FmaProbe;
import dev.octet.benchmarks.probe.ReadProbe;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** A machine of 500 GFLOP/s on two threads and 250 on one, which reads 32 GB/s and copies 30. */
class BarTest {
    private static final long N = 4096;
    private static final long K = 7168;

    private final Map<Case, Measurement> all = new LinkedHashMap<>();

    BarTest() {
        for (int threads : new int[] {1, 2}) {
            add(Case.of("ProbeBenchmark.fma", "threads", threads), FmaProbe.flops(threads) / (250 * threads));
            add(Case.of("ProbeBenchmark.read", "threads", threads), ReadProbe.bytes() / 32.0);
            add(Case.of("ProbeBenchmark.copy", "threads", threads), CopyProbe.bytes() / 30.0);
        }
    }

    private void add(Case c, double nanos) {
        all.put(c, new Measurement(c, nanos, 0, Double.NaN, 3e8));
    }

    private static Case fprop(int threads, long m) {
        return Case.of("GemmBenchmark.fprop", "backend", "cpu", "threads", threads, "m", m, "n", N, "k", K);
    }

    private static Case quantize(String granularity, String dtype) {
        return Case.of("QuantizeBenchmark.quantize", "backend", "cpu", "threads", 2, "granularity", granularity,
                "dtype", dtype, "rows", 4096, "columns", 7168);
    }

    /** A product at so many GFLOP/s, its peer slower by a factor. */
    private void product(int threads, long m, double gflops, double timesPeer) {
        double nanos = 2.0 * m * N * K / gflops;
        add(fprop(threads, m), nanos);
        Case peer = Limits.peers(fprop(threads, m)).getFirst();
        assertNotNull(peer);
        add(peer, nanos * timesPeer);
    }

    private String outcomes() {
        return String.join(" ", Bar.of(all).stream().map(Bar::outcome).toList());
    }

    @Test
    void manyRowsAreHeldAgainstPeakAndPeer() {
        product(2, 128, 451, 1.01);
        product(2, 512, 449, 0.99);
        assertEquals("met met missed missed", outcomes());
        Bar first = Bar.of(all).getFirst();
        assertEquals("gemm.fprop M=128 4096x7168, 2 threads", first.of());
        assertEquals("of FP32 FMA peak", first.measure());
        assertEquals(0.902, first.value(), 1e-9);
        assertEquals(0.9, first.bar());
    }

    @Test
    void fewRowsAreHeldAgainstBandwidthAndPeer() {
        product(2, 1, 2 * 32 * 0.86, 1.81);
        product(2, 4, 8 * 32 * 0.84, 1.79);
        assertEquals("met met missed missed", outcomes());
    }

    @Test
    void rowsBetweenAreHeldAgainstTheLineFromBarToBar() {
        // From 8 * 32 * 0.85 at 4 rows to 500 * 0.90 at 128.
        double bar16 = 217.6 + (450 - 217.6) * 12 / 124;
        double bar64 = 217.6 + (450 - 217.6) * 60 / 124;
        product(2, 16, bar16 * 1.001, 1);
        product(2, 64, bar64 * 0.999, 1);
        List<Bar> bars = Bar.of(all);
        assertEquals("met missed", outcomes());
        assertEquals(bar16, bars.getFirst().bar() * (256 + (500 - 256) * 12 / 124.0), 1e-9);
        assertTrue(bars.getFirst().bar() > Bar.OF_READ && bars.getFirst().bar() < bars.get(1).bar());
        assertTrue(bars.get(1).bar() < Bar.OF_PEAK);
    }

    @Test
    void twoThreadsAreHeldAgainstOneWhereRowsAreMany() {
        product(1, 64, 200, 1);
        product(1, 128, 240, 1.1);
        product(1, 512, 240, 1.1);
        product(2, 64, 210, 1);
        product(2, 128, 240 * 1.91, 1.1);
        product(2, 512, 240 * 1.89, 1.1);
        List<Bar> scaling = Bar.of(all).stream().filter(b -> b.measure().equals("times one thread")).toList();
        assertEquals(List.of("met", "missed"), scaling.stream().map(Bar::outcome).toList());
        assertEquals(1.91, scaling.getFirst().value(), 1e-9);
    }

    @Test
    void quantisingBf16IsHeldAgainstCopying() {
        double bytes = 4096 * 7168 * 3.0;
        add(quantize("BLOCK_1X128", "BF16"), bytes / (30 * 0.71));
        add(quantize("BLOCK_128X128", "BF16"), bytes / (30 * 0.69));
        add(quantize("BLOCK_1X128", "F32"), bytes);
        add(quantize("ROW", "BF16"), bytes);
        assertEquals("met missed", outcomes());
    }

    private static Case decode(int heads, int batch, long context, String cache) {
        return Case.of("MlaBenchmark.decode", "backend", "cpu", "threads", 2, "heads", heads, "batch", batch, "context",
                context, "cache", cache);
    }

    /** A case at so many GFLOP/s, its peers slower by factors. */
    private void attention(Case c, double flops, double gflops, double... timesPeers) {
        add(c, flops / gflops);
        List<Case> peers = Limits.peers(c);
        for (int i = 0; i < timesPeers.length; i++) {
            add(peers.get(i), flops / gflops * timesPeers[i]);
        }
    }

    @Test
    void decodingIsHeldAgainstTheRooflineAndAt8192TokensAgainstTheFastestPeer() {
        double flops = 2.0 * 16 * 1088 * 8192;
        attention(decode(16, 1, 8192, "BF16"), flops, 376, 20, 3, 1.51);
        attention(decode(16, 1, 8192, "FP8"), flops, 374);
        attention(decode(16, 8, 8192, "BF16"), 8 * flops, 376);
        attention(decode(16, 1, 1024, "BF16"), flops / 8, 374);
        List<Bar> bars = Bar.of(all);
        assertEquals("met met missed met missed", outcomes());
        assertEquals("mla.decode 16 heads, batch 1, context 8192, BF16, 2 threads", bars.getFirst().of());
        assertEquals("of FP32 FMA peak", bars.getFirst().measure());
        assertEquals(0.752, bars.getFirst().value(), 1e-9);
        assertEquals("times LibTorch BF16 matmul, softmax, matmul", bars.get(1).measure());
        assertEquals(1.51, bars.get(1).value(), 1e-9);
    }

    @Test
    void aFasterWayToAskThePeerCounts() {
        attention(decode(128, 1, 8192, "BF16"), 2.0 * 128 * 1088 * 8192, 400, 20, 1.49, 1.51);
        assertEquals("met missed", outcomes());
        assertEquals("times LibTorch BF16 scaled_dot_product_attention, values padded", Bar.of(all).get(1).measure());
    }

    @Test
    void decodingWithFewHeadsIsHeldAgainstReading() {
        // 2 * 1088 operations for 1152 bytes at 32 GB/s.
        double reading = 32 * 2 * 1088 / 1152.0;
        attention(decode(1, 8, 32768, "BF16"), 8 * 2.0 * 1088 * 32768, 0.76 * reading);
        Bar bar = Bar.of(all).getFirst();
        assertEquals("of read bandwidth", bar.measure());
        assertEquals(0.76, bar.value(), 1e-9);
        assertTrue(bar.met());
    }

    @Test
    void prefillInF32IsHeldAgainstThePeerAlone() {
        double flops = 2.0 * 16 * 320 * 512 * 513 / 2;
        for (String dtype : List.of("F32", "BF16")) {
            attention(Case.of("MlaBenchmark.prefill", "backend", "cpu", "threads", 2, "heads", 16, "tokens", 512,
                    "dtype", dtype), flops, 100, 4, 1.01, 1.1);
        }
        assertEquals("met", outcomes());
        assertEquals("times LibTorch FP32 scaled_dot_product_attention, values padded",
                Bar.of(all).getFirst().measure());
        assertEquals(1.01, Bar.of(all).getFirst().value(), 1e-9);
    }

    @Test
    void nativePrefillIsHeldAgainstThePeerInBothTypes() {
        double flops = 2.0 * 16 * 320 * 512 * 513 / 2;
        for (String dtype : List.of("F32", "BF16")) {
            attention(Case.of("MlaBenchmark.prefill", "backend", "native", "threads", 2, "heads", 16, "tokens", 512,
                    "dtype", dtype), flops, 100, 4, dtype.equals("F32") ? 1.01 : 0.99, 1.1);
        }
        assertEquals("met missed", outcomes());
    }

    @Test
    void absorbedWeightsAreHeldAgainstReadingWithOneToken() {
        for (int tokens : new int[] {1, 8}) {
            Case c = Case.of("MlaBenchmark.absorb", "backend", "cpu", "threads", 2, "tokens", tokens, "heads", 128,
                    "weight", "UV");
            add(c, 2.0 * 128 * 128 * 512 / (32 * 0.76));
        }
        assertEquals("met", outcomes());
        assertEquals("mla.absorb UV, 1 token, 2 threads", Bar.of(all).getFirst().of());
        assertEquals(0.76, Bar.of(all).getFirst().value(), 1e-9);
    }

    @Test
    void nativeAbsorbedWeightsAreHeldAgainstReadingWithEightTokens() {
        for (String backend : List.of("cpu", "native")) {
            Case c = Case.of("MlaBenchmark.absorb", "backend", backend, "threads", 2, "tokens", 8, "heads", 128,
                    "weight", "UK");
            add(c, 2.0 * 128 * 128 * 512 / (32 * 0.69));
        }
        assertEquals("missed", outcomes());
    }

    @Test
    void compressionIsHeldAgainstTheBarsOfAProductOfOneRow() {
        Case c = Case.of("MlaBenchmark.compress", "backend", "cpu", "threads", 2, "n", 2112, "k", 7168);
        double bytes = 2112 * 7168 + 4 * 17 * 56;
        add(c, bytes / (32 * 0.86));
        assertEquals(Limits.peers(Case.of("GemmBenchmark.fprop", "backend", "cpu", "threads", 2, "m", 1, "n", 2112, "k",
                7168)), Limits.peers(c));
        add(Limits.peers(c).getFirst(), 1.79 * bytes / (32 * 0.86));
        assertEquals("met missed", outcomes());
        assertEquals("mla.compress 2112x7168, 2 threads", Bar.of(all).getFirst().of());
        assertEquals(0.86, Bar.of(all).getFirst().value(), 1e-9);
    }

    @Test
    void theFirstResultMayTakeTwoSeconds() {
        Case c = Case.of("StartupBenchmark.gemm", "backend", "cpu", "threads", 2);
        add(c, 1.9e9);
        assertEquals("met", outcomes());
        add(c, 2.1e9);
        assertEquals("missed", outcomes());
    }

    @Test
    void theWorstAllocationOfShortOperationsCounts() {
        Case brief = quantize("ROW", "BF16");
        Case other = quantize("TENSOR", "BF16");
        Case lasting = quantize("BLOCK_128X1", "BF16");
        // A hundred operations in an iteration, in which JMH allocates up to 20 kB.
        all.put(brief, new Measurement(brief, 3e6, 0, 150, 3e8));
        assertEquals(0, Bar.of(all).getFirst().value());
        all.put(other, new Measurement(other, 3e6, 0, 450, 3e8));
        // One operation: what JMH allocates and what Octet does can't be told apart.
        all.put(lasting, new Measurement(lasting, 3e8, 0, 50_000, 3e8));
        Bar bar = Bar.of(all).getFirst();
        assertTrue(bar.of().contains("quantize.tensor"), bar::of);
        assertEquals(250, bar.value(), 1e-9);
        assertTrue(bar.met());
        all.put(other, new Measurement(other, 3e6, 0, 1300, 3e8));
        assertEquals("missed", outcomes());
    }

    @Test
    void compressionMayAllocateForEachOfItsCalls() {
        Case c = Case.of("MlaBenchmark.compress", "backend", "cpu", "threads", 2, "n", 2112, "k", 7168);
        all.put(c, new Measurement(c, 3e5, 0, 6 * 1000 + 20, 3e8));
        Bar last = Bar.of(all).getLast();
        assertEquals("B/call, less JMH's own", last.measure());
        assertEquals(1000, last.value(), 1e-9);
        assertTrue(last.met());
    }

    @Test
    void whatWasNotMeasuredIsNotMet() {
        add(fprop(2, 128), 2.0 * 128 * N * K / 490);
        assertEquals("met not measured", outcomes());
        assertFalse(Bar.of(all).get(1).met());
    }

    @Test
    void theGateIsHeldAgainstTimeAndPeer() {
        Case c = Case.of("MoeBenchmark.gate", "backend", "cpu", "threads", 2, "tokens", 1000);
        add(c, 1000 * 340 / 2.0);
        add(Limits.peers(c).getFirst(), 1000 * 340 / 2.0 * 9.9);
        assertEquals("met missed", outcomes());
        Bar first = Bar.of(all).getFirst();
        assertEquals("moe.gate 1000 tokens, 2 threads", first.of());
        assertEquals(0.34, first.value(), 1e-9);
        assertEquals(9.9, Bar.of(all).get(1).value(), 1e-9);
    }
}
