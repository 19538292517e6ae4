package dev.octet.benchmarks.suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.OutputStream;
import java.io.PrintStream;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class EffortTest {
    private static final Case GEMM =
            Case.of("GemmBenchmark.fprop", "backend", "cpu", "threads", 2, "m", 1, "n", 256, "k", 512);
    private static final Case PEER =
            Case.of("TorchBenchmark.matmul", "dtype", "BF16", "threads", 2, "m", 1, "n", 256, "k", 512);
    private static final Case PROBE = Case.of("ProbeBenchmark.read", "threads", 2);
    private static final Case FIRST = Case.of("StartupBenchmark.gemm", "backend", "cpu", "threads", 2);

    private static Duration estimate(Effort effort, boolean peers, List<Case> cases) {
        return new SuiteRunner(effort, peers, new PrintStream(OutputStream.nullOutputStream()),
                (done, total, next) -> { }).estimate(cases);
    }

    private static Duration full(String names) {
        Catalog all = new Catalog("cpu", List.of(1, 2), Catalog.SHAPES, Catalog.ROWS, false);
        return estimate(Effort.FULL, true, all.cases().stream().filter(c -> c.name().startsWith(names)).toList());
    }

    @Test
    void octetIsWarmedUpForThreeSecondsInSeveralJvms() {
        for (Effort e : List.of(Effort.FULL, Effort.QUICK)) {
            assertTrue(e.of(GEMM).warmups() * e.of(GEMM).warmupTime().convertTo(TimeUnit.MILLISECONDS) >= 3000);
        }
        Case several = Case.of("MlaBenchmark.compress", "backend", "cpu", "threads", 2, "n", 2112, "k", 7168);
        assertEquals(2 * Effort.FULL.of(GEMM).warmups(), Effort.FULL.of(several).warmups());
        assertTrue(Effort.FULL.of(GEMM).forks() >= 2);
        assertEquals(3, Effort.FULL.withForks(3).of(GEMM).forks());
        assertEquals(3, Effort.FULL.withForks(3).of(FIRST).forks());
    }

    @Test
    void probesAndPeersHaveOneJvm() {
        assertEquals(1, Effort.FULL.of(PEER).forks());
        assertEquals(1, Effort.FULL.of(PROBE).forks());
        assertEquals(0, Effort.FULL.withForks(0).of(PROBE).forks());
        assertTrue(Effort.FULL.of(PEER).warmups() < Effort.FULL.of(GEMM).warmups());
    }

    @Test
    void octetAsAPeerIsWarmedUpLikeOctet() {
        Case dense = Case.of("DensePeerBenchmark.gemm", "backend", "cpu", "threads", 2, "m", 4096, "n", 2816, "k", 2048);
        Case grouped = Case.of("GroupedBenchmark.gemm", "backend", "cpu", "threads", 2, "groups", 64, "rows", 128, "n",
                2816, "k", 2048);
        for (Effort e : List.of(Effort.FULL, Effort.QUICK)) {
            assertTrue(e.of(dense).warmups() >= e.of(grouped).warmups(), e.toString());
            assertEquals(1, e.of(dense).forks());
        }
    }

    @Test
    void aRunForResultsThatAreKeptTakesThirtyFiveMinutesAtMost() {
        assertTrue(full("").compareTo(Duration.ofMinutes(35)) <= 0, () -> full("").toString());
        assertTrue(full("mla").compareTo(Duration.ofMinutes(12)) <= 0, () -> full("mla").toString());
    }

    @Test
    void iterationsAreManyAndShort() {
        for (Effort e : List.of(Effort.FULL, Effort.QUICK)) {
            for (Case c : List.of(GEMM, PEER, PROBE)) {
                assertTrue(e.of(c).iterations() >= 10, c::toString);
                assertTrue(e.of(c).time().convertTo(TimeUnit.MILLISECONDS) <= 200, c::toString);
            }
            assertEquals(5, e.of(FIRST).iterations());
        }
    }

    @Test
    void theEstimateCountsWhatIsRun() {
        Effort effort = new Effort(2, 2, 3, Effort.millis(500), Effort.millis(1000));
        // Two probes before and after, and the case, each with 1 s of warm-up and 3 s that count.
        double start = (effort.seconds(GEMM) - 2 * 4) / 2; // and what is witnessed
        assertTrue(start > 0 && start < 5, () -> start + " s to start a JVM");
        assertEquals(4 * (4 + start) + 2 * (4 + start), estimate(effort, false, List.of(GEMM)).toMillis() * 1e-3, 1e-2);
        assertEquals(4 + start, (estimate(effort, true, List.of(GEMM)).minus(estimate(effort, false, List.of(GEMM))))
                .toMillis() * 1e-3, 1e-2);
    }
}
