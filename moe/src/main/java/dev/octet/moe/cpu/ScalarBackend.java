package dev.octet.moe.cpu;

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

/** Backend {@code scalar}: plain Java, for JVMs without the Vector API. */
public final class ScalarBackend extends CpuBackend implements MoeBackend {
    /** For the service loader. */
    public ScalarBackend() {
        super(Way.SCALAR);
    }

    @Override
    public void routerLogits(Tensor hidden, Tensor weight, Tensor out, Execution execution) {
        Router.multiply(ScalarRouterKernels.KERNELS, hidden, weight, out, execution.pool());
    }

    @Override
    public void gate(Tensor logits, @Nullable Tensor bias, GateConfig config, GateOptions options, Routing out,
            Execution execution) {
        Gate.run(ScalarGateKernels.KERNELS, logits, bias, config, options, out, execution.pool());
    }

    @Override
    public void replay(Tensor logits, Tensor experts, GateConfig config, Routing out, Execution execution) {
        Replay.run(logits, experts, config, out, execution.pool());
    }

    @Override
    public void expand(TokenPermutation permutation, Tensor tokens, @Nullable Tensor weights, Tensor out,
            Execution execution) {
        Permutation.expand(permutation, tokens, weights, out, ScalarRowKernels.KERNELS, execution.pool());
    }

    @Override
    public void expand(TokenPermutation permutation, ScaledTensor tokens, ScaledTensor out, Execution execution) {
        Permutation.expand(permutation, tokens, out, ScalarRowKernels.KERNELS, execution.pool());
    }

    @Override
    public void reduce(TokenPermutation permutation, Tensor rows, @Nullable Tensor weights, Tensor out,
            Execution execution) {
        Permutation.reduce(permutation, rows, weights, out, ScalarRowKernels.KERNELS, execution.pool());
    }

    @Override
    public void weightGradients(TokenPermutation permutation, Tensor rows, Tensor gradient, Tensor out,
            Execution execution) {
        Permutation.weightGradients(permutation, rows, gradient, out, ScalarRowKernels.KERNELS, execution.pool());
    }

    @Override
    public void swiglu(Tensor gateUp, @Nullable Tensor weights, ScaledTensor out, Execution execution) {
        Swiglu.run(ScalarSwigluKernels.KERNELS, gateUp, weights, out, execution.pool());
    }
}
