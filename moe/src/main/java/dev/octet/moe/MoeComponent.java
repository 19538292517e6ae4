package dev.octet.moe;

import dev.octet.core.spi.Component;
import java.util.List;

/** Tells {@link dev.octet.core.Octet#describe()} which backend each operation on experts runs on. */
public final class MoeComponent implements Component {
    private static final List<String> OPERATIONS = List.of("moe.routerLogits", "moe.gate", "moe.replay",
            "moe.expand", "moe.reduce", "moe.weightGradients", "moe.swiglu");

    /** For the service loader. */
    public MoeComponent() {}

    @Override
    public String name() {
        return "moe";
    }

    @Override
    public List<Path> paths() {
        return MoeBackends.FOUND.paths(OPERATIONS);
    }
}
