package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.core.Device;
import dev.octet.core.cpu.CpuConfig;
import dev.octet.mla.spi.MlaBackend;
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
            return MlaBackends.FOUND.all().stream().filter(b -> b.deviceKind() == Device.Kind.CPU)
                    .filter(b -> MlaBackends.FOUND.unavailable(b).isEmpty()).map(b -> b.name());
        }
        List<String> names = List.of(required.split(","));
        names.forEach(Mla::on); // throws, with the reason, if one can't run
        String best = MlaBackends.FOUND.best(Device.Kind.CPU).name();
        if (names.contains("cpu")) {
            String bits = System.getProperty("octet.vector.bits");
            assertEquals(bits == null ? CpuConfig.vectorBits() : Integer.parseInt(bits), CpuConfig.vectorBits());
            assertEquals("cpu", best, "what callers get who name no backend");
        } else {
            assertEquals(names.getFirst(), best, "what callers get who name no backend");
        }
        return names.stream();
    }

    /** {@return the backends themselves, which take a cache's pages as they are} */
    static List<MlaBackend> all() {
        return names().map(MlaBackends.FOUND::named).toList();
    }
}
