package dev.octet.moe;

import dev.octet.core.spi.BackendsUnderTest;
import java.util.stream.Stream;

/** Which backends a suite runs on. */
public final class TestedBackends {
    private TestedBackends() {}

    /** {@return the names, for a method source} */
    public static Stream<String> names() {
        return BackendsUnderTest.names(MoeBackends.FOUND);
    }
}
