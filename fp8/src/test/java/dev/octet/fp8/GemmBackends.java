package dev.octet.fp8;

import java.util.stream.Stream;

/** The backends that a GEMM test runs on: those of every suite. */
final class GemmBackends {
    private GemmBackends() {}

    static Stream<String> names() {
        return TestedBackends.names();
    }
}
