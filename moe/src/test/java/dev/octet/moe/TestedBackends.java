package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.core.Device;
import dev.octet.core.cpu.CpuConfig;
import java.util.List;
import java.util.stream.Stream;

/**
 * Which backends a suite runs on: those that the system property {@code octet.test.require} lists, all of which must be
 * able to run, or every one that can run when it is not set. A suite that is run once for each vector width sets it, so
 * that it can't pass on another backend by mistake.
 */
public final class TestedBackends {
    private static final String REQUIRE = "octet.test.require";

    private TestedBackends() {}

    /** {@return the names, for a method source} */
    public static Stream<String> names() {
        String required = System.getProperty(REQUIRE, "");
        if (required.isEmpty()) {
            return MoeBackends.FOUND.all().stream().filter(b -> b.deviceKind() == Device.Kind.CPU)
                    .filter(b -> MoeBackends.FOUND.unavailable(b).isEmpty()).map(b -> b.name());
        }
        List<String> names = List.of(required.split(","));
        names.forEach(Moe::on); // throws, with the reason, if one can't run
        String best = MoeBackends.FOUND.best(Device.Kind.CPU).name();
        if (names.contains("cpu")) {
            String bits = System.getProperty("octet.vector.bits");
            assertEquals(bits == null ? CpuConfig.vectorBits() : Integer.parseInt(bits), CpuConfig.vectorBits());
            assertEquals("cpu", best, "what callers get who name no backend");
        } else {
            assertEquals(names.getFirst(), best, "what callers get who name no backend");
        }
        return names.stream();
    }
}
