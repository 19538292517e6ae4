package dev.octet.moe;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Where tokens go: of each token the chosen experts, the better one first, and the weight of each.
 *
 * @param experts I32 {@code [tokens, topK]}; -1 in all places of a token that goes nowhere, such as padding
 * @param weights F32 {@code [tokens, topK]}; 0 where the expert is -1
 */
public record Routing(Tensor experts, Tensor weights) implements AutoCloseable {
    /**
     * Checks dtypes and shapes, not values.
     *
     * @throws IllegalArgumentException if one does not fit; the message names it
     */
    public Routing {
        if (experts.dtype() != DType.I32 || experts.shape().rank() != 2) {
            throw new IllegalArgumentException("experts is " + experts + ", it must be an I32 matrix [tokens, topK]");
        }
        if (weights.dtype() != DType.F32 || !weights.shape().equals(experts.shape())) {
            throw new IllegalArgumentException("weights is " + weights + ", it must be F32 " + experts.shape());
        }
        if (!weights.device().equals(experts.device())) {
            throw new IllegalArgumentException(
                    "weights is on " + weights.device() + ", it must be on " + experts.device());
        }
    }

    /**
     * Allocates a routing that owns its memory.
     *
     * @param tokens how many tokens
     * @param topK experts of each
     * @return all zeros; close it to free the memory
     */
    public static Routing allocate(long tokens, int topK) {
        Tensor experts = Tensor.allocate(DType.I32, Shape.of(tokens, topK));
        try {
            return new Routing(experts, Tensor.allocate(DType.F32, Shape.of(tokens, topK)));
        } catch (RuntimeException | Error e) {
            experts.close();
            throw e;
        }
    }

    /** {@return how many tokens} */
    public long tokens() {
        return experts.dim(0);
    }

    /** {@return how many experts a token goes to} */
    public int topK() {
        return Math.toIntExact(experts.dim(1));
    }

    /**
     * Copies the experts out in row-major order, checked.
     *
     * @param limit how many experts there are
     * @return a new array of {@code tokens * topK}
     * @throws IllegalArgumentException if one is not -1 to {@code limit - 1}, the message names its token; if there are
     *     more than 2^31-1; or if the tensors are not on the CPU
     */
    public int[] expertsToArray(int limit) {
        requireCpu();
        if (experts.shape().elements() > Integer.MAX_VALUE - 8) {
            throw new IllegalArgumentException("experts is " + experts + ", too many for an array");
        }
        int[] out = new int[(int) experts.shape().elements()];
        copyExperts(limit, out);
        return out;
    }

    /** The same into an array of that many. */
    void copyExperts(int limit, int[] out) {
        requireCpu();
        MemorySegment ids = experts.segment();
        int k = topK();
        for (int i = 0; i < out.length; i++) {
            long at = i / k * experts.stride(0) + i % k * experts.stride(1);
            int expert = ids.getAtIndex(ValueLayout.JAVA_INT_UNALIGNED, at);
            if (expert < -1 || expert >= limit) {
                throw new IllegalArgumentException("experts[" + i / k + ", " + i % k + "] is " + expert
                        + ", there are " + limit + " experts; -1 stands for none");
            }
            out[i] = expert;
        }
    }

    private void requireCpu() {
        if (!experts.device().equals(Device.CPU)) {
            throw new IllegalArgumentException("experts is on " + experts.device() + ", it must be on the CPU");
        }
    }

    @Override
    public void close() {
        experts.close();
        weights.close();
    }
}
