package dev.octet.benchmarks.suite;

import dev.octet.benchmarks.peer.TorchAttention;
import dev.octet.benchmarks.probe.CopyProbe;
import dev.octet.benchmarks.probe.DotProbe;
import dev.octet.benchmarks.probe.FmaProbe;
import dev.octet.benchmarks.probe.ReadProbe;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * The machine's limits as probes measured them in the same run, for one number of threads. Rates are in units of
 * 10<sup>9</sup> a second; a limit whose probe did not run is NaN.
 *
 * @param flops operations of the arithmetic that a backend uses, a multiply-add counting as two
 * @param read bytes read from memory
 * @param copied bytes read plus bytes written when copying in memory
 * @param peak what the rate of operations is called
 */
public record Limits(double flops, double read, double copied, String peak) {
    /** Products with at most so many rows are held against the weights' bytes. */
    static final long FEW_ROWS = 4;
    /** Products with at least so many rows are held against the arithmetic. */
    static final long MANY_ROWS = 128;
    /** Decoding is held against LibTorch with a cache of so many tokens. */
    static final long PEER_CONTEXT = 8192;

    /** What read bandwidth is called. */
    static final String READ = "read bandwidth";
    /** What the rate of multiply-adds is called. */
    static final String PEAK = "FP32 FMA peak";
    /** What it is called for BF16 dot products, which only native kernels use. */
    public static final String DOT_PEAK = "BF16 dot peak";
    /** The backend that may use them. */
    static final String NATIVE = "native";

    /**
     * Finds the probes among measurements.
     *
     * @param all what was measured
     * @param threads for how many threads
     * @param backend whose arithmetic counts: BF16 dot products for {@code native} where they were measured, else
     *     FP32 multiply-adds
     * @return the limits of the whole run
     */
    public static Limits of(Map<Case, Measurement> all, int threads, String backend) {
        double fma = FmaProbe.flops(threads) / nanos(all, "fma", threads);
        double dot = backend.equals(NATIVE) ? DotProbe.flops(threads) / nanos(all, "dot", threads) : Double.NaN;
        boolean dots = Double.isFinite(dot);
        return new Limits(dots ? dot : fma, ReadProbe.bytes() / nanos(all, "read", threads),
                CopyProbe.bytes() / nanos(all, "copy", threads), dots ? DOT_PEAK : PEAK);
    }

    /**
     * The limits of attention, of FP32 multiply-adds on every backend: a product of FP32 operands takes two BF16 ones,
     * each half of a dot product.
     *
     * @param all what was measured
     * @param threads for how many threads
     * @return the limits of the whole run
     */
    public static Limits ofAttention(Map<Case, Measurement> all, int threads) {
        return of(all, threads, "cpu");
    }

    /**
     * The limits of a case. Memory does not give the same from minute to minute: what counts is what it gave right
     * before and after the case's own iterations. The peak of arithmetic is the probe's, since it is always the same
     * but for disturbances, which neither the case nor the probe has.
     *
     * @param all what was measured
     * @param c a case of Octet
     * @return the limits beside that case
     */
    public static Limits of(Map<Case, Measurement> all, Case c) {
        Limits run = isOfFp32(c) ? of(all, c.threads(), "cpu") : of(all, c.threads(), c.text("backend"));
        Measurement m = all.get(c);
        return m == null ? run : new Limits(run.flops, Double.isNaN(m.read()) ? run.read : m.read(),
                Double.isNaN(m.copied()) ? run.copied : m.copied(), run.peak);
    }

