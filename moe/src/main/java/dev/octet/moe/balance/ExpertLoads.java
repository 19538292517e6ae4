package dev.octet.moe.balance;

import dev.octet.moe.Routing;
import dev.octet.moe.traffic.NodeTopology;
import java.util.Arrays;
import java.util.Objects;

/**
 * How many tokens each expert has, and how uneven that is. Immutable.
 */
public final class ExpertLoads {
    private final long[] counts;
    private final long total;

    private ExpertLoads(long[] counts) {
        this.counts = counts;
        long sum = 0;
        for (int e = 0; e < counts.length; e++) {
            if (counts[e] < 0) {
                throw new IllegalArgumentException("counts[" + e + "] is " + counts[e] + ", it can't be negative");
            }
            try {
                sum = Math.addExact(sum, counts[e]);
            } catch (ArithmeticException overflow) {
                throw new IllegalArgumentException("counts add up to more than 2^63-1", overflow);
            }
        }
        this.total = sum;
    }

    /**
     * {@return the given loads}
     *
     * @param counts tokens of each expert; copied
     * @throws IllegalArgumentException if there is none, or one is negative
     */
    public static ExpertLoads of(long... counts) {
        if (counts.length == 0) {
            throw new IllegalArgumentException("counts is empty, there must be an expert");
        }
        return new ExpertLoads(counts.clone());
    }

    /**
     * Counts a routing. -1 counts for nothing.
     *
     * @param routing where tokens go, on the CPU
     * @param experts how many experts there are
     * @return the loads
     * @throws IllegalArgumentException if {@code experts} is not positive, or the routing has one that is not there
     */
    public static ExpertLoads of(Routing routing, int experts) {
        if (experts < 1) {
            throw new IllegalArgumentException("experts is " + experts + ", it must be at least 1");
        }
        long[] counts = new long[experts];
        for (int e : routing.expertsToArray(experts)) {
            if (e >= 0) {
                counts[e]++;
            }
        }
        return new ExpertLoads(counts);
    }

    /**
     * {@return these and others together, as of the micro-batches of a step}
     *
     * @param other loads of as many experts
     */
    public ExpertLoads plus(ExpertLoads other) {
        if (other.counts.length != counts.length) {
            throw new IllegalArgumentException(
                    "other has " + other.counts.length + " experts, these are " + counts.length);
        }
        long[] sum = counts.clone();
        for (int e = 0; e < sum.length; e++) {
            sum[e] += other.counts[e]; // an overflow is negative and refused
        }
        return new ExpertLoads(sum);
    }

    /** {@return how many experts} */
    public int experts() {
        return counts.length;
    }

    /**
     * {@return tokens of an expert}
     *
     * @param expert which
     */
    public long count(int expert) {
        return counts[Objects.checkIndex(expert, counts.length)];
    }

    /** {@return tokens of each expert, as a new array} */
    public long[] counts() {
        return counts.clone();
    }

    /** {@return pairs of a token and an expert} */
    public long total() {
        return total;
    }

    /** {@return the largest load} */
    public long max() {
        return Arrays.stream(counts).max().orElseThrow();
    }

    /** {@return the mean load} */
    public double mean() {
        return (double) total / counts.length;
    }

    /**
     * {@return by how much the largest load exceeds the mean, in multiples of the mean: {@code max / mean - 1}, 0 if
     * all are equal or there are no tokens (MaxVio of "Auxiliary-Loss-Free Load Balancing Strategy for
     * Mixture-of-Experts")}
     */
    public double maxViolation() {
        return total == 0 ? 0 : max() / mean() - 1;
    }

    /**
     * {@return {@code -SUM p ln p} of the experts' shares p of all tokens, at most {@code ln experts}; 0 without
     * tokens}
     */
    public double entropy() {
        double sum = 0;
        for (long c : counts) {
            if (c > 0) {
                double p = (double) c / total;
                sum -= p * Math.log(p);
            }
        }
        return sum;
    }

    /**
     * {@return tokens of the experts of each node, a token counting once for each}
     *
     * @param topology where the experts are
     * @throws IllegalArgumentException if it has another number of experts
     */
    public ExpertLoads byNode(NodeTopology topology) {
        return by(topology, topology.nodes(), topology.gpusPerNode());
    }

    /**
     * {@return tokens of the experts of each GPU, a token counting once for each}
     *
     * @param topology where the experts are
     * @throws IllegalArgumentException if it has another number of experts
     */
    public ExpertLoads byGpu(NodeTopology topology) {
        return by(topology, topology.gpus(), 1);
    }

    private ExpertLoads by(NodeTopology topology, int places, int gpusOfPlace) {
        if (topology.experts() != counts.length) {
            throw new IllegalArgumentException("topology has " + topology.experts() + " experts, the loads are of "
                    + counts.length);
        }
        long[] sums = new long[places];
        for (int e = 0; e < counts.length; e++) {
            sums[topology.gpu(e) / gpusOfPlace] += counts[e];
        }
        return new ExpertLoads(sums);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof ExpertLoads l && Arrays.equals(counts, l.counts);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(counts);
    }

    @Override
    public String toString() {
        return Arrays.toString(counts);
    }
}
