package dev.octet.moe.spi;

import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.core.spi.Backend;
import dev.octet.moe.GateConfig;
import dev.octet.moe.GateOptions;
import dev.octet.moe.Routing;
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
}
