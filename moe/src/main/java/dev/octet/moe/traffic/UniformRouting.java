package dev.octet.moe.traffic;

import dev.octet.moe.Routing;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.MathContext;
import java.util.SplittableRandom;

/**
 * Routing by chance: a token draws {@code kept} of {@code nodes} nodes, all draws equally likely, then {@code topK}
 * different experts of those nodes, all draws equally likely again. With all nodes kept it is unrestricted. The measure
 * that a limit on nodes is held against (DeepSeek-V3 &sect;3.2.2): 256 experts, 8 nodes and 8 experts of a token make
 * 5.295 nodes, 3.629 if only four are kept.
 *
 * @param experts how many; a multiple of {@code nodes}
 * @param topK experts of a token
 * @param nodes how many
 * @param kept nodes that a token's experts may be on
 */
public record UniformRouting(int experts, int topK, int nodes, int kept) {
    /**
     * Checks that the numbers fit together.
     *
     * @throws IllegalArgumentException if one is not positive, the nodes do not divide the experts, more nodes are kept
     *     than there are, or the kept ones have fewer experts than a token needs
     */
    public UniformRouting {
        if (nodes < 1) {
            throw new IllegalArgumentException("nodes is " + nodes + ", it must be at least 1");
        }
        if (experts < 1 || experts % nodes != 0) {
            throw new IllegalArgumentException(
                    "experts is " + experts + ", it must be a multiple of the " + nodes + " nodes");
        }
        if (kept < 1 || kept > nodes) {
            throw new IllegalArgumentException("kept is " + kept + ", it must be 1 to the " + nodes + " nodes");
        }
        if (topK < 1 || topK > kept * (long) (experts / nodes)) {
            throw new IllegalArgumentException("topK is " + topK + ", it must be 1 to the "
                    + kept * (long) (experts / nodes) + " experts of the kept nodes");
        }
    }

    /**
     * The probability of each number of nodes, from exact integers: of {@code d} given nodes with {@code g} experts
     * each, {@code SUM_j (-1)^(d-j) C(d, j) C(j g, topK)} choices touch every one, and there are {@code C(kept, d)}
     * such sets.
     *
     * @return for {@code i} from 0 to {@code kept}, the probability that a token has experts on {@code i} nodes
     */
    public double[] nodeProbabilities() {
        return probabilities(kept, experts / nodes, topK);
    }

    /** {@return the expected number of nodes that have experts of a token} */
    public double expectedNodes() {
        return expected(kept, experts / nodes, topK);
    }

    /**
     * {@return the expected number of GPUs that have experts of a token}
     *
     * @param gpusPerNode GPUs of each node, which divide its experts
     * @throws IllegalArgumentException if they do not
     */
    public double expectedGpus(int gpusPerNode) {
        if (gpusPerNode < 1 || experts / nodes % gpusPerNode != 0) {
            throw new IllegalArgumentException("gpusPerNode is " + gpusPerNode + ", it must divide the "
                    + experts / nodes + " experts of a node");
        }
        return expected(Math.multiplyExact(kept, gpusPerNode), experts / nodes / gpusPerNode, topK);
    }

    /** {@return copies of a token that are expected to cross nodes, if it is equally likely to start on each} */
    public double expectedAcross() {
        return expectedNodes() * (nodes - 1) / nodes; // a visited node is the token's own once in all nodes
    }

    /**
     * {@return copies of a token that are expected to go from GPU to GPU inside nodes, if it is equally likely to start
     * on each}
     *
     * @param gpusPerNode GPUs of each node, which divide its experts
     */
    public double expectedInside(int gpusPerNode) {
        return expectedGpus(gpusPerNode) * (gpusPerNode - 1) / gpusPerNode; // the node's entry has it already
    }

    private static double[] probabilities(int bins, int each, int k) {
        int most = Math.min(bins, k);
        BigInteger all = binomial(bins * each, k);
        BigInteger[] touching = new BigInteger[most + 1]; // C(j each, k)
        for (int j = 0; j <= most; j++) {
            touching[j] = binomial(j * each, k);
        }
        double[] p = new double[bins + 1]; // 0 beyond
        for (int d = 0; d <= most; d++) {
            BigInteger sum = BigInteger.ZERO;
            for (int j = 0; j <= d; j++) {
                BigInteger term = binomial(d, j).multiply(touching[j]);
                sum = (d - j) % 2 == 0 ? sum.add(term) : sum.subtract(term);
            }
            p[d] = ratio(sum.multiply(binomial(bins, d)), all);
        }
        return p;
    }

    /** A bin is missed by {@code C((bins - 1) each, k)} of {@code C(bins each, k)} choices. */
    private static double expected(int bins, int each, int k) {
        BigInteger all = binomial(bins * each, k);
        BigInteger hit = all.subtract(binomial((bins - 1) * each, k));
        return ratio(hit.multiply(BigInteger.valueOf(bins)), all);
    }

    private static double ratio(BigInteger a, BigInteger b) {
        return new BigDecimal(a).divide(new BigDecimal(b), MathContext.DECIMAL64).doubleValue();
    }

    private static BigInteger binomial(int n, int k) {
        if (k > n) {
            return BigInteger.ZERO;
        }
        BigInteger c = BigInteger.ONE;
        for (int i = 1; i <= k; i++) {
            c = c.multiply(BigInteger.valueOf(n - k + i)).divide(BigInteger.valueOf(i));
        }
        return c;
    }

    /**
     * Draws.
     *
     * @param tokens how many
     * @param seed the same seed draws the same
     * @return experts in the order in which they were drawn, each with weight {@code 1 / topK}; close it to free the
     *     memory
     */
    public Routing sample(int tokens, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        int each = experts / nodes;
        int[] nodeOrder = identity(nodes);
        int[] expertOrder = identity(kept * each);
        Routing routing = Routing.allocate(tokens, topK);
        MemorySegment chosen = routing.experts().segment();
        for (long t = 0; t < tokens; t++) {
            drawFirst(nodeOrder, kept, random);
            drawFirst(expertOrder, topK, random);
            for (int i = 0; i < topK; i++) {
                int expert = nodeOrder[expertOrder[i] / each] * each + expertOrder[i] % each;
                chosen.setAtIndex(ValueLayout.JAVA_INT_UNALIGNED, t * topK + i, expert);
            }
        }
        MemorySegment weights = routing.weights().segment();
        for (long i = 0; i < (long) tokens * topK; i++) {
            weights.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i, 1f / topK);
        }
        return routing;
    }

    private static int[] identity(int n) {
        int[] order = new int[n];
        for (int i = 0; i < n; i++) {
            order[i] = i;
        }
        return order;
    }

    /** The first steps of a Fisher-Yates shuffle; any order is as good as another to start from. */
    private static void drawFirst(int[] order, int count, SplittableRandom random) {
        for (int i = 0; i < count; i++) {
            int j = random.nextInt(i, order.length);
            int swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
    }
}
