package dev.octet.benchmarks.suite;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/**
 * One figure that Octet means to reach, beside what was measured. All bars are set here.
 *
 * @param of the case, for people
 * @param measure what is held against the bar
 * @param value what was measured, or NaN if that was not
 * @param bar what it must be
 * @param atMost whether less is better
 */
public record Bar(String of, String measure, double value, double bar, boolean atMost) {
    /** Forward products of 128 rows and more, of the FP32 FMA peak. */
    static final double OF_PEAK = 0.90;
    /** The same, as many times as fast as LibTorch in FP32. */
    static final double TIMES_FP32 = 1.0;
    /** Forward products of up to 4 rows, of the read bandwidth. */
    static final double OF_READ = 0.85;
    /** The same, as many times as fast as LibTorch in BF16. */
    static final double TIMES_BF16 = 1.8;
    /** Quantising BF16, of the copy bandwidth. */
    static final double OF_COPY = 0.7;
    /** Forward products of 128 rows and more: two threads, as many times as fast as one. */
    static final double TIMES_ONE_THREAD = 1.9;
    /** Decoding, of the roofline. */
    public static final double OF_ROOFLINE = 0.75;
    /** Decoding, as many times as fast as LibTorch in BF16 over keys and values of each head. */
    static final double DECODE_TIMES_BF16 = 1.5;
    /** Absorbed weights with one token, of the read bandwidth. */
    static final double ABSORB_OF_READ = 0.75;
    /** Prefill in F32, as many times as fast as LibTorch in FP32. */
    static final double PREFILL_TIMES_FP32 = 1.0;
    /** Native prefill in BF16, as many times as fast as LibTorch in BF16. */
    static final double NATIVE_PREFILL_TIMES_BF16 = 1.0;
    /** The gate: microseconds that a core takes for a token. */
    static final double GATE_MICROSECONDS = 0.35;
    /** The same, as many times as fast as LibTorch. */
    static final double GATE_TIMES = 10;
    /** The grouped product of experts with various numbers of rows, as many times as fast as a dense one. */
    static final double GROUPED_TIMES_DENSE = 0.9;
    /** The grouped product of experts with one row each, of the read bandwidth. */
    static final double GROUPED_OF_READ = 0.8;
    /** The way of rows to experts and back, of the copy bandwidth. */
    static final double PERMUTE_OF_COPY = 0.6;
    /** The experts of a layer on one token, of the read bandwidth. */
    static final double LAYER_OF_READ = 0.75;
    /** The product in front of the gate with one token, which no step of decoding can do without, of the read bandwidth. */
    static final double ROUTER_OF_READ = 0.75;
    /** Until the first result of a fresh JVM. */
    static final double STARTUP_SECONDS = 2;
    /** Bytes allocated per call of an operation of Octet: about none. */
    static final double BYTES = 1024;
    /** JMH's own share in what is measured: so many bytes in each iteration, at most. */
    static final double JMH_BYTES = 20_000;
    /** With fewer operations in an iteration JMH's share would hide Octet's. */
    static final double LEAST_OPERATIONS = 20;

    /** Native code: forward products of 128 rows and more, of the BF16 dot peak. */
    static final double NATIVE_OF_PEAK = 0.92;
    /** The same, of up to 4 rows, of the read bandwidth. */
    static final double NATIVE_OF_READ = 0.95;
    /** The same, as many times as fast as LibTorch in BF16: up to 4 rows, up to 127, and more. */
    static final double NATIVE_TIMES_FEW = 2.5;
    static final double NATIVE_TIMES_SOME = 1.2;
    static final double NATIVE_TIMES_MANY = 1.0;
    /** Native code, quantising BF16, of the copy bandwidth. */
    static final double NATIVE_OF_COPY = 0.85;
    /** Native code, absorbed weights with 8 tokens, of the read bandwidth. */
    static final double NATIVE_ABSORB_OF_READ = 0.70;
    /** A call of native code, in nanoseconds. */
    static final double DOWNCALL_NANOS = 20;
    /** Native code on few elements, as many times as fast as the backend that would run without it. */
    static final double SMALL_TIMES = 1.0;

    private static final Set<String> QUANTISERS = Set.of("quantize.1x128", "quantize.128x128");

