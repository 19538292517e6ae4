package dev.octet.benchmarks.suite;

import dev.octet.benchmarks.peer.LibTorch;
import java.io.OutputStream;
import java.io.PrintStream;
import java.util.List;
import org.openjdk.jmh.runner.RunnerException;

/** A real run of a few small cases in this JVM, made once for all tests that look at its results. */
public final class TinyRun {
    /** Whether LibTorch could be measured beside them. */
    public static final boolean PEERS = LibTorch.unavailable().isEmpty();
    /** JMH's own JSON. */
    public static final String JSON = run();

    private TinyRun() {}

    static List<Case> cases() {
        return List.of(gemm("fprop", 1, 1), gemm("fprop", 16, 1), gemm("fprop", 128, 1), gemm("fprop", 128, 2),
                gemm("wgrad", 128, 1),
                Case.of("QuantizeBenchmark.quantize", "backend", "scalar", "threads", 1, "granularity", "BLOCK_1X128",
                        "dtype", "BF16", "rows", 128, "columns", 256),
                Case.of("QuantizeBenchmark.cast", "backend", "scalar", "threads", 1, "granularity", "BLOCK_1X128",
                        "dtype", "F32", "rows", 128, "columns", 256),
                Case.of("MlaBenchmark.decode", "backend", "scalar", "threads", 1, "heads", 1, "batch", 1, "context",
                        8192, "cache", "BF16"),
                Case.of("MlaBenchmark.prefill", "backend", "scalar", "threads", 1, "heads", 2, "tokens", 16, "dtype",
                        "F32"),
                Case.of("MlaBenchmark.compress", "backend", "scalar", "threads", 1, "n", 704, "k", 256),
                Case.of("MlaBenchmark.absorb", "backend", "scalar", "threads", 1, "tokens", 65, "heads", 1, "weight",
                        "UK"));
    }

    private static Case gemm(String pairing, long m, int threads) {
        return Case.of("GemmBenchmark." + pairing, "backend", "scalar", "threads", threads, "m", m, "n", 192, "k", 256);
    }

    private static String run() {
        Effort effort = new Effort(0, 1, 2, Effort.millis(10), Effort.millis(10));
        SuiteRunner runner = new SuiteRunner(effort, PEERS, new PrintStream(OutputStream.nullOutputStream()),
                (done, total, next) -> { });
        try {
            String json = runner.run(cases());
            if (!runner.failed().isEmpty()) {
                throw new IllegalStateException("no result for " + runner.failed());
            }
            return json;
        } catch (RunnerException e) {
            throw new IllegalStateException(e);
        }
    }
}
