package dev.octet.benchmarks.suite;

import dev.octet.benchmarks.probe.Witness;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * One measured iteration and what was witnessed beside it.
 *
 * @param nanos the time of an operation, in nanoseconds
 * @param witnessed rates right before and right after it, by the names that {@link WitnessProfiler} gives them without
 *     their common beginning; empty if there was no witness
 */
record Iteration(double nanos, Map<String, Double> witnessed) {
    Iteration {
        witnessed = Map.copyOf(witnessed);
    }

    /** The iterations of one result of JMH, with each secondary metric that a witness gave. */
    static List<Iteration> all(List<Double> times, Map<String, List<Double>> metrics) {
        List<Iteration> all = new ArrayList<>();
        for (int i = 0; i < times.size(); i++) {
            Map<String, Double> here = new LinkedHashMap<>();
            for (Map.Entry<String, List<Double>> metric : metrics.entrySet()) {
                // Results of all iterations or of none: others can't be told apart.
                if (metric.getValue().size() == times.size()) {
                    here.put(metric.getKey(), metric.getValue().get(i));
                }
            }
            all.add(new Iteration(times.get(i), here));
        }
        return all;
    }

    /** The readings of one kind beside it: before and after, one of them, or none. */
    List<Double> readings(Witness.Kind kind) {
        List<Double> readings = new ArrayList<>();
        for (String when : List.of(WitnessProfiler.BEFORE, WitnessProfiler.AFTER)) {
            Double rate = witnessed.get(kind.probe() + when);
            if (rate != null && Double.isFinite(rate)) {
                readings.add(rate);
            }
        }
        return readings;
    }

    /** What the machine gave during it, the mean of before and after, or NaN. */
    double rate(Witness.Kind kind) {
        return readings(kind).stream().mapToDouble(Double::doubleValue).average().orElse(Double.NaN);
    }
}
