package dev.octet.moe.cpu;

import dev.octet.core.Device;
import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuConfig;
import dev.octet.moe.GateConfig;
import dev.octet.moe.GateOptions;
import dev.octet.moe.Routing;
import dev.octet.moe.spi.MoeBackend;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Backend {@code scalar}: plain Java, for JVMs without the Vector API. */
public final class ScalarBackend implements MoeBackend {
    /** For the service loader. */
    public ScalarBackend() {}

    @Override
    public String name() {
        return "scalar";
    }

    @Override
    public Device.Kind deviceKind() {
        return Device.Kind.CPU;
    }

    @Override
    public int priority() {
        return 10;
    }

    @Override
    public Optional<String> unavailable() {
        return Optional.empty();
    }

    @Override
    public String description() {
        return "plain Java, " + CpuConfig.threads() + " threads";
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
}
