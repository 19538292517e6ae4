package dev.octet.core;

import dev.octet.core.cpu.CpuPool;
import java.util.Objects;

/**
 * What an operation runs on besides its tensors: on the CPU, the threads. Immutable; may be shared between threads.
 *
 * @param pool the threads that CPU kernels share their work among
 */
public record Execution(CpuPool pool) {
    /** Checks that the pool is there. */
    public Execution {
        Objects.requireNonNull(pool, "pool");
    }

    /** {@return the default: the shared pool} */
    public static Execution shared() {
        return new Execution(CpuPool.shared());
    }
}
