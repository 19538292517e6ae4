package dev.octet.fp8;

import dev.octet.core.Device;
import java.util.List;
import java.util.stream.Stream;

/** The backends that a GEMM test runs on. */
final class GemmBackends {
    private GemmBackends() {}

    /** The one that {@code octet.fp8.backend} requires; without it, all that can run on this CPU. */
    static Stream<String> names() {
        String required = System.getProperty("octet.fp8.backend");
        return (required != null ? List.of(Fp8Backends.named(required)) : Fp8Backends.all()).stream()
                .filter(b -> b.deviceKind() == Device.Kind.CPU && Fp8Backends.unavailable(b).isEmpty())
                .map(b -> b.name());
    }
}
