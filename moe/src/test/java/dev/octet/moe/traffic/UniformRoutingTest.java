package dev.octet.moe.traffic;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.moe.Routing;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class UniformRoutingTest {
    private static final UniformRouting FREE = new UniformRouting(256, 8, 8, 8);
    private static final UniformRouting LIMITED = new UniformRouting(256, 8, 8, 4);

    @Test
    void deepSeekV3() {
        assertEquals(5.295, FREE.expectedNodes(), 5e-4);
        assertEquals(3.629, LIMITED.expectedNodes(), 5e-4);
        double[] free = FREE.nodeProbabilities();
        double[] published = {.016, .158, .417, .333, .073, .003};
        for (int i = 0; i < published.length; i++) {
            assertEquals(published[i], free[3 + i], 5e-4, "on " + (3 + i));
        }
        assertEquals(0.825, Arrays.stream(free, 5, 9).sum(), 6e-4, "on more than four");
        double[] limited = LIMITED.nodeProbabilities();
        assertEquals(.0185, limited[2], 5e-5);
        assertEquals(.334, limited[3], 5e-4);
        assertEquals(.648, limited[4], 5e-4);
        assertEquals(.31, 1 - LIMITED.expectedNodes() / FREE.expectedNodes(), 5e-3);
    }

    /** All choices of small cases, one by one. */
    @ParameterizedTest
    @CsvSource({"6, 2, 3, 3, 1", "8, 3, 4, 2, 2", "8, 4, 2, 2, 2", "8, 1, 8, 5, 1", "9, 3, 3, 1, 3", "12, 5, 3, 2, 2"})
    void againstEveryChoice(int experts, int k, int nodes, int kept, int gpusPerNode) {
        int each = experts / nodes;
        double[] byNodes = new double[kept + 1];
        double gpus = 0;
        long all = 0;
        for (int keep = 0; keep < 1 << nodes; keep++) {
            for (int choice = 0; Integer.bitCount(keep) == kept && choice < 1 << experts; choice++) {
                int kept0 = keep;
                int choice0 = choice;
                if (Integer.bitCount(choice) != k || IntStream.range(0, experts)
                        .anyMatch(e -> (choice0 >> e & 1) != 0 && (kept0 >> e / each & 1) == 0)) {
                    continue;
                }
                all++;
                byNodes[(int) places(choice, experts, each)]++;
                gpus += places(choice, experts, each / gpusPerNode);
            }
        }
        UniformRouting routing = new UniformRouting(experts, k, nodes, kept);
        double mean = 0;
        for (int i = 0; i <= kept; i++) {
            byNodes[i] /= all;
            mean += i * byNodes[i];
        }
        assertArrayEquals(byNodes, routing.nodeProbabilities(), 1e-14);
        assertEquals(mean, routing.expectedNodes(), 1e-13);
        assertEquals(gpus / all, routing.expectedGpus(gpusPerNode), 1e-13);
    }

    private static long places(int choice, int experts, int each) {
        return IntStream.range(0, experts).filter(e -> (choice >> e & 1) != 0).map(e -> e / each).distinct().count();
    }

    @Test
    void samplesAgreeWithTheExactFigures() {
        for (UniformRouting routing : new UniformRouting[] {FREE, LIMITED, new UniformRouting(64, 6, 4, 3)}) {
            int tokens = 40_000;
            int gpus = 4;
            NodeTopology topology = NodeTopology.contiguous(routing.experts(), routing.nodes(), gpus);
            try (Routing sample = routing.sample(tokens, 7)) {
                NodeTraffic traffic = NodeTraffic.of(sample, topology);
                assertEquals(tokens, traffic.tokens());
                assertEquals((long) tokens * routing.topK(), traffic.choices());
                assertTrue(traffic.maxNodes() <= routing.kept());
                double[] p = routing.nodeProbabilities();
                for (int i = 0; i <= routing.kept(); i++) {
                    double sigma = Math.sqrt(p[i] * (1 - p[i]) / tokens);
                    assertEquals(p[i], (double) traffic.tokensByNodes()[i] / tokens, 5 * sigma + 1e-12);
                }
                assertEquals(routing.expectedNodes(), traffic.meanNodes(), 0.03); // 5 sigma and more
                assertEquals(routing.expectedGpus(gpus), (double) traffic.gpuVisits() / tokens, 0.04);
                assertEquals(routing.expectedAcross(), (double) traffic.acrossNodes() / tokens, 0.04);
                assertEquals(routing.expectedInside(gpus), (double) traffic.insideNodes() / tokens, 0.04);
                int[] experts = sample.expertsToArray(routing.experts());
                long[] counts = new long[routing.experts()];
                for (int t = 0; t < tokens; t++) {
                    int k = routing.topK();
                    assertEquals(k, Arrays.stream(experts, t * k, t * k + k).distinct().count());
                    Arrays.stream(experts, t * k, t * k + k).forEach(e -> counts[e]++);
                }
                double mean = (double) tokens * routing.topK() / routing.experts();
                for (long c : counts) {
                    assertEquals(mean, c, 5.5 * Math.sqrt(mean));
                }
            }
        }
    }

    @Test
    void theSameSeedDrawsTheSame() {
        try (Routing a = LIMITED.sample(50, 3); Routing b = LIMITED.sample(50, 3); Routing c = LIMITED.sample(50, 4)) {
            assertArrayEquals(a.expertsToArray(256), b.expertsToArray(256));
            assertTrue(!Arrays.equals(a.expertsToArray(256), c.expertsToArray(256)));
            assertEquals(0.125f, a.weights().getFloat(49, 7));
        }
    }

    @Test
    void allExpertsAreAllNodes() {
        assertEquals(1, new UniformRouting(8, 8, 4, 4).nodeProbabilities()[4]);
        assertEquals(1, new UniformRouting(8, 3, 1, 1).expectedNodes());
    }

    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {"0;1;1;1;experts is 0", "8;1;3;1;experts is 8", "8;1;0;1;nodes is 0",
        "8;1;4;5;kept is 5", "8;1;4;0;kept is 0", "8;5;4;2;topK is 5", "8;0;4;2;topK is 0"})
    void whatDoesNotFitIsRefused(int experts, int k, int nodes, int kept, String message) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                () -> new UniformRouting(experts, k, nodes, kept));
        assertTrue(e.getMessage().startsWith(message), e::getMessage);
    }

    @Test
    void gpusMustDivideANodesExperts() {
        assertThrows(IllegalArgumentException.class, () -> FREE.expectedGpus(5));
        assertThrows(IllegalArgumentException.class, () -> FREE.expectedGpus(0));
    }
}
