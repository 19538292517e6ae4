package dev.octet.benchmarks.suite;

import dev.octet.benchmarks.probe.CopyProbe;
import dev.octet.benchmarks.probe.FmaProbe;
import dev.octet.benchmarks.probe.ReadProbe;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The machine's limits as probes measured them in the same run, for one number of threads. Rates are in units of
 * 10<sup>9</sup> a second; a limit whose probe did not run is NaN.
 *
 * @param flops FP32 operations, a multiply-add counting as two
 * @param read bytes read from memory
 * @param copied bytes read plus bytes written when copying in memory
 */
public record Limits(double flops, double read, double copied) {
    /** Products with at most so many rows are held against the weights' bytes. */
    static final long FEW_ROWS = 4;
    /** Products with at least so many rows are held against the arithmetic. */
    static final long MANY_ROWS = 128;

    /**
     * Finds the probes among measurements.
     *
     * @param all what was measured
     * @param threads for how many threads
     */
    public static Limits of(Map<Case, Measurement> all, int threads) {
        return new Limits(FmaProbe.flops(threads) / nanos(all, "fma", threads),
                ReadProbe.bytes() / nanos(all, "read", threads), CopyProbe.bytes() / nanos(all, "copy", threads));
    }

    private static double nanos(Map<Case, Measurement> all, String probe, int threads) {
        Measurement m = all.get(probe(probe, threads));
        return m == null ? Double.NaN : m.nanos();
    }

    private static Case probe(String name, int threads) {
        return Case.of("ProbeBenchmark." + name, "threads", threads);
    }

    /** The probes that a case needs beside it. */
    static List<Case> probes(Case c) {
        List<Case> probes = new ArrayList<>();
        if (c.method().startsWith("GemmBenchmark.")) {
            probes.add(probe("fma", c.threads()));
            probes.add(probe("read", c.threads()));
        } else if (c.method().startsWith("QuantizeBenchmark.")) {
            probes.add(probe("copy", c.threads()));
        } else if (c.method().startsWith("StartupBenchmark.")) {
            probes.add(Case.of("StartupBenchmark.jvm", "threads", c.threads()));
        }
        return probes;
    }

    /** What LibTorch does instead, or null. */
    static @Nullable Case peer(Case c) {
        if (c.method().startsWith("GemmBenchmark.")) {
            return Case.of("TorchBenchmark.matmul", "dtype", c.number("m") >= MANY_ROWS ? "F32" : "BF16", "threads",
                    c.threads(), "m", c.number("m"), "n", c.number("n"), "k", c.number("k"));
        }
        if (c.method().equals("QuantizeBenchmark.cast")) {
            return Case.of("TorchBenchmark.cast", "dtype", c.text("dtype"), "threads", c.threads(), "rows",
                    c.number("rows"), "columns", c.number("columns"));
        }
        return null;
    }

    /**
     * {@return the rate in GFLOP/s that a product of so many rows is held against: for few rows what the read bandwidth
     * allows, with one byte a weight; for many the FMA peak; between them the straight line, in rows, from the one rate
     * to the other}
     *
     * @param m rows
     */
    public double productFlops(long m) {
        if (m >= MANY_ROWS) {
            return flops;
        }
        double few = 2.0 * Math.min(m, FEW_ROWS) * read;
        return m <= FEW_ROWS ? few : few + (flops - few) * (m - FEW_ROWS) / (MANY_ROWS - FEW_ROWS);
    }
}
