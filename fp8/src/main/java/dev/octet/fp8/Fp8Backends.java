package dev.octet.fp8;

import dev.octet.core.Device;
import dev.octet.fp8.spi.Fp8Backend;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.ServiceLoader;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The backends that were found. Two system properties are read once, at the first use:
 *
 * <ul>
 *   <li>{@code octet.fp8.backend=NAME}: take this one wherever {@link Fp8#auto()} chooses, or fail. Tests set it, so
 *       that they can't pass on a fallback by mistake.
 *   <li>{@code octet.fp8.disable=NAME,NAME}: never take these.
 * </ul>
 */
final class Fp8Backends {
    private static final List<Fp8Backend> ALL =
            ServiceLoader.load(Fp8Backend.class, Fp8Backends.class.getClassLoader()).stream()
                    .map(ServiceLoader.Provider::get).toList();
    private static final @Nullable String REQUIRED = System.getProperty("octet.fp8.backend");
    private static final Set<String> DISABLED =
            new HashSet<>(List.of(System.getProperty("octet.fp8.disable", "").split(",")));
    /** The choice for each kind of device, made once: a GEMM must not walk a service list. */
    private static final @Nullable Fp8Backend[] BEST = new @Nullable Fp8Backend[Device.Kind.values().length];

    private Fp8Backends() {}

    static Set<String> names() {
        Set<String> names = new LinkedHashSet<>();
        ALL.forEach(b -> names.add(b.name()));
        return names;
    }

    static List<Fp8Backend> all() {
        return ALL;
    }

    static Fp8Backend named(String name) {
        for (Fp8Backend b : ALL) {
            if (b.name().equals(name)) {
                unavailable(b).ifPresent(why -> {
                    throw new IllegalArgumentException("backend " + name + " can't run here: " + why);
                });
                return b;
            }
        }
        throw new IllegalArgumentException("backend '" + name + "' is not there; found: " + names());
    }

    static Optional<String> unavailable(Fp8Backend b) {
        return DISABLED.contains(b.name())
                ? Optional.of("it is listed in the system property octet.fp8.disable")
                : b.unavailable();
    }

    static Fp8Backend best(Device.Kind kind) {
        Fp8Backend known = BEST[kind.ordinal()];
        if (known == null) {
            known = choose(kind);
            BEST[kind.ordinal()] = known;
        }
        return known;
    }

    private static Fp8Backend choose(Device.Kind kind) {
        if (REQUIRED != null) {
            Fp8Backend b = named(REQUIRED);
            if (b.deviceKind() == kind) {
                return b;
            }
        }
        Fp8Backend best = null;
        StringBuilder reasons = new StringBuilder();
        for (Fp8Backend b : ALL) {
            Optional<String> why = unavailable(b);
            if (b.deviceKind() == kind && why.isEmpty() && (best == null || b.priority() > best.priority())) {
                best = b;
            }
            why.ifPresent(w -> reasons.append("; ").append(b.name()).append(": ").append(w));
        }
        if (best == null) {
            throw new IllegalArgumentException("no FP8 backend for tensors on " + kind + reasons);
        }
        return best;
    }
}
