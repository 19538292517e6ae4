package dev.octet.moe.traffic;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.moe.Routing;
import dev.octet.moe.Routings;
import java.util.HashSet;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class NodeTrafficTest {
    /** Experts 0 to 7 on GPUs 0 to 7 of two nodes. */
    private static final NodeTopology TWO_NODES = NodeTopology.contiguous(8, 2, 4);

    @Test
    void oneTokenByHand() {
        try (Routing r = Routings.of(new int[][] {{1, 4, 5, 6}})) {
            NodeTraffic t = NodeTraffic.of(r, TWO_NODES, new int[] {1});
            // own GPU; across to GPU 5, whose number is 1 too, and from there to 4 and 6
            assertEquals(new NodeTraffic(1, 4, 2, 4, 1, 2, 3, new long[] {0, 0, 1}), t);
            assertEquals(t.hashCode(), NodeTraffic.of(r, TWO_NODES, new int[] {1}).hashCode());
            assertEquals(7392, t.bytesAcross(WireFormat.FP8, 7168));
            assertEquals(2 * 14336, t.bytesInside(WireFormat.BF16, 7168));
            // from GPU 0: inside to 1; across to 4, from there to 5 and 6
            assertEquals(new NodeTraffic(1, 4, 2, 4, 1, 3, 3, new long[] {0, 0, 1}),
                    NodeTraffic.of(r, TWO_NODES, new int[] {0}));
            // from GPU 7: across to 3, from there to 1; inside to 4, 5 and 6
            assertEquals(new NodeTraffic(1, 4, 2, 4, 1, 4, 1, new long[] {0, 0, 1}),
                    NodeTraffic.of(r, TWO_NODES, new int[] {7}));
        }
    }

    @Test
    void paddingIsNoToken() {
        try (Routing r = Routings.of(new int[][] {{-1, -1}, {0, -1}, {3, 3}})) {
            NodeTraffic t = NodeTraffic.of(r, TWO_NODES, new int[] {0, 0, 0});
            assertEquals(new NodeTraffic(2, 3, 2, 2, 0, 1, 0, new long[] {0, 2, 0}), t);
            assertEquals(1, t.maxNodes());
            assertEquals(1, t.meanNodes());
        }
        try (Routing none = Routing.allocate(0, 2)) {
            NodeTraffic t = NodeTraffic.of(none, TWO_NODES);
            assertEquals(0, t.meanNodes());
            assertEquals(0, t.maxNodes());
        }
    }

    @Test
    void tokensAreSpreadInEqualParts() {
        int[][] experts = new int[16][1]; // all to expert 0
        try (Routing r = Routings.of(experts)) {
            NodeTraffic t = NodeTraffic.of(r, TWO_NODES);
            assertEquals(8, t.acrossNodes()); // from the tokens of node 1
            assertEquals(12, t.insideNodes()); // all but those of GPUs 0 and 4
        }
    }

    /** Each copy is followed by name. */
    @Test
    void againstSetsOfLinks() {
        SplittableRandom random = new SplittableRandom(11);
        for (int round = 0; round < 200; round++) {
            int nodes = random.nextInt(1, 5);
            int each = random.nextInt(1, 4);
            int experts = random.nextInt(1, 20);
            int[] gpuOf = random.ints(experts, 0, nodes * each).toArray();
            int tokens = random.nextInt(1, 6);
            int k = random.nextInt(1, 6);
            int[][] chosen = new int[tokens][k];
            int[] source = random.ints(tokens, 0, nodes * each).toArray();
            Set<String> across = new HashSet<>();
            Set<String> inside = new HashSet<>();
            Set<String> visits = new HashSet<>();
            long pairs = 0;
            for (int t = 0; t < tokens; t++) {
                for (int i = 0; i < k; i++) {
                    int e = random.nextInt(-1, experts);
                    chosen[t][i] = e;
                    if (e < 0) {
                        continue;
                    }
                    int at = source[t];
                    int to = gpuOf[e];
                    visits.add(t + ":" + to / each);
                    if (at / each != to / each) {
                        pairs++;
                        int entry = to / each * each + at % each;
                        across.add(t + ":" + at + ">" + entry);
                        at = entry;
                    }
                    if (at != to) {
                        inside.add(t + ":" + at + ">" + to);
                    }
                }
            }
            try (Routing r = Routings.of(chosen)) {
                NodeTraffic traffic = NodeTraffic.of(r, NodeTopology.of(nodes, each, gpuOf), source);
                assertEquals(across.size(), traffic.acrossNodes(), "round " + round);
                assertEquals(inside.size(), traffic.insideNodes(), "round " + round);
                assertEquals(visits.size(), traffic.nodeVisits(), "round " + round);
                assertEquals(pairs, traffic.choicesAcross(), "round " + round);
            }
        }
    }

    @Test
    void wireFormats() {
        assertEquals(7392, WireFormat.FP8.bytes(7168));
        assertEquals(14336, WireFormat.BF16.bytes(7168));
        assertEquals(129 + 8, WireFormat.FP8.bytes(129));
        assertEquals(5, WireFormat.FP8.bytes(1));
        assertThrows(IllegalArgumentException.class, () -> WireFormat.BF16.bytes(0));
    }

    @Test
    void topologies() {
        NodeTopology v3 = NodeTopology.contiguous(256, 8, 8);
        assertEquals(64, v3.gpus());
        assertEquals(63, v3.gpu(255));
        assertEquals(7, v3.node(224));
        assertEquals(6, v3.node(223));
        assertEquals("256 experts on 8 nodes of 8 GPUs", v3.toString());
        int[] map = {3, 0};
        NodeTopology any = NodeTopology.of(2, 2, map);
        map[0] = 0;
        assertArrayEquals(new int[] {3, 1, 0, 0}, new int[] {any.gpu(0), any.node(0), any.gpu(1), any.node(1)});
        assertThrows(IndexOutOfBoundsException.class, () -> any.gpu(2));
    }

    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {"10;2;4;experts is 10", "0;2;4;experts is 0", "8;0;4;nodes is 0",
        "8;2;0;gpusPerNode is 0", "8;65536;65536;nodes is 65536"})
    void topologiesThatDoNotFitAreRefused(int experts, int nodes, int gpus, String message) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                () -> NodeTopology.contiguous(experts, nodes, gpus));
        assertTrue(e.getMessage().startsWith(message), e::getMessage);
    }

    @Test
    void whatIsNotThereIsRefused() {
        assertTrue(assertThrows(IllegalArgumentException.class, () -> NodeTopology.of(1, 2, 0, 2)).getMessage()
                .startsWith("gpuOfExpert[1] is 2"));
        assertThrows(IllegalArgumentException.class, () -> NodeTopology.of(1, 2));
        try (Routing r = Routings.of(new int[][] {{0}, {8}}); Routing good = Routings.of(new int[][] {{0}, {7}})) {
            assertTrue(assertThrows(IllegalArgumentException.class, () -> NodeTraffic.of(r, TWO_NODES)).getMessage()
                    .startsWith("experts[1, 0] is 8"));
            assertTrue(assertThrows(IllegalArgumentException.class,
                    () -> NodeTraffic.of(good, TWO_NODES, new int[] {0, 8})).getMessage()
                    .startsWith("sourceGpus[1] is 8"));
            assertThrows(IllegalArgumentException.class, () -> NodeTraffic.of(good, TWO_NODES, new int[] {0}));
        }
    }
}