    /**
     * Holds measurements against the bars.
     *
     * @param all everything that was measured, probes and peers included
     * @return each bar that a measured case has, in the order of the cases; allocation last, once for all
     */
    public static List<Bar> of(Map<Case, Measurement> all) {
        List<Bar> bars = new ArrayList<>();
        Map<Case, Row> byCase = Row.byCase(all);
        List<Row> rows = List.copyOf(byCase.values());
        byCase.forEach((of, r) -> {
            switch (r.benchmark()) {
                case "gemm.fprop" -> product(r, rows, Limits.of(all, of), bars);
                case "downcall.ordinary", "downcall.critical" -> bars.add(
                        new Bar(r.benchmark(), "ns a call", 1e3 / r.value(), DOWNCALL_NANOS, true));
                case "small.gemm", "small.quantize", "small.dequantize", "small.cast" -> bars.add(
                        atLeast(r, "times " + r.peerKind(), r.ratioToPeer(), SMALL_TIMES));
                case "startup.gemm" -> bars.add(new Bar(name(r), "s to the first result", r.value(), STARTUP_SECONDS,
                        true));
                case "mla.decode" -> {
                    bars.add(atLeast(r, "of " + r.limitKind(), r.ratioToLimit(), OF_ROOFLINE));
                    if (r.peerKind() != null) {
                        bars.add(atLeast(r, "times " + r.peerKind(), r.ratioToPeer(), DECODE_TIMES_BF16));
                    }
                }
                case "mla.prefill" -> {
                    if ("F32".equals(r.params().get("dtype"))) {
                        bars.add(atLeast(r, "times " + r.peerKind(), r.ratioToPeer(), PREFILL_TIMES_FP32));
                    } else if (isNative(r)) {
                        bars.add(atLeast(r, "times " + r.peerKind(), r.ratioToPeer(), NATIVE_PREFILL_TIMES_BF16));
                    }
                }
                case "gemm.grouped" -> bars.add((Long) Objects.requireNonNull(r.params().get("rows")) == 1
                        ? atLeast(r, "of " + r.limitKind(), r.ratioToLimit(), GROUPED_OF_READ)
                        : atLeast(r, "times " + r.peerKind(), r.ratioToPeer(), GROUPED_TIMES_DENSE));
                case "moe.permute", "moe.reduce" -> bars.add(
                        atLeast(r, "of " + r.limitKind(), r.ratioToLimit(), PERMUTE_OF_COPY));
                case "mla.compress" -> {
                    bars.add(atLeast(r, "of " + r.limitKind(), r.ratioToLimit(), OF_READ));
                    bars.add(atLeast(r, "times " + r.peerKind(), r.ratioToPeer(), TIMES_BF16));
                }
                case "mla.absorb" -> {
                    if (Long.valueOf(1).equals(r.params().get("tokens"))) {
                        bars.add(atLeast(r, "of " + r.limitKind(), r.ratioToLimit(), ABSORB_OF_READ));
                    } else if (isNative(r) && Long.valueOf(8).equals(r.params().get("tokens"))) {
                        bars.add(atLeast(r, "of " + r.limitKind(), r.ratioToLimit(), NATIVE_ABSORB_OF_READ));
                    }
                }
                case "moe.layer", "moe.router" -> {
                    if (Long.valueOf(1).equals(r.params().get("tokens"))) {
                        bars.add(atLeast(r, "of " + r.limitKind(), r.ratioToLimit(),
                                r.benchmark().equals("moe.layer") ? LAYER_OF_READ : ROUTER_OF_READ));
                    }
                }
                case "moe.gate" -> {
                    bars.add(new Bar(name(r), "us a token and core", r.threads() / r.value(), GATE_MICROSECONDS, true));
                    bars.add(atLeast(r, "times " + r.peerKind(), r.ratioToPeer(), GATE_TIMES));
                }
                default -> {
                    if (QUANTISERS.contains(r.benchmark()) && "BF16".equals(r.params().get("dtype"))) {
                        bars.add(atLeast(r, "of " + r.limitKind(), r.ratioToLimit(),
                                isNative(r) ? NATIVE_OF_COPY : OF_COPY));
                    }
                }
            }
        });
        all.values().stream().filter(m -> m.of().isOctet() && Double.isFinite(m.allocated())
                && m.iterationNanos() / m.nanos() >= LEAST_OPERATIONS).max(Comparator.comparingDouble(Bar::allocated))
                .ifPresent(m -> bars.add(new Bar("the worst of all: " + m.of(), "B/call, less JMH's own", allocated(m),
                        BYTES, true)));
        return bars;
    }

    /** Bytes of a call that JMH did not allocate for sure. */
    private static double allocated(Measurement m) {
        return Math.max(0, m.allocated() - JMH_BYTES * m.nanos() / m.iterationNanos()) / m.of().calls();
    }

