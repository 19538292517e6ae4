package dev.octet.fp8;

import dev.octet.core.spi.Backends;
import dev.octet.fp8.spi.Fp8Backend;
import java.util.ServiceLoader;

/** The backends that were found; properties {@code octet.fp8.backend} and {@code octet.fp8.disable}. */
final class Fp8Backends {
    static final Backends<Fp8Backend> FOUND = new Backends<>("fp8",
            ServiceLoader.load(Fp8Backend.class, Fp8Backends.class.getClassLoader()).stream()
                    .map(ServiceLoader.Provider::get).toList());

    private Fp8Backends() {}
}