    /** Attention, and the router's product, which adds up products of FP32 on every backend. */
    private static boolean isOfFp32(Case c) {
        return c.method().startsWith("MlaBenchmark.") || c.method().equals("MoeBenchmark.router");
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
        if (c.method().startsWith("GemmBenchmark.") || c.method().startsWith("MlaBenchmark.")
                || c.method().startsWith("MoeBenchmark.") || c.method().startsWith("GroupedBenchmark.")) {
            probes.add(probe("fma", c.threads()));
            if (isNative(c) && DotProbe.isThere() && !isOfFp32(c)) {
                probes.add(probe("dot", c.threads()));
            }
            probes.add(probe("read", c.threads()));
        } else if (c.method().startsWith("QuantizeBenchmark.") || c.method().startsWith("PermuteBenchmark.")) {
            probes.add(probe("copy", c.threads()));
        } else if (c.method().startsWith("StartupBenchmark.")) {
            probes.add(Case.of("StartupBenchmark.jvm", "threads", c.threads()));
        }
        return probes;
    }

    /** What LibTorch does instead; where it can be asked in several ways, all of them, of which the fastest counts. */
    static List<Case> peers(Case c) {
        return switch (c.method()) {
            case "GemmBenchmark.fprop", "GemmBenchmark.dgrad", "GemmBenchmark.wgrad", "GemmBenchmark.row",
                    "GemmBenchmark.tensor" -> products(c);
            case "QuantizeBenchmark.cast" -> List.of(Case.of("TorchBenchmark.cast", "dtype", c.text("dtype"),
                    "threads", c.threads(), "rows", c.number("rows"), "columns", c.number("columns")));
            case "MlaBenchmark.decode" -> c.text("cache").equals("BF16") && c.number("batch") == 1
                    && c.number("context") == PEER_CONTEXT ? attention(c, "BF16", 1, PEER_CONTEXT) : List.of();
            case "MlaBenchmark.prefill" -> attention(c, c.text("dtype"), c.number("tokens"), c.number("tokens"));
            case "MlaBenchmark.compress" -> List.of(matmul(c, "BF16", 1));
            case "GroupedBenchmark.gemm" -> c.number("rows") == 1 ? List.of()
                    : List.of(Case.of("DensePeerBenchmark.gemm", "backend", c.text("backend"), "threads", c.threads(),
                            "m", groupedRows(c), "n", c.number("n"), "k", c.number("k")));
            case "MoeBenchmark.gate" -> List.of(Case.of("TorchBenchmark.gate", "threads", c.threads(), "tokens",
                    c.number("tokens")));
            case "MoeBenchmark.router" -> List.of(Case.of("TorchBenchmark.matmul", "dtype", c.text("dtype"), "threads",
                    c.threads(), "m", c.number("tokens"), "n", c.number("n"), "k", c.number("k")));
            case "MoeBenchmark.layer" -> c.number("tokens") < MANY_ROWS ? List.of()
                    : List.of(Case.of("DenseLayerPeerBenchmark.layer", "backend", c.text("backend"), "threads",
                            c.threads(), "tokens", c.number("tokens")));
            case "SmallBenchmark.gemm", "SmallBenchmark.quantize", "SmallBenchmark.dequantize", "SmallBenchmark.cast" ->
                    List.of(Case.of(c.method().replace("SmallB", "SmallPeerB"), "backend", "cpu", "threads", c.threads(),
                            "m", c.number("m"), "n", c.number("n"), "k", c.number("k")));
            default -> List.of();
        };
    }

    /** Rows of all groups together: one each, or 1, 3, 5 and so on. */
    static long groupedRows(Case c) {
        long groups = c.number("groups");
        long most = c.number("rows");
        long rows = 0;
        for (long g = 0; g < groups; g++) {
            rows += most == 1 ? 1 : 2 * g % most + 1;
        }
        return rows;
    }

    private static boolean isNative(Case c) {
        return NATIVE.equals(c.params().get("backend"));
    }

    /**
     * For few rows in BF16, in which such weights lie in memory otherwise; for many in the types that the kernels compute in:
     * native ones in BF16 where the processor can, else in FP32 like all others.
     */
    private static List<Case> products(Case c) {
        long m = c.number("m");
        return m < MANY_ROWS ? List.of(matmul(c, "BF16", m))
                : isNative(c) ? List.of(matmul(c, "BF16", m), matmul(c, "F32", m)) : List.of(matmul(c, "F32", m));
    }

