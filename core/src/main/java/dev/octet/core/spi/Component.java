package dev.octet.core.spi;

import java.util.List;

/**
 * A module's contribution to {@link dev.octet.core.Octet#describe()}: which implementation each of its operations
 * runs on here, and why. Found through {@link java.util.ServiceLoader}.
 */
public interface Component {
    /**
     * The path that one operation takes.
     *
     * @param operation the operation, in the words of the API, for example {@code fp8.gemm}
     * @param path the implementation that runs, for example {@code cpu, 512-bit vectors}
     * @param reason why that one and no other
     */
    record Path(String operation, String path, String reason) {}

    /** {@return the module's short name, for example {@code fp8}} */
    String name();

    /** {@return one row for each operation; never throws for something that is merely unavailable} */
    List<Path> paths();
}
