package dev.octet.fp8.reference;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaledTensor;

/**
 * A GEMM that adds up like Hopper's tensor cores ({@link HopperAccumulator}) and, every {@code promotion} elements of
 * K, hands what the register holds over to FP32, as DeepSeek-V3 &sect;3.3.2 proposes with {@code N_C} = 128. It shows
 * what that promotion buys; it is no way to compute.
 */
public final class HopperGemm {
    /** Never promote: one register for the whole of K. */
    public static final int NEVER = Integer.MAX_VALUE;

    private HopperGemm() {}

    /**
     * Multiplies.
     *
     * @param a {@code [M, K]}
     * @param b {@code [N, K]}
     * @param accumulator the tensor core
     * @param promotion elements of K after which the register is scaled, added to an FP32 sum and cleared: a multiple
     *     of the accumulator's group, or {@link #NEVER}. Scales that change along K ask for a divisor of 128
     * @param pool the threads
     * @return F32 {@code [M, N]}, which owns its memory
     * @throws IllegalArgumentException if K differs or {@code promotion} does not fit
     */
    public static Tensor gemm(ScaledTensor a, ScaledTensor b, HopperAccumulator accumulator, int promotion,
            CpuPool pool) {
        if (a.columns() != b.columns()) {
            throw new IllegalArgumentException("a is " + a.codes().shape() + " and b " + b.codes().shape()
                    + "; their columns (K) must be equal");
        }
        if (promotion != NEVER && (promotion < 1 || promotion % accumulator.group() != 0)) {
            throw new IllegalArgumentException("promotion is " + promotion + ", it must be a multiple of the group, "
                    + accumulator.group() + ", or NEVER");
        }
        boolean blocked = a.scaling().granularity().blockColumns() != Long.MAX_VALUE
                || b.scaling().granularity().blockColumns() != Long.MAX_VALUE;
        if (blocked && Granularity.BLOCK % promotion != 0) {
            throw new IllegalArgumentException("promotion is " + promotion + ", but scales change every "
                    + Granularity.BLOCK + " elements of K: it must divide " + Granularity.BLOCK);
        }
        int depth = Math.toIntExact(a.columns());
        Tensor d = Tensor.allocate(DType.F32, Shape.of(a.rows(), b.rows()));
        HostMatrix out = new HostMatrix(d);
        QuantizedMatrix qa = new QuantizedMatrix(a);
        QuantizedMatrix qb = new QuantizedMatrix(b);
        boolean shared = BlockSums.isShared(a.codes()) && BlockSums.isShared(a.scales())
                && BlockSums.isShared(b.codes()) && BlockSums.isShared(b.scales());
        (shared ? pool : BlockSums.ALONE).run(Math.toIntExact(a.rows()), m -> {
            double[] row = codes(qa, m, depth);
            for (long n = 0; n < b.rows(); n++) {
                double[] column = codes(qb, n, depth);
                float sum = 0;
                for (int k = 0; k < depth; ) {
                    int end = (int) Math.min(depth, (long) k + promotion);
                    double register = 0;
                    float scale = qa.scale(m, k) * qb.scale(n, k);
                    for (; k < end; k += accumulator.group()) {
                        register = accumulator.step(register, row, column, k, Math.min(end, k + accumulator.group()));
                    }
                    k = end;
                    sum += scale * (float) register;
                }
                out.set(m, n, sum);
            }
        });
        return d;
    }

    private static double[] codes(QuantizedMatrix x, long row, int depth) {
        double[] values = new double[depth];
        for (int k = 0; k < depth; k++) {
            values[k] = x.code(row, k);
        }
        return values;
    }
}
