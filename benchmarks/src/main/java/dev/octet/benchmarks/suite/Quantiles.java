package dev.octet.benchmarks.suite;

import java.util.Collection;

/** Values in their order, and what lies at a part of the way from the least to the greatest. */
final class Quantiles {
    private final double[] sorted;

    private Quantiles(double[] sorted) {
        this.sorted = sorted;
    }

    static Quantiles of(Collection<Double> values) {
        return new Quantiles(values.stream().mapToDouble(Double::doubleValue).filter(d -> !Double.isNaN(d)).sorted()
                .toArray());
    }

    /** The value there, between two neighbours in proportion; NaN if there are none. */
    double at(double part) {
        if (sorted.length == 0) {
            return Double.NaN;
        }
        double place = part * (sorted.length - 1);
        int low = (int) place;
        int high = Math.min(low + 1, sorted.length - 1);
        return sorted[low] + (place - low) * (sorted[high] - sorted[low]);
    }

    double median() {
        return at(0.5);
    }
}
