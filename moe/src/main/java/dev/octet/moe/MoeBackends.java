package dev.octet.moe;

import dev.octet.core.spi.Backends;
import dev.octet.moe.spi.MoeBackend;
import java.util.ServiceLoader;

/** The backends that were found; properties {@code octet.moe.backend} and {@code octet.moe.disable}. */
final class MoeBackends {
    static final Backends<MoeBackend> FOUND = new Backends<>("moe",
            ServiceLoader.load(MoeBackend.class, MoeBackends.class.getClassLoader()).stream()
                    .map(ServiceLoader.Provider::get).toList());

    private MoeBackends() {}
}
