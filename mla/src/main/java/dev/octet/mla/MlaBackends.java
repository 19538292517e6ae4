package dev.octet.mla;

import dev.octet.core.spi.Backends;
import dev.octet.mla.spi.MlaBackend;
import java.util.ServiceLoader;

/** The backends that were found; properties {@code octet.mla.backend} and {@code octet.mla.disable}. */
final class MlaBackends {
    static final Backends<MlaBackend> FOUND = new Backends<>("mla",
            ServiceLoader.load(MlaBackend.class, MlaBackends.class.getClassLoader()).stream()
                    .map(ServiceLoader.Provider::get).toList());

    private MlaBackends() {}
}
