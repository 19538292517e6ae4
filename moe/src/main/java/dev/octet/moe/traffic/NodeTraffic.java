package dev.octet.moe.traffic;

import dev.octet.moe.Routing;
import java.util.Arrays;
import java.util.BitSet;

/**
 * What a routing moves between GPUs (DeepSeek-V3 &sect;3.2.2). A token goes once to each other node that has an expert
 * of it, to the GPU with the same number there as its own, and from there, inside the node, once to each other GPU that
 * has one; in its own node it goes straight to those GPUs. Combining takes the same ways back, sums of what was
 * computed on the way, so that the counts hold in both directions and only the bytes of a token differ.
 *
 * @param tokens tokens that go anywhere; padding is none
 * @param choices pairs of a token and an expert
 * @param nodeVisits pairs of a token and a node that has an expert of it, its own node included
 * @param gpuVisits pairs of a token and a GPU that has an expert of it, its own included
 * @param acrossNodes copies of a token that cross from a node to another
 * @param insideNodes copies of a token that go from a GPU to another of the same node
 * @param choicesAcross pairs of a token and an expert on another node: what would cross if nothing were sent jointly
 * @param tokensByNodes how many tokens have experts on {@code i} nodes, for {@code i} from 0 to all nodes
 */
public record NodeTraffic(long tokens, long choices, long nodeVisits, long gpuVisits, long acrossNodes,
        long insideNodes, long choicesAcross, long[] tokensByNodes) {
    /** Copies the array. */
    public NodeTraffic {
        tokensByNodes = tokensByNodes.clone();
    }

    /**
     * Counts, the tokens spread over all GPUs in equal parts: token {@code t} of {@code T} is on GPU
     * {@code floor(t * gpus / T)}.
     *
     * @param routing where tokens go, on the CPU; -1 is no expert
     * @param topology where experts are
     * @return the counts
     * @throws IllegalArgumentException if the routing has an expert that the topology has not; the message names the
     *     token
     */
    public static NodeTraffic of(Routing routing, NodeTopology topology) {
        long tokens = routing.tokens();
        int[] source = new int[Math.toIntExact(tokens)];
        Arrays.setAll(source, t -> (int) ((long) t * topology.gpus() / tokens));
        return of(routing, topology, source);
    }

    /**
     * Counts.
     *
     * @param routing where tokens go, on the CPU; -1 is no expert
     * @param topology where experts are
     * @param sourceGpus for each token the GPU that it is on
     * @return the counts
     * @throws IllegalArgumentException if the routing has an expert, or {@code sourceGpus} a GPU, that the topology has
     *     not, or {@code sourceGpus} has not one for each token; the message names the token
     */
    public static NodeTraffic of(Routing routing, NodeTopology topology, int[] sourceGpus) {
        int[] experts = routing.expertsToArray(topology.experts());
        int tokens = Math.toIntExact(routing.tokens());
        if (sourceGpus.length != tokens) {
            throw new IllegalArgumentException(
                    "sourceGpus has " + sourceGpus.length + " elements, the routing has " + tokens + " tokens");
        }
        Counter counter = new Counter(topology);
        int k = routing.topK();
        for (int t = 0; t < tokens; t++) {
            if (sourceGpus[t] < 0 || sourceGpus[t] >= topology.gpus()) {
                throw new IllegalArgumentException("sourceGpus[" + t + "] is " + sourceGpus[t] + ", there are "
                        + topology.gpus() + " GPUs");
            }
            counter.token(experts, t * k, k, sourceGpus[t]);
        }
        return counter.traffic();
    }

    /** Adds token by token. */
    private static final class Counter {
        private final NodeTopology topology;
        private final BitSet gpus;
        private final BitSet nodes;
        private final long[] byNodes;
        private long tokens;
        private long choices;
        private long gpuVisits;
        private long across;
        private long inside;
        private long choicesAcross;

        Counter(NodeTopology topology) {
            this.topology = topology;
            this.gpus = new BitSet(topology.gpus());
            this.nodes = new BitSet(topology.nodes());
            this.byNodes = new long[topology.nodes() + 1];
        }

        void token(int[] experts, int from, int k, int source) {
            int each = topology.gpusPerNode();
            int home = source / each;
            gpus.clear();
            nodes.clear();
            for (int i = from; i < from + k; i++) {
                if (experts[i] >= 0) {
                    int gpu = topology.gpu(experts[i]);
                    gpus.set(gpu);
                    nodes.set(gpu / each);
                    choices++;
                    choicesAcross += gpu / each == home ? 0 : 1;
                }
            }
            if (nodes.isEmpty()) {
                return;
            }
            tokens++;
            byNodes[nodes.cardinality()]++;
            gpuVisits += gpus.cardinality();
            across += nodes.cardinality() - (nodes.get(home) ? 1 : 0);
            for (int g = gpus.nextSetBit(0); g >= 0; g = gpus.nextSetBit(g + 1)) {
                inside += g % each == source % each ? 0 : 1; // the others got it from their node's entry
            }
        }

        NodeTraffic traffic() {
            long visits = 0;
            for (int i = 0; i < byNodes.length; i++) {
                visits += i * byNodes[i];
            }
            return new NodeTraffic(tokens, choices, visits, gpuVisits, across, inside, choicesAcross, byNodes);
        }
    }

    /** {@return nodes that have experts of a token, on average; 0 without tokens} */
    public double meanNodes() {
        return tokens == 0 ? 0 : (double) nodeVisits / tokens;
    }

    /** {@return the most nodes that have experts of one token} */
    public int maxNodes() {
        int max = tokensByNodes.length - 1;
        while (max > 0 && tokensByNodes[max] == 0) {
            max--;
        }
        return max;
    }

    /**
     * {@return bytes that cross nodes in one direction}
     *
     * @param format how a token travels
     * @param hidden its values
     */
    public long bytesAcross(WireFormat format, int hidden) {
        return Math.multiplyExact(acrossNodes, format.bytes(hidden));
    }

    /**
     * {@return bytes that stay inside nodes in one direction}
     *
     * @param format how a token travels
     * @param hidden its values
     */
    public long bytesInside(WireFormat format, int hidden) {
        return Math.multiplyExact(insideNodes, format.bytes(hidden));
    }

    /** {@return a copy} */
    @Override
    public long[] tokensByNodes() {
        return tokensByNodes.clone();
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof NodeTraffic n && tokens == n.tokens && choices == n.choices
                && nodeVisits == n.nodeVisits && gpuVisits == n.gpuVisits && acrossNodes == n.acrossNodes
                && insideNodes == n.insideNodes && choicesAcross == n.choicesAcross
                && Arrays.equals(tokensByNodes, n.tokensByNodes);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(new long[] {tokens, choices, acrossNodes, insideNodes, Arrays.hashCode(tokensByNodes)});
    }
}
