package dev.octet.moe.ffm;

import dev.octet.core.Device;
import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuConfig;
import dev.octet.core.spi.Backend;
import dev.octet.fp8.ScaledTensor;
import dev.octet.moe.GateConfig;
import dev.octet.moe.GateOptions;
import dev.octet.moe.Routing;
import dev.octet.moe.TokenPermutation;
import dev.octet.moe.cpu.ScalarBackend;
import dev.octet.moe.cpu.VectorBackend;
import dev.octet.moe.spi.MoeBackend;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Backend {@code native}: rows to experts and back and the router's product in C. What it has no kernel for is done by
 * the backend that would run without it. This class itself loads without the library.
 */
public final class NativeBackend implements MoeBackend {
    private static final int ABOVE_CPU = 200;
    private static final int BELOW_CPU = 90;

    private final MoeBackend other = CpuConfig.vectorBits() == 0 ? new ScalarBackend() : new VectorBackend();

    /** For the service loader. */
    public NativeBackend() {}

    @Override
    public String name() {
        return "native";
    }

    @Override
    public Device.Kind deviceKind() {
        return Device.Kind.CPU;
    }

    /** Above the Vector API's where it is faster; on Arm it was never measured. */
    @Override
    public int priority() {
        return MoeLibrary.isFaster() ? ABOVE_CPU : BELOW_CPU;
    }

    @Override
    public Optional<String> unavailable() {
        return MoeLibrary.unavailable();
    }

    @Override
    public String description() {
        return MoeLibrary.level().id() + ", " + CpuConfig.threads() + " threads";
    }

    @Override
    public Backend doing(String operation) {
        return switch (operation) {
            case "moe.expand", "moe.reduce" -> this;
            case "moe.routerLogits" -> MoeLibrary.hasRouter() ? this : other;
            default -> other;
        };
    }

    @Override
    public void routerLogits(Tensor hidden, Tensor weight, Tensor out, Execution execution) {
        if (MoeLibrary.hasRouter() && FfmRouter.takes(hidden, weight, out)) {
            FfmRouter.multiply(hidden, weight, out, execution.pool());
        } else {
            other.routerLogits(hidden, weight, out, execution);
        }
    }

    @Override
    public void gate(Tensor logits, @Nullable Tensor bias, GateConfig config, GateOptions options, Routing out,
            Execution execution) {
        other.gate(logits, bias, config, options, out, execution);
    }

    @Override
    public void replay(Tensor logits, Tensor experts, GateConfig config, Routing out, Execution execution) {
        other.replay(logits, experts, config, out, execution);
    }

    @Override
    public void expand(TokenPermutation permutation, Tensor tokens, @Nullable Tensor weights, Tensor out,
            Execution execution) {
        if (FfmPermutation.takes(permutation, tokens, out)) {
            FfmPermutation.expand(permutation, tokens, weights, out, execution.pool());
        } else {
            other.expand(permutation, tokens, weights, out, execution);
        }
    }

    @Override
    public void expand(TokenPermutation permutation, ScaledTensor tokens, ScaledTensor out, Execution execution) {
        if (FfmPermutation.takes(permutation, tokens.codes(), out.codes())) {
            FfmPermutation.expand(permutation, tokens, out, execution.pool());
        } else {
            other.expand(permutation, tokens, out, execution);
        }
    }

    @Override
    public void reduce(TokenPermutation permutation, Tensor rows, @Nullable Tensor weights, Tensor out,
            Execution execution) {
        if (FfmPermutation.takes(permutation, rows, out)) {
            FfmPermutation.reduce(permutation, rows, weights, out, execution.pool());
        } else {
            other.reduce(permutation, rows, weights, out, execution);
        }
    }

    @Override
    public void weightGradients(TokenPermutation permutation, Tensor rows, Tensor gradient, Tensor out,
            Execution execution) {
        other.weightGradients(permutation, rows, gradient, out, execution);
    }

    @Override
    public void swiglu(Tensor gateUp, @Nullable Tensor weights, ScaledTensor out, Execution execution) {
        other.swiglu(gateUp, weights, out, execution);
    }
}
