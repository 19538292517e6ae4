package dev.octet.mla.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.mla.AttentionOptions;
import dev.octet.mla.Ragged;
import dev.octet.mla.spi.PagedLatents;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;

/** Decode, prefill and merge, for both sets of kernels. */
final class CpuAttention {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;

    private final AttentionKernels kernels;

    CpuAttention(AttentionKernels kernels) {
        this.kernels = kernels;
    }

    /** See {@link dev.octet.mla.spi.MlaBackend#decode}. */
    void decode(Tensor query, PagedLatents keys, int[] queries, AttentionOptions options, Tensor out,
            @Nullable Tensor lse, Execution execution) {
        if (query.dim(0) == 0 || query.dim(1) == 0) {
            return;
        }
        AttentionInput in = new CachedKeys(kernels, keys, queries, Math.toIntExact(query.dim(1)));
        new FlashAttention(kernels, in, new AttentionRows(query), options, new AttentionOutput(kernels, out, lse))
                .run(execution.pool());
        Reference.reachabilityFence(query);
        Reference.reachabilityFence(keys);
        Reference.reachabilityFence(out);
        Reference.reachabilityFence(lse);
    }

    /** See {@link dev.octet.mla.spi.MlaBackend#prefill}. */
    void prefill(Tensor query, Tensor keys, @Nullable Tensor ropeKeys, Tensor values, Ragged lengths,
            AttentionOptions options, Tensor out, @Nullable Tensor lse, Execution execution) {
        if (query.dim(0) == 0 || query.dim(1) == 0) {
            return;
        }
        AttentionInput in = new TensorKeys(kernels, keys, ropeKeys, values, lengths);
        new FlashAttention(kernels, in, new AttentionRows(query), options, new AttentionOutput(kernels, out, lse))
                .run(execution.pool());
        Reference.reachabilityFence(query);
        Reference.reachabilityFence(keys);
        Reference.reachabilityFence(ropeKeys);
        Reference.reachabilityFence(values);
        Reference.reachabilityFence(out);
        Reference.reachabilityFence(lse);
    }

    /** See {@link dev.octet.mla.spi.MlaBackend#merge}. */
    void merge(Tensor outA, Tensor lseA, Tensor outB, Tensor lseB, Tensor out, Tensor lse, Execution execution) {
        int heads = Math.toIntExact(outA.dim(1));
        int dims = Math.toIntExact(outA.dim(2));
        if (outA.dim(0) == 0 || heads == 0) {
            return;
        }
        AttentionRows a = new AttentionRows(outA);
        AttentionRows b = new AttentionRows(outB);
        AttentionOutput to = new AttentionOutput(kernels, out, lse);
        execution.pool().run(Math.toIntExact(outA.dim(0)), token -> {
            AttentionWorkspace work = AttentionWorkspace.mine();
            float[] rowA = work.get(AttentionWorkspace.Floats.ROW, dims);
            float[] rowB = work.get(AttentionWorkspace.Floats.OTHER_ROW, dims);
            for (int head = 0; head < heads; head++) {
                a.load(kernels, token, head, dims, rowA, 0);
                b.load(kernels, token, head, dims, rowB, 0);
                merge(rowA, lse(lseA, token, head), rowB, lse(lseB, token, head), dims, to, token, head);
            }
        });
        Reference.reachabilityFence(outA);
        Reference.reachabilityFence(lseA);
        Reference.reachabilityFence(outB);
        Reference.reachabilityFence(lseB);
        Reference.reachabilityFence(out);
        Reference.reachabilityFence(lse);
    }

    private static float lse(Tensor lse, int token, int head) {
        return ALL.get(F32, lse.address() + 4 * (token * lse.stride(0) + head * lse.stride(1)));
    }

    private static void merge(float[] a, float lseA, float[] b, float lseB, int dims, AttentionOutput to, int token,
            int head) {
        if (lseB == Float.POSITIVE_INFINITY) {
            if (lseA == Float.POSITIVE_INFINITY) {
                to.writeNothing(token, head, a);
            } else {
                to.write(token, head, a, lseA);
            }
            return;
        }
        if (lseA == Float.POSITIVE_INFINITY) {
            to.write(token, head, b, lseB);
            return;
        }
        double max = Math.max(lseA, lseB);
        // Two sets whose scores are all -Infinity have no weights: NaN, as such a set has by itself.
        double weightA = Math.exp(lseA - max);
        double weightB = Math.exp(lseB - max);
        double sum = weightA + weightB;
        float shareA = (float) (weightA / sum);
        float shareB = (float) (weightB / sum);
        for (int d = 0; d < dims; d++) {
            a[d] = shareA * a[d] + shareB * b[d];
        }
        to.write(token, head, a, max == Double.NEGATIVE_INFINITY ? max : max + Math.log(sum));
    }
}
