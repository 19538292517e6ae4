package dev.octet.core.spi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.octet.core.Device;
import dev.octet.core.cpu.CpuConfig;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * Which backends a module's suites run on: those that the system property {@code octet.test.require} lists, all of which
 * must be able to run, or every one that can run when it is not set. A suite that is run once for each vector width sets
 * it, so that it can't pass on another backend by mistake. Only {@code native} is skipped where the build made no
 * library.
 */
public final class BackendsUnderTest {
    private static final String REQUIRE = "octet.test.require";

    private BackendsUnderTest() {}

    /** {@return the names, of backends on the CPU} */
    public static Stream<String> names(Backends<?> found) {
        String required = System.getProperty(REQUIRE, "");
        if (required.isEmpty()) {
            return available(found).map(Backend::name);
        }
        List<String> names = List.of(required.split(","));
        if (names.contains("native")) {
            assumeTrue(isNativeBuilt(), "there was no C compiler, so there is no native library to test");
        }
        names.forEach(found::named); // throws, with the reason, if one can't run
        String best = names.getFirst();
        if (names.contains("cpu")) {
            String bits = System.getProperty("octet.vector.bits");
            assertEquals(bits == null ? CpuConfig.vectorBits() : Integer.parseInt(bits), CpuConfig.vectorBits());
            best = "cpu";
        }
        assertEquals(best, found.best(Device.Kind.CPU).name(), "what callers get who name no backend");
        return names.stream();
    }

    private static boolean isNativeBuilt() {
        return Stream.of(System.getProperty("octet.native.path", "").split(File.pathSeparator))
                .anyMatch(folder -> Files.isDirectory(Path.of(folder, "META-INF", "octet")));
    }

    private static <B extends Backend> Stream<B> available(Backends<B> found) {
        return found.all().stream().filter(b -> b.deviceKind() == Device.Kind.CPU && found.unavailable(b).isEmpty());
    }
}
