package dev.octet.moe.spi;

import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.core.spi.Backend;
import dev.octet.fp8.ScaledTensor;
import dev.octet.moe.GateConfig;
import dev.octet.moe.GateOptions;
import dev.octet.moe.Routing;
import dev.octet.moe.TokenPermutation;
import org.jspecify.annotations.Nullable;

/**
 * One implementation of the operations on experts; {@link dev.octet.moe.Moe} defines them and checks arguments before
 * it calls a backend: shapes, dtypes and devices fit, every tensor is open, masks fit the configuration. What depends
 * on the values in tensors a backend checks itself, before it writes anything; {@link GateErrors} has the messages.
 * Any number of tokens may be 0. Tensors may have any strides.
 *
 * <p>Implementations are safe for use by several threads, and give the same bits for every pool.
 */
public interface MoeBackend extends Backend {
    /** The router's product; see {@link dev.octet.moe.Moe#routerLogits}. */
    void routerLogits(Tensor hidden, Tensor weight, Tensor out, Execution execution);

    /** Chooses experts; see {@link dev.octet.moe.Moe#gate}. */
    void gate(Tensor logits, @Nullable Tensor bias, GateConfig config, GateOptions options, Routing out,
            Execution execution);

    /** Weights of given experts; see {@link dev.octet.moe.Moe#replay}. */
    void replay(Tensor logits, Tensor experts, GateConfig config, Routing out, Execution execution);

    /** Copies tokens to their positions; see {@link dev.octet.moe.Moe#expand(TokenPermutation, Tensor, Tensor)}. */
    void expand(TokenPermutation permutation, Tensor tokens, @Nullable Tensor weights, Tensor out,
            Execution execution);

    /** Copies quantised tokens to their positions; see {@link dev.octet.moe.Moe#expand}. */
    void expand(TokenPermutation permutation, ScaledTensor tokens, ScaledTensor out, Execution execution);

    /** Adds up what stands at a token's positions; see {@link dev.octet.moe.Moe#reduce}. */
    void reduce(TokenPermutation permutation, Tensor rows, @Nullable Tensor weights, Tensor out, Execution execution);

    /** Gradients of the weights; see {@link dev.octet.moe.Moe#weightGradients}. */
    void weightGradients(TokenPermutation permutation, Tensor rows, Tensor gradient, Tensor out, Execution execution);

    /** SwiGLU, quantised; see {@link dev.octet.moe.Moe#swiglu}. Columns have unit stride. */
    void swiglu(Tensor gateUp, @Nullable Tensor weights, ScaledTensor out, Execution execution);
}
