package dev.octet.benchmarks.suite;

import dev.octet.benchmarks.probe.Witness;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.runner.options.TimeValue;

/**
 * What JMH measured for one case.
 *
 * @param of the case
 * @param nanos the median time of an operation over the iterations of all forks that count, in nanoseconds; of a probe
 *     of arithmetic beside which something was witnessed the 10th percentile: it is a peak, and what disturbs within an
 *     iteration only makes it slower
 * @param spread the distance from the median to its farther quartile, as a fraction of the median
 * @param allocated bytes allocated on the Java heap per operation, the median over iterations, JMH's own share
 *     included; NaN if that was not measured
 * @param iterationNanos the time that an iteration was to take, or NaN where each is one operation
 * @param counted how many iterations count
 * @param read what memory gave beside them when read, the median, in GB/s; NaN if that was not witnessed
 * @param copied the same when copied, bytes read and written
 */
public record Measurement(Case of, double nanos, double spread, double allocated, double iterationNanos,
        Counted counted, double read, double copied) {
    /** A measurement beside which nothing was witnessed. */
    Measurement(Case of, double nanos, double spread, double allocated, double iterationNanos) {
        this(of, nanos, spread, allocated, iterationNanos, Counted.unwitnessed(1), Double.NaN, Double.NaN);
    }

    /** The results of one case, of one run or several, before it is known which iterations count. */
    private static final class Results {
        final List<Iteration> iterations = new ArrayList<>();
        final List<Double> allocated = new ArrayList<>();
        double iterationNanos;
        int runs;

        void add(Map<?, ?> result, List<Double> times) {
            Map<String, List<Double>> witnessed = new LinkedHashMap<>();
            map(result.get("secondaryMetrics")).forEach((key, value) -> {
                String name = String.valueOf(key);
                if (name.endsWith("gc.alloc.rate.norm")) {
                    allocated.addAll(raw(map(value)));
                } else if (name.contains(WitnessProfiler.PREFIX)) {
                    witnessed.put(name.substring(name.indexOf(WitnessProfiler.PREFIX)
                            + WitnessProfiler.PREFIX.length()), raw(map(value)));
                }
            });
            iterations.addAll(Iteration.all(times, witnessed));
            iterationNanos = iteration(String.valueOf(result.get("measurementTime")));
            runs++;
        }

        Measurement measurement(Case of, Disturbance rule) {
            List<Iteration> undisturbed = rule.undisturbed(of, iterations);
            Counted counted = new Counted(iterations.size(), undisturbed.size(), Disturbance.witnessed(iterations),
                    runs);
            List<Iteration> counting = counted.disturbed() ? iterations : undisturbed;
            Quantiles times = Quantiles.of(counting.stream().map(Iteration::nanos).toList());
            double median = times.median();
            double spread = Math.max(times.at(0.75) - median, median - times.at(0.25)) / median;
            double nanos = counted.witnessed() && of.isPeak() ? times.at(1 - Disturbance.UPPER) : median;
            return new Measurement(of, nanos, spread, Quantiles.of(allocated).median(), iterationNanos, counted,
                    beside(counting, Witness.Kind.READ), beside(counting, Witness.Kind.COPY));
        }

        private static double beside(List<Iteration> iterations, Witness.Kind kind) {
            return Quantiles.of(iterations.stream().map(i -> i.rate(kind)).toList()).median();
        }
    }

    /**
     * Reads the results that JMH wrote. Several runs of one case, as there are of probes, become one measurement.
     *
     * @param json JMH's own JSON
     * @return measurements by case, in the order in which they stand there
     * @throws IllegalArgumentException if that is not what JMH writes
     */
    public static Map<Case, Measurement> read(String json) {
        Map<Case, Results> results = new LinkedHashMap<>();
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
            List<Double> times = raw(metric);
            if (times.isEmpty()) {
                throw new IllegalArgumentException(of + " has no iterations");
            }
            results.computeIfAbsent(of, c -> new Results()).add(result, times);
        }
        Map<Case, List<Iteration>> run = new LinkedHashMap<>();
        results.forEach((of, r) -> run.put(of, r.iterations));
        Disturbance rule = new Disturbance(run);
        Map<Case, Measurement> out = new LinkedHashMap<>();
        results.forEach((of, r) -> out.put(of, r.measurement(of, rule)));
        return out;
    }

    private static double iteration(String time) {
        return time.equals("single-shot") ? Double.NaN
                : TimeValue.fromString(time).convertTo(TimeUnit.NANOSECONDS);
    }

    private static List<Double> raw(Map<?, ?> metric) {
        List<Double> all = new ArrayList<>();
        list(metric.get("rawData")).forEach(fork -> list(fork).forEach(t -> all.add(t instanceof Double d ? d
                : Double.NaN)));
        return all;
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
