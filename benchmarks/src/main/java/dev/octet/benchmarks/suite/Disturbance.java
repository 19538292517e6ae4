package dev.octet.benchmarks.suite;

import dev.octet.benchmarks.probe.Witness;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The rule by which iterations count, the same for Octet, peers and probes. It looks at witnesses of computing alone,
 * never at what an iteration measured.
 *
 * <p>A witness has an upper level: the 90th percentile of its readings in the run, for each number of threads. An
 * iteration is disturbed if a reading right before or right after it is below 0.9 of that. Of a case those iterations
 * count that are not disturbed; if these are fewer than three, or fewer than a third, all of them count, and the case
 * is disturbed.
 */
final class Disturbance {
    /** The part of its upper level that a witness has to reach. */
    static final double LEAST = 0.9;
    /** What is above so many readings is the upper level: few are better by chance, many may be disturbed. */
    static final double UPPER = 0.9;
    /** So many iterations and so many of all of them must be left. */
    static final int FEWEST = 3;
    static final int ONE_OF = 3;

    private static final List<Witness.Kind> COMPUTING = List.of(Witness.Kind.FMA, Witness.Kind.DOT);

    private record Level(Witness.Kind kind, int threads) {}

    private final Map<Level, Double> levels = new HashMap<>();

    /** Finds the levels of a run. */
    Disturbance(Map<Case, List<Iteration>> run) {
        Map<Level, List<Double>> readings = new HashMap<>();
        run.forEach((c, iterations) -> {
            for (Witness.Kind kind : COMPUTING) {
                List<Double> same = readings.computeIfAbsent(new Level(kind, c.threads()), l -> new ArrayList<>());
                iterations.forEach(i -> same.addAll(i.readings(kind)));
            }
        });
        readings.forEach((level, rates) -> {
            if (!rates.isEmpty()) {
                levels.put(level, Quantiles.of(rates).at(UPPER));
            }
        });
    }

    /** The iterations beside which nobody was; all of them if nothing was witnessed. */
    List<Iteration> undisturbed(Case c, List<Iteration> all) {
        return all.stream().filter(i -> !disturbed(c, i)).toList();
    }

    static boolean witnessed(List<Iteration> all) {
        return all.stream().anyMatch(i -> COMPUTING.stream().anyMatch(kind -> !i.readings(kind).isEmpty()));
    }

    private boolean disturbed(Case c, Iteration i) {
        for (Witness.Kind kind : COMPUTING) {
            double least = LEAST * levels.getOrDefault(new Level(kind, c.threads()), 0.0);
            if (i.readings(kind).stream().anyMatch(rate -> rate < least)) {
                return true;
            }
        }
        return false;
    }
}
