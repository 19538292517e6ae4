package dev.octet.core.spi;

import dev.octet.core.Device;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The backends of one module, and the choice among them. Two system properties are read once, when this is made, here
 * for a module named {@code fp8}:
 *
 * <ul>
 *   <li>{@code octet.fp8.backend=NAME}: take this one wherever nobody names one, or fail. Tests set it, so that they
 *       can't pass on a fallback by mistake.
 *   <li>{@code octet.fp8.disable=NAME,NAME}: never take these.
 * </ul>
 *
 * <p>Safe for use by several threads.
 *
 * @param <B> the module's interface of a backend
 */
public final class Backends<B extends Backend> {
    private final String module;
    private final List<B> all;
    private final @Nullable String required;
    private final Set<String> disabled;
    /** The choice for each kind of device, made once: an operation must not walk a list. */
    private final @Nullable Object[] best = new @Nullable Object[Device.Kind.values().length];

    /**
     * Reads the module's properties.
     *
     * @param module the module's short name, as in its properties
     * @param all what was found
     */
    public Backends(String module, List<B> all) {
        this.module = module;
        this.all = List.copyOf(all);
        required = System.getProperty("octet." + module + ".backend");
        disabled = new HashSet<>(List.of(System.getProperty("octet." + module + ".disable", "").split(",")));
    }

    /** {@return the names of all that were found, whether they can run here or not} */
    public Set<String> names() {
        Set<String> names = new LinkedHashSet<>();
        all.forEach(b -> names.add(b.name()));
        return names;
    }

    /** {@return all that were found} */
    public List<B> all() {
        return all;
    }

    /**
     * {@return a backend by its name}
     *
     * @param name the name
     * @throws IllegalArgumentException if there is no such backend or it can't run here; the message has the reason
     */
    public B named(String name) {
        for (B b : all) {
            if (b.name().equals(name)) {
                unavailable(b).ifPresent(why -> {
                    throw new IllegalArgumentException("backend " + name + " can't run here: " + why);
                });
                return b;
            }
        }
        throw new IllegalArgumentException("backend '" + name + "' is not there; found: " + names());
    }

    /**
     * {@return empty if a backend can be taken, else why not}
     *
     * @param b the backend
     */
    public Optional<String> unavailable(B b) {
        return disabled.contains(b.name())
                ? Optional.of("it is listed in the system property octet." + module + ".disable")
                : b.unavailable();
    }

    /**
     * {@return the backend that is taken when nobody names one}
     *
     * @param kind where the tensors lie
     * @throws IllegalArgumentException if there is none that can run; the message has the reasons
     */
    @SuppressWarnings("unchecked") // only choose() writes the array
    public B best(Device.Kind kind) {
        Object known = best[kind.ordinal()];
        if (known == null) {
            known = choose(kind);
            best[kind.ordinal()] = known;
        }
        return (B) known;
    }

    /**
     * {@return the backend for tensors on a device}
     *
     * @param device where the tensors lie
     * @param named the backend that the caller asked for, or null for the best
     * @throws IllegalArgumentException if the named one takes no tensors on that device, or there is none that does
     */
    public B on(Device device, @Nullable B named) {
        if (named == null) {
            return best(device.kind());
        }
        if (named.deviceKind() != device.kind()) {
            throw new IllegalArgumentException("backend " + named.name() + " takes tensors on " + named.deviceKind()
                    + ", these are on " + device);
        }
        return named;
    }

    /**
     * {@return the rows of {@link Component#paths()}: one for each operation on the CPU, by the backend that is taken or
     * the one that it leaves the operation to, and one for all of them on each other kind of device that there is a
     * backend for}
     *
     * @param operations their names
     */
    public List<Component.Path> paths(List<String> operations) {
        B chosen = best(Device.Kind.CPU);
        StringBuilder reason = new StringBuilder("best of those that can run");
        List<Component.Path> paths = new ArrayList<>();
        List<Component.Path> devices = new ArrayList<>();
        for (B b : all) {
            Optional<String> why = unavailable(b);
            if (b.deviceKind() == Device.Kind.CPU) {
                why.ifPresent(w -> reason.append("; not ").append(b.name()).append(": ").append(w));
            } else {
                devices.add(new Component.Path(module + " on " + b.deviceKind(),
                        why.isPresent() ? "none" : b.name() + ", " + b.description(),
                        why.orElse("for tensors there")));
            }
        }
        for (String operation : operations) {
            Backend doing = chosen.doing(operation);
            paths.add(new Component.Path(operation, doing.name() + ", " + doing.description(), doing == chosen
                    ? reason.toString() : chosen.name() + ", " + reason + ", leaves it to " + doing.name()));
        }
        paths.addAll(devices);
        return paths;
    }

    private B choose(Device.Kind kind) {
        if (required != null) {
            B b = named(required);
            if (b.deviceKind() == kind) {
                return b;
            }
        }
        B chosen = null;
        StringBuilder reasons = new StringBuilder();
        for (B b : all) {
            if (b.deviceKind() != kind) {
                continue; // not even asked whether it can run: who has no tensor on a GPU needs no driver's answer
            }
            Optional<String> why = unavailable(b);
            if (why.isEmpty() && (chosen == null || b.priority() > chosen.priority())) {
                chosen = b;
            }
            why.ifPresent(w -> reasons.append("; ").append(b.name()).append(": ").append(w));
        }
        if (chosen == null) {
            throw new IllegalArgumentException("no " + module + " backend for tensors on " + kind + reasons);
        }
        return chosen;
    }
}
