package dev.octet.moe.placement;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.moe.Routing;
import dev.octet.moe.Routings;
import dev.octet.moe.balance.ExpertLoads;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ExpertPlacementTest {
    /** The example that EPLB is published with. */
    private static final double[][] LOADS = {
        {90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86},
        {20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27}};
    private static final Cluster CLUSTER = new Cluster(12, 16, 4, 2, 8);

    @Test
    void thePublishedExample() {
        ExpertPlacement placement = ExpertPlacement.balance(LOADS, CLUSTER);
        assertArrayEquals(new int[][] {
            {5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1},
            {7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1}}, placement.physicalToLogical());
        assertArrayEquals(new int[][] {
            {1, 2, 1, 1, 2, 2, 1, 1, 1, 1, 2, 1},
            {1, 2, 1, 1, 1, 2, 2, 1, 2, 1, 1, 1}}, placement.counts());
        assertEquals(2, placement.logicalToPhysical()[0][0].length);
        assertArrayEquals(new int[] {12, -1}, placement.logicalToPhysical()[0][0]);
        assertArrayEquals(new double[] {121.5, 86.5, 125, 113, 147.5, 131.5, 156, 152},
                placement.gpuLoads(0, LOADS[0]));
        assertArrayEquals(new double[] {446, 587}, placement.nodeLoads(0, LOADS[0]));
    }

    @Test
    void whatEveryPlacementKeeps() {
        SplittableRandom random = new SplittableRandom(41);
        int hierarchical = 0;
        for (int round = 0; round < 400; round++) {
            int nodes = random.nextInt(1, 5);
            int gpus = nodes * random.nextInt(1, 5);
            int groups = random.nextBoolean() ? nodes * random.nextInt(1, 4) : random.nextInt(1, 6);
            int experts = groups * random.nextInt(1, 6);
            int replicas = Math.ceilDiv(experts, gpus) * gpus + gpus * random.nextInt(0, 3);
            Cluster cluster = new Cluster(experts, replicas, groups, nodes, gpus);
            int kind = round % 4; // zeros, equal, few values, any
            double[][] loads = new double[2][];
            for (int l = 0; l < 2; l++) {
                loads[l] = random.doubles(experts)
                        .map(x -> kind == 0 ? 0 : kind == 1 ? 3 : kind == 2 ? (int) (4 * x) : x * x * x).toArray();
            }
            ExpertPlacement placement = ExpertPlacement.balance(loads, cluster);
            String name = "round " + round + ": " + cluster;
            assertArrayEquals(placement.physicalToLogical(),
                    ExpertPlacement.balance(loads, cluster).physicalToLogical(), name);
            hierarchical += cluster.isHierarchical() && nodes > 1 ? 1 : 0;
            for (int l = 0; l < 2; l++) {
                check(placement, l, loads[l], name);
            }
        }
        assertTrue(hierarchical > 100);
    }

    private static void check(ExpertPlacement placement, int l, double[] loads, String name) {
        Cluster c = placement.cluster();
        int[] logical = placement.physicalToLogical()[l];
        int[] counts = placement.counts()[l];
        int[][] physical = placement.logicalToPhysical()[l];
        assertEquals(c.replicas(), logical.length, name);
        assertEquals(c.replicas(), Arrays.stream(counts).sum(), name);
        boolean[] seen = new boolean[c.replicas()];
        for (int e = 0; e < c.experts(); e++) {
            assertTrue(counts[e] >= 1, name);
            for (int r = 0; r < physical[e].length; r++) {
                int p = physical[e][r];
                assertEquals(r < counts[e], p >= 0, name);
                if (p >= 0) {
                    assertEquals(e, logical[p], name);
                    assertFalse(seen[p], name);
                    seen[p] = true;
                } else {
                    assertEquals(-1, p, name);
                }
            }
        }
        if (c.isHierarchical()) {
            int groupSize = c.experts() / c.groups();
            for (int g = 0; g < c.groups(); g++) {
                int group = g;
                long nodes = IntStream.range(0, c.replicas()).filter(p -> logical[p] / groupSize == group)
                        .map(p -> p / (c.replicas() / c.nodes())).distinct().count();
                assertEquals(1, nodes, name);
            }
        }
        double[] gpuLoads = placement.gpuLoads(l, loads);
        double total = Arrays.stream(loads).sum();
        assertEquals(c.gpus(), gpuLoads.length, name);
        assertEquals(total, Arrays.stream(gpuLoads).sum(), 1e-12 * (1 + total), name);
        assertEquals(total, Arrays.stream(placement.nodeLoads(l, loads)).sum(), 1e-12 * (1 + total), name);
        assertTrue(ExpertPlacement.maxOverMean(gpuLoads) >= 1 - 1e-12, name);
        // no replica has more than its expert had, and the busiest GPU has at least the largest replica
        double largest = IntStream.range(0, c.experts()).mapToDouble(e -> loads[e] / counts[e]).max().orElseThrow();
        assertTrue(largest <= Arrays.stream(loads).max().orElseThrow(), name);
        assertTrue(Arrays.stream(gpuLoads).max().orElseThrow() >= largest - 1e-12 * largest, name);
    }

    /** With one replica a GPU the busiest GPU has as little as any distribution of replicas allows. */
    @Test
    void greedyReplicationIsBestPossible() {
        SplittableRandom random = new SplittableRandom(43);
        for (int round = 0; round < 200; round++) {
            int experts = random.nextInt(1, 6);
            int replicas = experts + random.nextInt(0, 6);
            double[] loads = random.ints(experts, 0, 30).asDoubleStream().toArray();
            ExpertPlacement placement =
                    ExpertPlacement.balance(new double[][] {loads}, new Cluster(experts, replicas, 1, 1, replicas));
            double max = Arrays.stream(placement.gpuLoads(0, loads)).max().orElseThrow();
            assertEquals(best(loads, 0, replicas), max, 1e-12, "round " + round);
            assertTrue(max <= Arrays.stream(loads).max().orElseThrow(), "never worse than without replicas");
        }
    }

    private static double best(double[] loads, int from, int left) {
        if (from == loads.length) {
            return 0;
        }
        double best = Double.POSITIVE_INFINITY;
        for (int n = 1; n <= left - (loads.length - from - 1); n++) {
            best = Math.min(best, Math.max(loads[from] / n, best(loads, from + 1, left - n)));
        }
        return best;
    }

    @Test
    void packingByHand() {
        // 9 to 0, 7 to 1, 6 to 1, 5 to 0, 4 to 1 which has 13, 1 to the other, which has 14 but room
        assertArrayEquals(new int[] {1, 4, 0, 3, 2, 5},
                Packing.balanced(new double[] {1, 9, 6, 7, 5, 4}, 2));
        assertArrayEquals(new int[] {0, 1, 2}, Packing.balanced(new double[] {1, 2, 3}, 3), "one each: as they are");
        assertArrayEquals(new int[] {0, 2, 1, 3}, Packing.balanced(new double[] {5, 5, 5, 5}, 2), "ties");
        assertArrayEquals(new int[] {0, 1, 1, 1, 0}, Packing.replicate(new double[] {4, 9}, 5));
        assertArrayEquals(new int[] {0, 1, 0, 1}, Packing.replicate(new double[] {2, 2}, 4), "ties");
    }

    @Test
    void equalLoadsOfFullTurnsAreEven() {
        double[] loads = new double[8];
        Arrays.fill(loads, 5);
        for (Cluster c : new Cluster[] {new Cluster(8, 16, 4, 2, 4), new Cluster(8, 8, 1, 1, 8),
            new Cluster(8, 24, 1, 2, 6)}) {
            ExpertPlacement placement = ExpertPlacement.balance(new double[][] {loads}, c);
            assertEquals(1, ExpertPlacement.maxOverMean(placement.gpuLoads(0, loads)), 1e-14, c.toString());
        }
    }

    @Test
    void groupsThatNodesDoNotDivideAreGlobal() {
        double[] loads = {8, 1, 1, 1, 1, 1};
        Cluster three = new Cluster(6, 8, 3, 2, 4);
        assertFalse(three.isHierarchical());
        ExpertPlacement global = ExpertPlacement.balance(new double[][] {loads}, three);
        assertArrayEquals(ExpertPlacement.balance(new double[][] {loads}, new Cluster(6, 8, 1, 1, 4))
                .physicalToLogical(), global.physicalToLogical());
        assertEquals(3, global.counts()[0][0]);
        long nodes = Arrays.stream(global.logicalToPhysical()[0][0]).map(p -> p / 4).distinct().count();
        assertEquals(2, nodes, "replicas of one expert on both nodes");
    }

    @Test
    void inOrder() {
        ExpertPlacement placement = ExpertPlacement.inOrder(2, CLUSTER);
        assertArrayEquals(new int[] {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3},
                placement.physicalToLogical()[1]);
        assertArrayEquals(new int[] {3, 15}, placement.logicalToPhysical()[0][3]);
        assertEquals(2, placement.layers());
        double before = ExpertPlacement.maxOverMean(placement.gpuLoads(0, LOADS[0]));
        double after = ExpertPlacement.maxOverMean(
                ExpertPlacement.balance(LOADS, CLUSTER).gpuLoads(0, LOADS[0]));
        assertEquals(269 * 8 / 1033.0, before, 1e-12); // experts 4 and 5
        assertEquals(156 * 8 / 1033.0, after, 1e-12);
        assertThrows(IllegalArgumentException.class, () -> ExpertPlacement.inOrder(0, CLUSTER));
    }

    // ---------------------------------------------------------------------------------------------- routing

    @Test
    void tokensGoToReplicas() {
        ExpertPlacement placement = ExpertPlacement.balance(LOADS, CLUSTER);
        int[][] chosen = {{5, 0}, {5, -1}, {-1, -1}, {10, 5}, {5, 10}};
        try (Routing r = Routings.of(chosen);
                Routing hashed = placement.toReplicas(0, r, ReplicaChoice.HASHED, 0);
                Routing other = placement.toReplicas(0, r, ReplicaChoice.HASHED, 1);
                Routing turns = placement.toReplicas(0, r, ReplicaChoice.ROUND_ROBIN, 0);
                Routing otherTurns = placement.toReplicas(0, r, ReplicaChoice.ROUND_ROBIN, 3)) {
            // expert 5 is in places 0 and 2, expert 10 in 8 and 10, 23333 is odd
            int[][] places = placement.logicalToPhysical()[0];
            int[] five = places[5];
            int[] ten = places[10];
            assertArrayEquals(new int[] {0, 2}, Arrays.stream(five).sorted().toArray());
            assertArrayEquals(new int[] {five[0], 12, five[1], -1, -1, -1, ten[1], five[1], five[0], ten[0]},
                    hashed.expertsToArray(16));
            assertArrayEquals(new int[] {five[1], 12, five[0], -1, -1, -1, ten[0], five[0], five[1], ten[1]},
                    other.expertsToArray(16));
            assertArrayEquals(new int[] {five[0], 12, five[1], -1, -1, -1, ten[0], five[0], five[1], ten[1]},
                    turns.expertsToArray(16));
            assertArrayEquals(new int[] {five[1], 12, five[0], -1, -1, -1, ten[1], five[1], five[0], ten[0]},
                    otherTurns.expertsToArray(16));
            assertArrayEquals(r.weights().toFloatArray(), turns.weights().toFloatArray());
            assertEquals(5, r.expertsToArray(12)[0], "the gate's own stays");
            assertThrows(IllegalArgumentException.class,
                    () -> placement.toReplicas(0, r, ReplicaChoice.HASHED, -1));
            assertThrows(IndexOutOfBoundsException.class,
                    () -> placement.toReplicas(2, r, ReplicaChoice.HASHED, 0));
        }
        try (Routing wrong = Routings.of(new int[][] {{0}, {12}})) {
            assertTrue(assertThrows(IllegalArgumentException.class,
                    () -> placement.toReplicas(0, wrong, ReplicaChoice.HASHED, 0)).getMessage()
                    .startsWith("experts[1, 0] is 12"));
        }
    }

    /** A routing with the loads it was balanced for gives each GPU what the placement promised. */
    @Test
    void turnsKeepThePromise() {
        ExpertPlacement placement = ExpertPlacement.balance(LOADS, CLUSTER);
        int[][] chosen = new int[(int) Arrays.stream(LOADS[1]).sum()][1];
        int t = 0;
        for (int e = 0; e < 12; e++) {
            for (int i = 0; i < LOADS[1][e]; i++) {
                chosen[t++][0] = e;
            }
        }
        try (Routing r = Routings.of(chosen);
                Routing replicas = placement.toReplicas(1, r, ReplicaChoice.ROUND_ROBIN, 0)) {
            ExpertLoads byGpu = ExpertLoads.of(replicas, 16).byGpu(CLUSTER.topology());
            double[] promised = placement.gpuLoads(1, LOADS[1]);
            for (int g = 0; g < 8; g++) {
                assertEquals(promised[g], byGpu.count(g), 1, "GPU " + g);
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- refusals

    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {"12;16;5;2;8;groups is 5, it must divide the 12 experts",
        "12;16;4;3;8;nodes is 3, it must divide the 8 gpus", "12;16;4;2;6;gpus is 6, it must divide the 16 replicas",
        "12;11;4;2;8;replicas is 11, it must be at least the 12 experts", "0;16;4;2;8;experts is 0",
        "12;16;0;2;8;groups is 0", "12;16;4;0;8;nodes is 0", "12;16;4;2;0;gpus is 0"})
    void clustersThatDoNotFitAreRefused(int experts, int replicas, int groups, int nodes, int gpus, String message) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                () -> new Cluster(experts, replicas, groups, nodes, gpus));
        assertTrue(e.getMessage().startsWith(message), e::getMessage);
    }

    @ParameterizedTest
    @ValueSource(doubles = {Double.NaN, -1, Double.POSITIVE_INFINITY})
    void loadsThatAreNoneAreRefused(double bad) {
        double[][] loads = {LOADS[0], LOADS[1].clone()};
        loads[1][3] = bad;
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> ExpertPlacement.balance(loads, CLUSTER));
        assertTrue(e.getMessage().startsWith("loads[1][3] is " + bad), e::getMessage);
        assertThrows(IllegalArgumentException.class,
                () -> ExpertPlacement.inOrder(1, CLUSTER).gpuLoads(0, loads[1]));
    }

    @Test
    void shapesThatDoNotFitAreRefused() {
        assertThrows(IllegalArgumentException.class, () -> ExpertPlacement.balance(new double[0][], CLUSTER));
        assertTrue(assertThrows(IllegalArgumentException.class,
                () -> ExpertPlacement.balance(new double[][] {LOADS[0], {1}}, CLUSTER)).getMessage()
                .startsWith("loads[1] has 1 values"));
        assertThrows(IllegalArgumentException.class, () -> ExpertPlacement.maxOverMean(new double[0]));
        assertEquals(1, ExpertPlacement.maxOverMean(new double[3]));
        assertEquals(1.5, ExpertPlacement.maxOverMean(new double[] {3, 1, 2}));
    }
}