    private static Case matmul(Case c, String dtype, long m) {
        return Case.of("TorchBenchmark.matmul", "dtype", dtype, "threads", c.threads(), "m", m, "n", c.number("n"), "k",
                c.number("k"));
    }

    /** Those of the peers that this processor's arithmetic makes worth measuring: all, or of two types its own. */
    static List<Case> peersHere(Case c) {
        List<Case> peers = peers(c);
        return c.method().startsWith("GemmBenchmark.") && peers.size() == 2
                ? List.of(peers.get(DotProbe.isThere() ? 0 : 1)) : peers;
    }

    private static List<Case> attention(Case c, String dtype, long queries, long keys) {
        return Arrays.stream(TorchAttention.Form.values()).map(form -> Case.of("TorchBenchmark.attention", "form",
                form, "dtype", dtype, "threads", c.threads(), "heads", c.number("heads"), "queries", queries, "keys",
                keys)).toList();
    }

    /**
     * {@return what a peer is called}
     *
     * @param peer a case that measures LibTorch
     */
    public static String peerKind(Case peer) {
        return switch (peer.method()) {
            case "DenseLayerPeerBenchmark.layer" -> "dense layer of Octet with as many active parameters";
            case "DensePeerBenchmark.gemm" -> "dense GEMM of Octet, as many rows and one B";
            case "SmallPeerBenchmark.gemm", "SmallPeerBenchmark.quantize", "SmallPeerBenchmark.dequantize",
                    "SmallPeerBenchmark.cast" -> "backend " + peer.text("backend");
            case "TorchBenchmark.matmul" -> "LibTorch " + type(peer) + " matmul";
            case "TorchBenchmark.attention" -> "LibTorch " + type(peer) + " "
                    + TorchAttention.Form.valueOf(peer.text("form")).title();
            case "TorchBenchmark.gate" -> "LibTorch sigmoid, topk, gather";
            default -> "LibTorch cast to float8_e4m3fn";
        };
    }

    private static String type(Case peer) {
        return peer.text("dtype").equals("F32") ? "FP32" : peer.text("dtype");
    }

    /**
     * {@return the rate in GFLOP/s that a product of so many rows is held against: for few rows what the read bandwidth
     * allows, with one byte a weight, or the FMA peak where that is less; for many the FMA peak; between them the straight line, in rows, from the one rate
     * to the other}
     *
     * @param m rows
     */
    public double productFlops(long m) {
        if (m >= MANY_ROWS) {
            return flops;
        }
        double few = readingLimits(Math.min(m, FEW_ROWS)) ? 2.0 * Math.min(m, FEW_ROWS) * read : flops;
        return m <= FEW_ROWS ? few : few + (flops - few) * (m - FEW_ROWS) / (MANY_ROWS - FEW_ROWS);
    }

    /**
     * {@return whether reading weights of one byte takes longer than the arithmetic of a product of few rows}
     *
     * @param m rows
     */
    boolean readingLimits(long m) {
        return !(2.0 * m * read > flops);
    }

    /**
     * {@return the rate in GFLOP/s at which work could be done if nothing but reading its bytes took time}
     *
     * @param work what is to be done
     */
    public double reading(AttentionWork work) {
        return read * work.flops() / work.bytes();
    }

    /**
     * {@return the roofline, in GFLOP/s: what takes longer, the arithmetic at its peak or reading the bytes, is what
     * the work takes at least}
     *
     * @param work what is to be done
     */
    public double roofline(AttentionWork work) {
        return readingLimits(work) ? reading(work) : flops;
    }

    /** {@return whether reading takes longer than the arithmetic} */
    boolean readingLimits(AttentionWork work) {
        return reading(work) < flops;
    }
}
