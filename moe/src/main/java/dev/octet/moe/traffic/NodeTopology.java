package dev.octet.moe.traffic;

import java.util.Arrays;
import java.util.Objects;

/**
 * On which GPU of which node each expert lies. GPUs count through all nodes: GPU {@code g} is number
 * {@code g % gpusPerNode} of node {@code g / gpusPerNode}. Immutable.
 */
public final class NodeTopology {
    private final int nodes;
    private final int gpusPerNode;
    private final int[] gpuOfExpert;

    private NodeTopology(int nodes, int gpusPerNode, int[] gpuOfExpert) {
        this.nodes = nodes;
        this.gpusPerNode = gpusPerNode;
        this.gpuOfExpert = gpuOfExpert;
    }

    /**
     * Consecutive experts share a GPU, consecutive GPUs a node.
     *
     * @param experts how many
     * @param nodes how many
     * @param gpusPerNode GPUs of each node
     * @return the topology
     * @throws IllegalArgumentException if a number is not positive, or the GPUs do not divide the experts
     */
    public static NodeTopology contiguous(int experts, int nodes, int gpusPerNode) {
        long gpus = gpus(nodes, gpusPerNode);
        if (experts < 1 || experts % gpus != 0) {
            throw new IllegalArgumentException("experts is " + experts + ", it must be a multiple of the " + gpus
                    + " GPUs: " + nodes + " nodes of " + gpusPerNode);
        }
        int each = (int) (experts / gpus);
        int[] map = new int[experts];
        Arrays.setAll(map, e -> e / each);
        return new NodeTopology(nodes, gpusPerNode, map);
    }

    /**
     * Any mapping.
     *
     * @param nodes how many
     * @param gpusPerNode GPUs of each node
     * @param gpuOfExpert for each expert its GPU; copied
     * @return the topology
     * @throws IllegalArgumentException if a number is not positive, there is no expert, or one lies on a GPU that is
     *     not there; the message names it
     */
    public static NodeTopology of(int nodes, int gpusPerNode, int... gpuOfExpert) {
        long gpus = gpus(nodes, gpusPerNode);
        if (gpuOfExpert.length == 0) {
            throw new IllegalArgumentException("gpuOfExpert is empty, there must be an expert");
        }
        int[] map = gpuOfExpert.clone();
        for (int e = 0; e < map.length; e++) {
            if (map[e] < 0 || map[e] >= gpus) {
                throw new IllegalArgumentException(
                        "gpuOfExpert[" + e + "] is " + map[e] + ", there are " + gpus + " GPUs");
            }
        }
        return new NodeTopology(nodes, gpusPerNode, map);
    }

    private static int gpus(int nodes, int gpusPerNode) {
        if (nodes < 1) {
            throw new IllegalArgumentException("nodes is " + nodes + ", it must be at least 1");
        }
        if (gpusPerNode < 1) {
            throw new IllegalArgumentException("gpusPerNode is " + gpusPerNode + ", it must be at least 1");
        }
        if ((long) nodes * gpusPerNode > Integer.MAX_VALUE) {
            throw new IllegalArgumentException("nodes is " + nodes + " and gpusPerNode is " + gpusPerNode
                    + ", together they can have at most " + Integer.MAX_VALUE + " GPUs");
        }
        return nodes * gpusPerNode;
    }

    /** {@return how many experts} */
    public int experts() {
        return gpuOfExpert.length;
    }

    /** {@return how many nodes} */
    public int nodes() {
        return nodes;
    }

    /** {@return GPUs of each node} */
    public int gpusPerNode() {
        return gpusPerNode;
    }

    /** {@return GPUs of all nodes} */
    public int gpus() {
        return nodes * gpusPerNode;
    }

    /**
     * {@return the GPU of an expert, from 0 through all nodes}
     *
     * @param expert which
     */
    public int gpu(int expert) {
        return gpuOfExpert[Objects.checkIndex(expert, gpuOfExpert.length)];
    }

    /**
     * {@return the node of an expert}
     *
     * @param expert which
     */
    public int node(int expert) {
        return gpu(expert) / gpusPerNode;
    }

    /** {@return for example {@code 256 experts on 8 nodes of 8 GPUs}} */
    @Override
    public String toString() {
        return gpuOfExpert.length + " experts on " + nodes + " nodes of " + gpusPerNode + " GPUs";
    }
}
