package dev.octet.benchmarks.probe;

import dev.octet.core.cpu.CpuPool;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * FP32 fused multiply-adds on registers alone: the peak that no FP32 GEMM on these cores can exceed.
 */
public final class FmaProbe {
    private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
    /** Two pipes of four cycles latency need eight chains; twelve leave room and still fit sixteen registers. */
    private static final int CHAINS = 12;
    /** Multiply-adds of a chain, all lanes together: as many on every machine, or results could be read on none but their own. */
    private static final int PRODUCTS = 1 << 26;
    private static final int STEPS = PRODUCTS / SPECIES.length();

    private final CpuPool pool;
    private final float[] sink;

    /**
     * Makes a probe.
     *
     * @param pool the threads; each of them runs the same loop
     */
    public FmaProbe(CpuPool pool) {
        this.pool = pool;
        sink = new float[pool.threads() * 32];
    }

    /**
     * {@return floating-point operations of one {@link #run()}, on any machine: a multiply-add counts as two}
     *
     * @param threads the size of the pool
     */
    public static double flops(int threads) {
        return 2.0 * CHAINS * PRODUCTS * threads;
    }

    /** Runs the loop once on each thread. */
    public void run() {
        pool.run(pool.threads(), this::task);
    }

    private void task(int index) {
        sink[index * 32] = chains(STEPS, 0.999f + sink[index * 32] * 0x1p-60f, 1e-3f);
    }

    /** {@return something that depends on everything computed, so that nothing is optimised away} */
    public float result() {
        return sink[0];
    }

    // One method with named accumulators: a vector that crossed a method boundary would be boxed. The sum is what is added to,
    // as in a product: the instruction overwrites it, and anything else would take a copy each time.
    private static float chains(int steps, float factor, float addend) {
        FloatVector f = FloatVector.broadcast(SPECIES, factor);
        FloatVector a = FloatVector.broadcast(SPECIES, addend);
        FloatVector c0 = a;
        FloatVector c1 = a.add(1f);
        FloatVector c2 = a.add(2f);
        FloatVector c3 = a.add(3f);
        FloatVector c4 = a.add(4f);
        FloatVector c5 = a.add(5f);
        FloatVector c6 = a.add(6f);
        FloatVector c7 = a.add(7f);
        FloatVector c8 = a.add(8f);
        FloatVector c9 = a.add(9f);
        FloatVector c10 = a.add(10f);
        FloatVector c11 = a.add(11f);
        for (int i = 0; i < steps; i++) {
            c0 = f.fma(a, c0);
            c1 = f.fma(a, c1);
            c2 = f.fma(a, c2);
            c3 = f.fma(a, c3);
            c4 = f.fma(a, c4);
            c5 = f.fma(a, c5);
            c6 = f.fma(a, c6);
            c7 = f.fma(a, c7);
            c8 = f.fma(a, c8);
            c9 = f.fma(a, c9);
            c10 = f.fma(a, c10);
            c11 = f.fma(a, c11);
        }
        return c0.add(c1).add(c2).add(c3).add(c4).add(c5).add(c6).add(c7).add(c8).add(c9).add(c10).add(c11)
                .reduceLanes(VectorOperators.ADD);
    }
}
