package dev.octet.core.spi;

import dev.octet.core.Device;
import java.util.Optional;

/**
 * One implementation of a module's operations. The module's own interface extends this one and adds the operations;
 * implementations are found through {@link java.util.ServiceLoader} and chosen by {@link Backends}.
 */
public interface Backend {
    /** {@return the name that callers and properties use, for example {@code cpu}} */
    String name();

    /** {@return the kind of device whose tensors it takes} */
    Device.Kind deviceKind();

    /** {@return among available backends for one kind of device the largest is taken by default} */
    int priority();

    /** {@return empty if the backend can run here, else why not and what would help; never throws} */
    Optional<String> unavailable();

    /** {@return in a few words how it runs here, for example {@code 512-bit vectors, 2 threads}} */
    String description();

    /**
     * {@return the backend that does an operation: this one, or the one that it leaves it to}
     *
     * @param operation the name that {@link Component.Path} has for it, for example {@code fp8.gemm}
     */
    default Backend doing(String operation) {
        return this;
    }
}
