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
    /**
     * The router's product; see {@link dev.octet.moe.Moe#routerLogits}.
     *
     * @param hidden {@code [tokens, d]} of F32 or BF16
     * @param weight {@code [experts, d]} of F32 or BF16
     * @param out {@code [tokens, experts]} of F32
     * @param execution what to run on
     */
    void routerLogits(Tensor hidden, Tensor weight, Tensor out, Execution execution);

    /**
     * Chooses experts; see {@link dev.octet.moe.Moe#gate}.
     *
     * @param logits {@code [tokens, experts]} of F32
     * @param bias {@code [experts]} of F32, or null
     * @param config how experts are chosen
     * @param options masks of experts and of tokens
     * @param out the experts and weights to write
     * @param execution what to run on
     */
    void gate(Tensor logits, @Nullable Tensor bias, GateConfig config, GateOptions options, Routing out,
            Execution execution);

    /**
     * Weights of given experts; see {@link dev.octet.moe.Moe#replay}.
     *
     * @param logits {@code [tokens, experts]} of F32
     * @param experts {@code [tokens, topK]} of I32
     * @param config how weights are made
     * @param out the experts and weights to write
     * @param execution what to run on
     */
    void replay(Tensor logits, Tensor experts, GateConfig config, Routing out, Execution execution);

    /**
     * Copies tokens to their positions; see {@link dev.octet.moe.Moe#expand(TokenPermutation, Tensor, Tensor)}.
     *
     * @param permutation where each token goes
     * @param tokens {@code [tokens, H]} of F32 or BF16
     * @param weights {@code [tokens, topK]} of F32 that each copy is multiplied by, or null
     * @param out {@code [positions, H]} of the same type
     * @param execution what to run on
     */
    void expand(TokenPermutation permutation, Tensor tokens, @Nullable Tensor weights, Tensor out,
            Execution execution);

    /**
     * Copies quantised tokens to their positions; see {@link dev.octet.moe.Moe#expand}.
     *
     * @param permutation where each token goes
     * @param tokens {@code [tokens, H]} with 1x128 or row scales
     * @param out {@code [positions, H]} with scales of the same kind
     * @param execution what to run on
     */
    void expand(TokenPermutation permutation, ScaledTensor tokens, ScaledTensor out, Execution execution);

    /**
     * Adds up what stands at a token's positions; see {@link dev.octet.moe.Moe#reduce}.
     *
     * @param permutation where each token goes
     * @param rows {@code [positions, H]} of F32 or BF16
     * @param weights {@code [tokens, topK]} of F32 that each is multiplied by, or null
     * @param out {@code [tokens, H]} of F32 or BF16
     * @param execution what to run on
     */
    void reduce(TokenPermutation permutation, Tensor rows, @Nullable Tensor weights, Tensor out, Execution execution);

    /**
     * Gradients of the weights; see {@link dev.octet.moe.Moe#weightGradients}.
     *
     * @param permutation where each token goes
     * @param rows {@code [positions, H]} of F32 or BF16, what was reduced
     * @param gradient {@code [tokens, H]} of F32 or BF16, that of the sums
     * @param out {@code [tokens, topK]} of F32
     * @param execution what to run on
     */
    void weightGradients(TokenPermutation permutation, Tensor rows, Tensor gradient, Tensor out, Execution execution);

    /**
     * SwiGLU, quantised; see {@link dev.octet.moe.Moe#swiglu}. Columns have unit stride.
     *
     * @param gateUp F32 {@code [rows, 2 P]}: gate projections, and from column P on up projections
     * @param weights F32 {@code [rows]} that the result is multiplied by before it is quantised, or null
     * @param out E4M3 {@code [rows, N]} with N at most P and scales 1x128
     * @param execution what to run on
     */
    void swiglu(Tensor gateUp, @Nullable Tensor weights, ScaledTensor out, Execution execution);
}