    private static void product(Row r, List<Row> rows, Limits limits, List<Bar> bars) {
        long m = (Long) Objects.requireNonNull(r.params().get("m"));
        if (isNative(r)) {
            nativeProduct(r, m, bars);
        } else {
            bars.add(atLeast(r, "of " + r.limitKind(), r.ratioToLimit(), productFraction(m, limits)));
        }
        if (isNative(r)) {
            bars.add(atLeast(r, "times " + r.peerKind(), r.ratioToPeer(), m <= Limits.FEW_ROWS ? NATIVE_TIMES_FEW
                    : m < Limits.MANY_ROWS ? NATIVE_TIMES_SOME : NATIVE_TIMES_MANY));
        } else if (m <= Limits.FEW_ROWS) {
            bars.add(atLeast(r, "times " + r.peerKind(), r.ratioToPeer(), TIMES_BF16));
        } else if (m >= Limits.MANY_ROWS) {
            bars.add(atLeast(r, "times " + r.peerKind(), r.ratioToPeer(), TIMES_FP32));
        }
        if (m >= Limits.MANY_ROWS) {
            if (r.threads() == 2) {
                rows.stream().filter(one -> one.threads() == 1 && one.benchmark().equals(r.benchmark())
                        && one.backend().equals(r.backend()) && one.params().equals(r.params()))
                        .forEach(one -> bars.add(atLeast(r, "times one thread", r.value() / one.value(),
                                TIMES_ONE_THREAD)));
            }
        }
    }

    private static boolean isNative(Row r) {
        return r.backend().equals(Limits.NATIVE);
    }

    /** Between few rows and many the bar is against LibTorch alone. */
    private static void nativeProduct(Row r, long m, List<Bar> bars) {
        if (m <= Limits.FEW_ROWS || m >= Limits.MANY_ROWS) {
            bars.add(atLeast(r, "of " + r.limitKind(), r.ratioToLimit(),
                    m <= Limits.FEW_ROWS ? NATIVE_OF_READ : NATIVE_OF_PEAK));
        }
    }

    /**
     * The part of its limit that a forward product must reach. Between few rows and many the bar is the straight line
     * in M, in GFLOP/s, from the bar at 4 to the bar at 128, as the limit is the line from limit to limit.
     */
    static double productFraction(long m, Limits l) {
        Limits bars = new Limits(OF_PEAK * l.flops(), OF_READ * l.read(), Double.NaN, l.peak());
        return m <= Limits.FEW_ROWS ? OF_READ : m >= Limits.MANY_ROWS ? OF_PEAK
                : bars.productFlops(m) / l.productFlops(m);
    }

    private static Bar atLeast(Row r, String measure, double value, double bar) {
        return new Bar(name(r), measure, value, bar, false);
    }

    private static String name(Row r) {
        String sizes = switch (r.benchmark()) {
            case "gemm.fprop" -> String.format(Locale.ROOT, " M=%s %sx%s", r.params().get("m"), r.params().get("n"),
                    r.params().get("k"));
            case "startup.gemm" -> "";
            case "small.gemm" -> String.format(Locale.ROOT, " M=%s %sx%s", r.params().get("m"), r.params().get("n"),
                    r.params().get("k"));
            case "small.quantize", "small.dequantize", "small.cast" -> String.format(Locale.ROOT, " %sx%s",
                    r.params().get("m"), r.params().get("k"));
            case "gemm.grouped" -> String.format(Locale.ROOT, " %s experts, up to %s rows, %sx%s",
                    r.params().get("groups"), r.params().get("rows"), r.params().get("n"), r.params().get("k"));
            case "mla.decode" -> String.format(Locale.ROOT, " %s heads, batch %s, context %s, %s",
                    r.params().get("heads"), r.params().get("batch"), r.params().get("context"),
                    r.params().get("cache"));
            case "mla.prefill" -> String.format(Locale.ROOT, " %s heads, %s tokens, %s", r.params().get("heads"),
                    r.params().get("tokens"), r.params().get("dtype"));
            case "mla.absorb" -> String.format(Locale.ROOT, " %s, %s token", r.params().get("weight"),
                    r.params().get("tokens"));
            case "mla.compress" -> String.format(Locale.ROOT, " %sx%s", r.params().get("n"), r.params().get("k"));
            case "moe.router" -> String.format(Locale.ROOT, " %s token, %s", r.params().get("tokens"),
                    r.params().get("dtype"));
            case "moe.gate", "moe.layer" -> String.format(Locale.ROOT, " %s tokens", r.params().get("tokens"));
            default -> " " + r.params().get("dtype");
        };
        return r.benchmark() + sizes + ", " + r.threads() + (r.threads() == 1 ? " thread" : " threads");
    }

    /** {@return whether the bar is reached; what was not measured does not reach it} */
    public boolean met() {
        return atMost ? value <= bar : value >= bar;
    }

    /** {@return {@code met}, {@code missed} or {@code not measured}} */
    public String outcome() {
        return Double.isNaN(value) || Double.isNaN(bar) ? "not measured" : met() ? "met" : "missed";
    }
}
