package dev.octet.moe.placement;

import dev.octet.moe.Routing;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Objects;

/**
 * Which expert each place of each layer holds: the placement of DeepSeek's expert-parallel load balancer (EPLB;
 * DeepSeek-V3 &sect;3.4.1). Experts with much load get replicas, and replicas are put on GPUs so that their loads are
 * alike.
 *
 * <p>If the nodes divide the groups, it is hierarchical: groups are packed onto nodes, so that a token that keeps to
 * few groups keeps to few nodes, then experts are replicated inside each node, then replicas are packed onto its GPUs.
 * Otherwise it is global: all experts are replicated and packed onto all GPUs. Each step is greedy, the heaviest first;
 * ties go to the lower index. A replica has an equal part of its expert's load.
 *
 * <p>Immutable.
 */
public final class ExpertPlacement {
    private static final long HASH = 23333;

    private final Cluster cluster;
    private final int[][] physicalToLogical; // [layers, replicas]
    private final int[][] counts; // [layers, experts]
    private final int[][][] logicalToPhysical; // [layers, experts, counts], not padded

    private ExpertPlacement(Cluster cluster, int[][] physicalToLogical, int[][] ranks) {
        this.cluster = cluster;
        this.physicalToLogical = physicalToLogical;
        this.counts = new int[physicalToLogical.length][];
        this.logicalToPhysical = new int[physicalToLogical.length][cluster.experts()][];
        for (int l = 0; l < physicalToLogical.length; l++) {
            counts[l] = Packing.counts(physicalToLogical[l], cluster.experts());
            for (int e = 0; e < cluster.experts(); e++) {
                logicalToPhysical[l][e] = new int[counts[l][e]];
            }
            for (int p = 0; p < cluster.replicas(); p++) {
                logicalToPhysical[l][physicalToLogical[l][p]][ranks[l][p]] = p;
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- making

    /**
     * Places by loads.
     *
     * @param loads {@code [layers, experts]}: for example how many tokens each expert had, or a moving average of that
     * @param cluster the places
     * @return the placement
     * @throws IllegalArgumentException if there is no layer, one has another number of experts than the cluster, or a
     *     load is negative or not finite; the message names layer and expert
     */
    public static ExpertPlacement balance(double[][] loads, Cluster cluster) {
        if (loads.length == 0) {
            throw new IllegalArgumentException("loads is empty, there must be a layer");
        }
        for (int l = 0; l < loads.length; l++) {
            check("loads[" + l + "]", loads[l], cluster);
        }
        boolean hierarchical = cluster.isHierarchical();
        int groups = hierarchical ? cluster.groups() : 1;
        int nodes = hierarchical ? cluster.nodes() : 1;
        int[][] physicalToLogical = new int[loads.length][];
        int[][] ranks = new int[loads.length][cluster.replicas()];
        for (int l = 0; l < loads.length; l++) {
            physicalToLogical[l] = place(loads[l], cluster, groups, nodes, ranks[l]);
        }
        return new ExpertPlacement(cluster, physicalToLogical, ranks);
    }

    /**
     * The placement of someone who knows no loads: expert {@code p mod experts} in place {@code p}.
     *
     * @param layers how many
     * @param cluster the places
     * @return the placement
     * @throws IllegalArgumentException if {@code layers} is not positive
     */
    public static ExpertPlacement inOrder(int layers, Cluster cluster) {
        if (layers < 1) {
            throw new IllegalArgumentException("layers is " + layers + ", it must be at least 1");
        }
        int[] places = new int[cluster.replicas()];
        Arrays.setAll(places, p -> p % cluster.experts());
        int[] ranks = new int[cluster.replicas()];
        Arrays.setAll(ranks, p -> p / cluster.experts());
        int[][] all = new int[layers][];
        int[][] allRanks = new int[layers][];
        Arrays.fill(all, places);
        Arrays.fill(allRanks, ranks);
        return new ExpertPlacement(cluster, all, allRanks);
    }

    private static void check(String name, double[] loads, Cluster cluster) {
        if (loads.length != cluster.experts()) {
            throw new IllegalArgumentException(
                    name + " has " + loads.length + " values, there are " + cluster.experts() + " experts");
        }
        for (int e = 0; e < loads.length; e++) {
            if (!(loads[e] >= 0) || loads[e] == Double.POSITIVE_INFINITY) {
                throw new IllegalArgumentException(
                        name + "[" + e + "] is " + loads[e] + ", it must be finite and not negative");
            }
        }
    }

    /** One layer: groups to nodes, replicas inside a node, replicas to its GPUs. */
    private static int[] place(double[] loads, Cluster cluster, int groups, int nodes, int[] ranks) {
        int groupSize = cluster.experts() / groups;
        double[] groupLoads = new double[groups];
        for (int e = 0; e < loads.length; e++) {
            groupLoads[e / groupSize] += loads[e];
        }
        int[] groupAt = Packing.balanced(groupLoads, nodes);
        int expertsPerNode = cluster.experts() / nodes;
        int replicasPerNode = cluster.replicas() / nodes;
        int[] placed = new int[cluster.replicas()];
        for (int n = 0; n < nodes; n++) {
            int[] experts = new int[expertsPerNode];
            double[] own = new double[expertsPerNode];
            for (int i = 0; i < expertsPerNode; i++) {
                int group = groupAt[n * (groups / nodes) + i / groupSize];
                experts[i] = group * groupSize + i % groupSize;
                own[i] = loads[experts[i]];
            }
            int[] replicas = Packing.replicate(own, replicasPerNode);
            int[] count = Packing.counts(replicas, expertsPerNode);
            double[] parts = new double[replicasPerNode];
            int[] rank = new int[replicasPerNode];
            int[] seen = new int[expertsPerNode];
            for (int r = 0; r < replicasPerNode; r++) {
                parts[r] = own[replicas[r]] / count[replicas[r]];
                rank[r] = seen[replicas[r]]++;
            }
            int[] replicaAt = Packing.balanced(parts, cluster.gpus() / nodes);
            for (int p = 0; p < replicasPerNode; p++) {
                placed[n * replicasPerNode + p] = experts[replicas[replicaAt[p]]];
                ranks[n * replicasPerNode + p] = rank[replicaAt[p]];
            }
        }
        return placed;
    }

    // ---------------------------------------------------------------------------------------------- reading

    /** {@return the places} */
    public Cluster cluster() {
        return cluster;
    }

    /** {@return how many layers} */
    public int layers() {
        return physicalToLogical.length;
    }

    /** {@return for each place of each layer its expert, {@code [layers, replicas]}; a copy} */
    public int[][] physicalToLogical() {
        return copy(physicalToLogical);
    }

    /** {@return how many replicas each expert of each layer has, {@code [layers, experts]}; a copy} */
    public int[][] counts() {
        return copy(counts);
    }

    /**
     * {@return for each expert of each layer the places of its replicas,
     * {@code [layers, experts, most replicas of any]}, in the order in which they were made, then -1; a copy}
     */
    public int[][][] logicalToPhysical() {
        int most = Arrays.stream(counts).flatMapToInt(Arrays::stream).max().orElseThrow();
        int[][][] padded = new int[layers()][cluster.experts()][most];
        for (int l = 0; l < layers(); l++) {
            for (int e = 0; e < cluster.experts(); e++) {
                int[] places = logicalToPhysical[l][e];
                Arrays.fill(padded[l][e], -1);
                System.arraycopy(places, 0, padded[l][e], 0, places.length);
            }
        }
        return padded;
    }

    private static int[][] copy(int[][] a) {
        return Arrays.stream(a).map(int[]::clone).toArray(int[][]::new);
    }

    // ---------------------------------------------------------------------------------------------- loads

    /**
     * {@return the load of each GPU, a replica having an equal part of its expert's}
     *
     * @param layer which
     * @param loads of the layer's experts
     */
    public double[] gpuLoads(int layer, double[] loads) {
        return sums(layer, loads, cluster.replicasPerGpu(), cluster.gpus());
    }

    /**
     * {@return the load of each node, a replica having an equal part of its expert's}
     *
     * @param layer which
     * @param loads of the layer's experts
     */
    public double[] nodeLoads(int layer, double[] loads) {
        return sums(layer, loads, cluster.replicas() / cluster.nodes(), cluster.nodes());
    }

    private double[] sums(int layer, double[] loads, int each, int places) {
        Objects.checkIndex(layer, layers());
        check("loads", loads, cluster);
        double[] sums = new double[places];
        for (int p = 0; p < cluster.replicas(); p++) {
            int expert = physicalToLogical[layer][p];
            sums[p / each] += loads[expert] / counts[layer][expert];
        }
        return sums;
    }

    /**
     * {@return how uneven loads are: the largest over the mean, 1 if all are equal, also if all are 0}
     *
     * @param loads at least one, for example of GPUs
     * @throws IllegalArgumentException if there is none
     */
    public static double maxOverMean(double[] loads) {
        if (loads.length == 0) {
            throw new IllegalArgumentException("loads is empty, there must be one");
        }
        double sum = 0;
        double max = 0;
        for (double x : loads) {
            sum += x;
            max = Math.max(max, x);
        }
        return sum == 0 ? 1 : max * loads.length / sum;
    }

    // ---------------------------------------------------------------------------------------------- routing

    /**
     * Sends tokens to replicas instead of experts.
     *
     * @param layer which
     * @param routing the gate's, on the CPU; it stays as it is
     * @param choice which replica
     * @param rank the number of the device that routes, so that devices do not all begin with the same replica; not
     *     negative
     * @return the same with the place of a replica, 0 to {@code replicas - 1}, instead of each expert; -1 stays,
     *     weights are copied; close it to free the memory
     * @throws IllegalArgumentException if the routing has an expert that is not there (the message names the token), or
     *     the rank is negative
     */
    public Routing toReplicas(int layer, Routing routing, ReplicaChoice choice, int rank) {
        Objects.checkIndex(layer, layers());
        if (rank < 0) {
            throw new IllegalArgumentException("rank is " + rank + ", it can't be negative");
        }
        int[] experts = routing.expertsToArray(cluster.experts());
        int k = routing.topK();
        long[] turns = new long[cluster.experts()];
        for (int i = 0; i < experts.length; i++) {
            if (experts[i] >= 0) {
                int[] places = logicalToPhysical[layer][experts[i]];
                long turn = choice == ReplicaChoice.HASHED ? i / k * HASH : turns[experts[i]]++;
                experts[i] = places[(int) ((rank + turn) % places.length)];
            }
        }
        Routing out = Routing.allocate(routing.tokens(), k);
        try {
            MemorySegment.copy(experts, 0, out.experts().segment(), ValueLayout.JAVA_INT_UNALIGNED, 0, experts.length);
            out.weights().copyFrom(routing.weights());
            return out;
        } catch (RuntimeException | Error e) {
            out.close();
            throw e;
        }
    }
}
