package dev.octet.benchmarks.suite;

import dev.octet.fp8.Granularity;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;

/**
 * One thing to measure: a JMH benchmark with one value for each of its parameters.
 *
 * @param method class and method of the benchmark, for example {@code GemmBenchmark.fprop}
 * @param params its JMH parameters
 */
public record Case(String method, Map<String, String> params) {
    private static final String PACKAGE = "dev.octet.benchmarks.jmh.";

    /** Copies the parameters, in their order. */
    public Case {
        Objects.requireNonNull(method, "method");
        params = Collections.unmodifiableMap(new LinkedHashMap<>(params));
    }

    static Case of(String method, Object... params) {
        Map<String, String> map = new LinkedHashMap<>();
        for (int i = 0; i < params.length; i += 2) {
            map.put((String) params[i], String.valueOf(params[i + 1]));
        }
        return new Case(method, map);
    }

    /** A case as JMH names it in its results. */
    static Case ofJmh(String benchmark, Map<String, String> params) {
        return new Case(benchmark.startsWith(PACKAGE) ? benchmark.substring(PACKAGE.length()) : benchmark, params);
    }

    /** {@return the fully qualified name of the JMH benchmark} */
    public String jmhName() {
        return PACKAGE + method;
    }

    /** {@return the name that filters match and summaries show, for example {@code gemm.fprop}} */
    public String name() {
        int dot = method.indexOf("Benchmark.");
        String group = method.substring(0, dot).toLowerCase(Locale.ROOT);
        String operation = method.substring(dot + "Benchmark.".length());
        return switch (method) {
            case "QuantizeBenchmark.quantize", "QuantizeBenchmark.dequantize" -> operation + "."
                    + granularity().name().replace("BLOCK_", "").toLowerCase(Locale.ROOT);
            case "QuantizeBenchmark.cast" -> "cast.e4m3";
            case "GroupedBenchmark.gemm" -> "gemm.grouped";
            case "PermuteBenchmark.permute", "PermuteBenchmark.reduce" -> "moe." + operation;
            default -> group + "." + operation;
        };
    }

    /** {@return whether this measures Octet, not the machine or a peer, which may be Octet's own dense operation} */
    public boolean isOctet() {
        return params.containsKey("backend") && !isPeer();
    }

    /** Whether this is an operation of Octet that another one is compared with. */
    boolean isOctetAsPeer() {
        return params.containsKey("backend") && isPeer();
    }

    /** Whether each operation starts a process. */
    boolean isStartup() {
        return method.startsWith("StartupBenchmark.");
    }

    /** {@return whether this measures a limit of the machine} */
    public boolean isProbe() {
        return method.startsWith("ProbeBenchmark.") || method.equals("StartupBenchmark.jvm");
    }

    /** Whether this measures the rate of arithmetic on registers, which is always the same but for disturbances. */
    boolean isPeak() {
        return method.equals("ProbeBenchmark.fma") || method.equals("ProbeBenchmark.dot");
    }

    /** Whether an operation is so short, and on so little, that memory does not matter to it. */
    boolean isTiny() {
        return method.startsWith("SmallBenchmark.") || method.startsWith("SmallPeerBenchmark.")
                || method.startsWith("DowncallBenchmark.");
    }

    /** Whether this measures what others, or others of Octet's operations, take for the same work. */
    boolean isPeer() {
        return method.startsWith("TorchBenchmark.") || method.startsWith("DensePeerBenchmark.")
                || method.startsWith("DenseLayerPeerBenchmark.") || method.startsWith("SmallPeerBenchmark.");
    }

    /** How many of Octet's operations are called one after the other in what is measured as one. */
    int calls() {
        return switch (method) {
            case "MlaBenchmark.compress" -> 6;
            case "GroupedBenchmark.gemm" -> Math.toIntExact(number("groups"));
            // Quantising, expanding, two grouped products, two SwiGLUs, reducing, and two products of shared experts.
            case "MoeBenchmark.layer" -> 9;
            default -> 1;
        };
    }

    int threads() {
        return Integer.parseInt(params.getOrDefault("threads", "1"));
    }

    long number(String key) {
        return Long.parseLong(text(key));
    }

    String text(String key) {
        String value = params.get(key);
        if (value == null) {
            throw new IllegalArgumentException(method + " has no parameter " + key + ": " + params);
        }
        return value;
    }

    Granularity granularity() {
        return Granularity.valueOf(text("granularity"));
    }

    /** {@return name and parameters in one line} */
    @Override
    public String toString() {
        StringBuilder out = new StringBuilder(name());
        params.forEach((k, v) -> out.append(' ').append(k).append('=').append(v));
        return out.toString();
    }
}
