package dev.octet.moe.placement;

import dev.octet.moe.traffic.NodeTopology;

/**
 * Where experts are placed. Every GPU holds {@code replicas / gpus} experts of a layer, one replica each; consecutive
 * replicas share a GPU, consecutive GPUs a node.
 *
 * @param experts routed experts of a layer
 * @param replicas physical experts of a layer: {@code experts} and the redundant ones
 * @param groups groups of consecutive experts, as of the gate; 1 if there are none
 * @param nodes how many nodes
 * @param gpus GPUs of all nodes together
 */
public record Cluster(int experts, int replicas, int groups, int nodes, int gpus) {
    /**
     * Checks that the numbers fit together.
     *
     * @throws IllegalArgumentException if one is not positive, there are fewer replicas than experts, the groups do not
     *     divide the experts, the nodes the GPUs, or the GPUs the replicas; the message names it
     */
    public Cluster {
        atLeastOne("experts", experts);
        atLeastOne("groups", groups);
        atLeastOne("nodes", nodes);
        atLeastOne("gpus", gpus);
        if (replicas < experts) {
            throw new IllegalArgumentException(
                    "replicas is " + replicas + ", it must be at least the " + experts + " experts");
        }
        divides("groups", groups, "experts", experts);
        divides("nodes", nodes, "gpus", gpus);
        divides("gpus", gpus, "replicas", replicas);
    }

    private static void atLeastOne(String name, int value) {
        if (value < 1) {
            throw new IllegalArgumentException(name + " is " + value + ", it must be at least 1");
        }
    }

    private static void divides(String name, int value, String other, int multiple) {
        if (multiple % value != 0) {
            throw new IllegalArgumentException(
                    name + " is " + value + ", it must divide the " + multiple + " " + other);
        }
    }

    /** {@return whether groups can be kept on a node each: the nodes divide them} */
    public boolean isHierarchical() {
        return groups % nodes == 0;
    }

    /** {@return experts that a GPU holds} */
    public int replicasPerGpu() {
        return replicas / gpus;
    }

    /** {@return GPUs of a node} */
    public int gpusPerNode() {
        return gpus / nodes;
    }

    /** {@return the replicas on their nodes and GPUs, the same for every layer} */
    public NodeTopology topology() {
        return NodeTopology.contiguous(replicas, nodes, gpusPerNode());
    }
}
