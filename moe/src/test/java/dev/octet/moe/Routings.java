package dev.octet.moe;

import java.lang.foreign.ValueLayout;

/** Routings by hand. */
public final class Routings {
    private Routings() {}

    /** {@return a routing of these experts, weights 1, 2, 3 and so on in row-major order} */
    public static Routing of(int[][] experts) {
        int k = experts[0].length;
        Routing routing = Routing.allocate(experts.length, k);
        for (int i = 0; i < experts.length * k; i++) {
            routing.experts().segment().setAtIndex(ValueLayout.JAVA_INT, i, experts[i / k][i % k]);
            routing.weights().segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, i + 1);
        }
        return routing;
    }
}
