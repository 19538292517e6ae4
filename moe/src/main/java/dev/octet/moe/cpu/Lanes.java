package dev.octet.moe.cpu;

import dev.octet.core.cpu.CpuConfig;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/** The vector shapes of every kernel, fixed for the life of the JVM so that C2 sees constants. */
final class Lanes {
    private static final int BITS = Math.max(128, CpuConfig.vectorBits());

    static final VectorSpecies<Float> F = VectorSpecies.of(float.class, VectorShape.forBitSize(BITS));
    static final VectorSpecies<Integer> I = VectorSpecies.of(int.class, VectorShape.forBitSize(BITS));
    /** As many 16-bit lanes as {@link #F} has lanes. */
    static final VectorSpecies<Short> S = VectorSpecies.of(short.class, VectorShape.forBitSize(BITS / 2));
    /** Lanes of 32 bits in a vector: 4, 8 or 16. */
    static final int COUNT = F.length();

    private Lanes() {}
}
