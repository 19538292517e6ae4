package dev.octet.moe.balance;

import dev.octet.core.DType;
import dev.octet.core.Tensor;

/**
 * The rule that keeps experts evenly loaded without a loss of its own (DeepSeek-V3 &sect;2.1.2): after each training
 * step the bias by which an expert is selected rises by gamma if it had fewer tokens than the mean, and falls by gamma
 * if it had more. It changes which experts are chosen and never their weights; there is no gradient.
 */
public final class SelectionBias {
    /** Gamma of DeepSeek-V3 for its first 14.3 trillion tokens; it was 0 for the last 500 billion. */
    public static final float GAMMA_V3 = 0.001f;

    private SelectionBias() {}

    /**
     * Updates in place: {@code bias[e] += gamma * sign(mean - load[e])}. The comparison with the mean is exact; an
     * expert with exactly the mean keeps its bias.
     *
     * @param bias one value for each expert
     * @param loads the step's loads, of the whole batch on all devices
     * @param gamma the step; 0 changes nothing
     * @throws IllegalArgumentException if the numbers of experts differ, or gamma is negative or not finite
     */
    public static void update(float[] bias, ExpertLoads loads, float gamma) {
        if (bias.length != loads.experts()) {
            throw new IllegalArgumentException(
                    "bias has " + bias.length + " values, the loads are of " + loads.experts() + " experts");
        }
        if (!(gamma >= 0) || gamma == Float.POSITIVE_INFINITY) {
            throw new IllegalArgumentException("gamma is " + gamma + ", it must be finite and not negative");
        }
        long floor = loads.total() / loads.experts();
        boolean fraction = loads.total() % loads.experts() != 0;
        for (int e = 0; e < bias.length; e++) {
            long load = loads.count(e);
            if (load > floor) {
                bias[e] -= gamma;
            } else if (load < floor || fraction) {
                bias[e] += gamma;
            }
        }
    }

    /**
     * Updates a tensor in place.
     *
     * @param bias F32 {@code [experts]}, on the CPU
     * @param loads the step's loads, of the whole batch on all devices
     * @param gamma the step; 0 changes nothing
     * @throws IllegalArgumentException if {@code bias} is no such vector, or gamma is negative or not finite
     */
    public static void update(Tensor bias, ExpertLoads loads, float gamma) {
        if (bias.dtype() != DType.F32 || bias.shape().rank() != 1) {
            throw new IllegalArgumentException("bias is " + bias + ", it must be an F32 vector [experts]");
        }
        float[] values = bias.toFloatArray();
        update(values, loads, gamma);
        bias.copyFrom(values);
    }
}
