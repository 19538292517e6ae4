package dev.octet.moe.placement;

import java.util.Arrays;

/** The two greedy steps that a placement is made of. */
final class Packing {
    private Packing() {}

    /**
     * Puts equally many items into each pack: the heaviest first, each into the lightest pack that has room; of equal
     * items and packs the lower index. Items that are as many as the packs stay in their order.
     *
     * @param weights of the items
     * @param packs how many, which divide the items
     * @return for each place its item: the places of the first pack, in the order in which they were filled, then those
     *     of the second
     */
    static int[] balanced(double[] weights, int packs) {
        int items = weights.length;
        int room = items / packs;
        int[] placed = new int[items];
        if (room == 1) {
            Arrays.setAll(placed, i -> i);
            return placed;
        }
        int[] order = descending(weights);
        double[] sums = new double[packs];
        int[] filled = new int[packs];
        for (int item : order) {
            int best = -1;
            for (int p = 0; p < packs; p++) {
                if (filled[p] < room && (best < 0 || sums[p] < sums[best])) {
                    best = p;
                }
            }
            placed[best * room + filled[best]++] = item;
            sums[best] += weights[item];
        }
        return placed;
    }

    private static int[] descending(double[] weights) {
        Integer[] order = new Integer[weights.length];
        Arrays.setAll(order, i -> i);
        Arrays.sort(order, (a, b) -> Double.compare(weights[b], weights[a])); // stable
        int[] out = new int[order.length];
        Arrays.setAll(out, i -> order[i]);
        return out;
    }

    /**
     * Gives every item one replica, then each further replica to the item with the largest load a replica; of equal
     * ones the lower index.
     *
     * @param weights of the items
     * @param replicas how many in all, at least the items
     * @return for each replica its item
     */
    static int[] replicate(double[] weights, int replicas) {
        int[] item = new int[replicas];
        int[] count = new int[weights.length];
        for (int r = 0; r < replicas; r++) {
            int next = r;
            if (r >= weights.length) {
                next = 0;
                for (int i = 1; i < weights.length; i++) {
                    if (weights[i] / count[i] > weights[next] / count[next]) {
                        next = i;
                    }
                }
            }
            item[r] = next;
            count[next]++;
        }
        return item;
    }

    static int[] counts(int[] itemOfReplica, int items) {
        int[] count = new int[items];
        for (int i : itemOfReplica) {
            count[i]++;
        }
        return count;
    }
}
