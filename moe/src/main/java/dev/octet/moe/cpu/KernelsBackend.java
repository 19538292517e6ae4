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

/** All operations, by loops that leave the work on rows to kernels. This class itself loads without the Vector API. */
abstract class KernelsBackend extends CpuBackend implements MoeBackend {
    KernelsBackend(Way way) {
        super(way);
    }

    /** {@return the kernels of router logits} */
    abstract RouterKernels routerKernels();

    /** {@return the kernels of the gate} */
    abstract GateKernels gateKernels();

    /** {@return the kernels of the permutation} */
    abstract RowKernels rowKernels();

    /** {@return the kernels of SwiGLU} */
    abstract SwigluKernels swigluKernels();

    @Override
    public final void routerLogits(Tensor hidden, Tensor weight, Tensor out, Execution execution) {
        Router.multiply(routerKernels(), hidden, weight, out, execution.pool());
    }

    @Override
    public final void gate(Tensor logits, @Nullable Tensor bias, GateConfig config, GateOptions options, Routing out,
            Execution execution) {
        Gate.run(gateKernels(), logits, bias, config, options, out, execution.pool());
    }

    @Override
    public final void replay(Tensor logits, Tensor experts, GateConfig config, Routing out, Execution execution) {
        Replay.run(logits, experts, config, out, execution.pool());
    }

    @Override
    public final void expand(TokenPermutation permutation, Tensor tokens, @Nullable Tensor weights, Tensor out,
            Execution execution) {
        Permutation.expand(permutation, tokens, weights, out, rowKernels(), execution.pool());
    }

    @Override
    public final void expand(TokenPermutation permutation, ScaledTensor tokens, ScaledTensor out, Execution execution) {
        Permutation.expand(permutation, tokens, out, rowKernels(), execution.pool());
    }

    @Override
    public final void reduce(TokenPermutation permutation, Tensor rows, @Nullable Tensor weights, Tensor out,
            Execution execution) {
        Permutation.reduce(permutation, rows, weights, out, rowKernels(), execution.pool());
    }

    @Override
    public final void weightGradients(TokenPermutation permutation, Tensor rows, Tensor gradient, Tensor out,
            Execution execution) {
        Permutation.weightGradients(permutation, rows, gradient, out, rowKernels(), execution.pool());
    }

    @Override
    public final void swiglu(Tensor gateUp, @Nullable Tensor weights, ScaledTensor out, Execution execution) {
        Swiglu.run(swigluKernels(), gateUp, weights, out, execution.pool());
    }
}
