package dev.octet.core.spi;

import dev.octet.core.Device;
import dev.octet.core.cpu.CpuConfig;
import java.util.Optional;

/**
 * What backends in Java have in common in all modules: how they are called, which is preferred, and when they can run.
 *
 * <p>Safe for use by several threads.
 */
public abstract class CpuBackend implements Backend {
    /** The ways to compute in Java. */
    protected enum Way {
        /** Kernels on the Vector API. A class that extends this one must load without the Vector API. */
        VECTOR("cpu", 100),
        /** Plain Java, for JVMs without the Vector API. */
        SCALAR("scalar", 10),
        /** The plain loops that define the results. */
        REFERENCE("reference", 0);

        private final String id;
        private final int priority;

        Way(String id, int priority) {
            this.id = id;
            this.priority = priority;
        }
    }

    private final Way way;

    /**
     * Makes a backend.
     *
     * @param way how it computes
     */
    protected CpuBackend(Way way) {
        this.way = way;
    }

    @Override
    public final String name() {
        return way.id;
    }

    @Override
    public final Device.Kind deviceKind() {
        return Device.Kind.CPU;
    }

    @Override
    public final int priority() {
        return way.priority;
    }

    @Override
    public final Optional<String> unavailable() {
        return way == Way.VECTOR && CpuConfig.vectorBits() == 0 ? Optional.of(CpuConfig.vectorReason())
                : Optional.empty();
    }

    @Override
    public final String description() {
        return switch (way) {
            case VECTOR -> CpuConfig.vectorBits() + "-bit vectors, " + CpuConfig.threads() + " threads";
            case SCALAR -> "plain Java, " + CpuConfig.threads() + " threads";
            case REFERENCE -> "plain loops, FP64 or exact";
        };
    }
}
