package dev.octet.benchmarks.suite;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.runner.options.TimeValue;

/**
 * What JMH measured for one case.
 *
 * @param of the case
 * @param nanos the median time of an operation over all iterations of all forks, in nanoseconds: one that fell into
 *     somebody else's use of the machine does not move it
 * @param spread the distance from the median to its farther quartile, as a fraction of the median
 * @param allocated bytes allocated on the Java heap per operation, the median over iterations, JMH's own share
 *     included; NaN if that was not measured
 * @param iterationNanos the time that an iteration was to take, or NaN where each is one operation
 */
public record Measurement(Case of, double nanos, double spread, double allocated, double iterationNanos) {
    /**
     * Reads the results that JMH wrote. Several runs of one case, as there are of probes, become one measurement.
     *
     * @param json JMH's own JSON
     * @return measurements by case, in the order in which they stand there
     * @throws IllegalArgumentException if that is not what JMH writes
     */
    public static Map<Case, Measurement> read(String json) {
        Map<Case, List<Double>> times = new LinkedHashMap<>();
        Map<Case, Double> allocated = new LinkedHashMap<>();
        Map<Case, Double> iterations = new LinkedHashMap<>();
        for (Object element : list(Json.parse(json))) {
            Map<?, ?> result = map(element);
            Map<String, String> params = new LinkedHashMap<>();
            if (result.get("params") != null) {
                map(result.get("params")).forEach((k, v) -> params.put(String.valueOf(k), String.valueOf(v)));
            }
            Case of = Case.ofJmh(String.valueOf(result.get("benchmark")), params);
            Map<?, ?> metric = map(result.get("primaryMetric"));
            if (!"ns/op".equals(metric.get("scoreUnit"))) {
                throw new IllegalArgumentException(of + " is in " + metric.get("scoreUnit") + ", not in ns/op");
            }
            List<Double> all = times.computeIfAbsent(of, c -> new ArrayList<>());
            all.addAll(raw(metric));
            iterations.put(of, iteration(String.valueOf(result.get("measurementTime"))));
            map(result.get("secondaryMetrics")).forEach((name, value) -> {
                if (String.valueOf(name).endsWith("gc.alloc.rate.norm")) {
                    allocated.put(of, quantile(sorted(raw(map(value))), 0.5));
                }
            });
        }
        Map<Case, Measurement> out = new LinkedHashMap<>();
        times.forEach((of, t) -> out.put(of, of(of, t, allocated.getOrDefault(of, Double.NaN),
                Objects.requireNonNull(iterations.get(of)))));
        return out;
    }

    private static double iteration(String time) {
        return time.equals("single-shot") ? Double.NaN
                : TimeValue.fromString(time).convertTo(TimeUnit.NANOSECONDS);
    }

    private static Measurement of(Case of, List<Double> times, double allocated, double iterationNanos) {
        if (times.isEmpty()) {
            throw new IllegalArgumentException(of + " has no iterations");
        }
        double[] sorted = sorted(times);
        double median = quantile(sorted, 0.5);
        double spread = Math.max(quantile(sorted, 0.75) - median, median - quantile(sorted, 0.25)) / median;
        return new Measurement(of, median, spread, allocated, iterationNanos);
    }

    private static List<Double> raw(Map<?, ?> metric) {
        List<Double> all = new ArrayList<>();
        list(metric.get("rawData")).forEach(fork -> list(fork).forEach(t -> all.add((Double) t)));
        return all;
    }

    private static double[] sorted(List<Double> values) {
        return values.stream().mapToDouble(Double::doubleValue).sorted().toArray();
    }

    private static double quantile(double[] sorted, double q) {
        double at = q * (sorted.length - 1);
        int low = (int) at;
        int high = Math.min(low + 1, sorted.length - 1);
        return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
    }

    private static Map<?, ?> map(Object value) {
        if (value instanceof Map<?, ?> m) {
            return m;
        }
        throw new IllegalArgumentException("not a JMH result: " + value);
    }

    private static List<?> list(Object value) {
        if (value instanceof List<?> l) {
            return l;
        }
        throw new IllegalArgumentException("not a JMH result: " + value);
    }
}
