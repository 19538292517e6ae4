package dev.octet.moe.reference;

import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.core.spi.CpuBackend;
import dev.octet.fp8.ScaledTensor;
import dev.octet.moe.GateConfig;
import dev.octet.moe.GateOptions;
import dev.octet.moe.Routing;
import dev.octet.moe.TokenPermutation;
import dev.octet.moe.spi.MoeBackend;
import org.jspecify.annotations.Nullable;

/** Backend {@code reference}: plain loops in FP64, one rounding at the end. */
public final class ReferenceBackend extends CpuBackend implements MoeBackend {
    /** For the service loader. */
    public ReferenceBackend() {
        super(Way.REFERENCE);
    }

    @Override
    public void routerLogits(Tensor hidden, Tensor weight, Tensor out, Execution execution) {
        ReferenceGate.routerLogits(hidden, weight, out);
    }

    @Override
    public void gate(Tensor logits, @Nullable Tensor bias, GateConfig config, GateOptions options, Routing out,
            Execution execution) {
        ReferenceGate.gate(logits, bias, config, options, out);
    }

    @Override
    public void replay(Tensor logits, Tensor experts, GateConfig config, Routing out, Execution execution) {
        ReferenceGate.replay(logits, experts, config, out);
    }

    @Override
    public void expand(TokenPermutation permutation, Tensor tokens, @Nullable Tensor weights, Tensor out,
            Execution execution) {
        ReferencePermutation.expand(permutation, tokens, weights, out);
    }

    @Override
    public void expand(TokenPermutation permutation, ScaledTensor tokens, ScaledTensor out, Execution execution) {
        ReferencePermutation.expand(permutation, tokens, out);
    }

    @Override
    public void reduce(TokenPermutation permutation, Tensor rows, @Nullable Tensor weights, Tensor out,
            Execution execution) {
        ReferencePermutation.reduce(permutation, rows, weights, out);
    }

    @Override
    public void weightGradients(TokenPermutation permutation, Tensor rows, Tensor gradient, Tensor out,
            Execution execution) {
        ReferencePermutation.weightGradients(permutation, rows, gradient, out);
    }

    @Override
    public void swiglu(Tensor gateUp, @Nullable Tensor weights, ScaledTensor out, Execution execution) {
        ReferenceExperts.swiglu(gateUp, weights, out);
    }
}
