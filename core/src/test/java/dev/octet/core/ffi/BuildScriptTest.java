package dev.octet.core.ffi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** What {@code build.sh} does with and without a C compiler, in folders whose names have spaces. */
@EnabledOnOs(OS.LINUX)
class BuildScriptTest {
    private static final Path NATIVE = Path.of("src", "main", "native").toAbsolutePath();

    @TempDir
    private Path folder;

    private record Outcome(int status, String said) {}

    private Outcome build(Path script, Path sources, Map<String, String> environment)
            throws IOException, InterruptedException {
        ProcessBuilder builder = new ProcessBuilder("sh", script.toString(), "octet-some", sources.toString(),
                folder.resolve("a target").toString()).redirectErrorStream(true);
        builder.environment().putAll(environment);
        Process process = builder.start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Outcome(process.waitFor(), said);
    }

    private static boolean aCompilerIsThere() {
        return Stream.of("cc", "gcc", "clang").anyMatch(name -> Stream.of(System.getenv("PATH").split(":"))
                .anyMatch(path -> Files.isExecutable(Path.of(path, name))));
    }

    private Path sources(String text) throws IOException {
        Path sources = Files.createDirectories(folder.resolve("some sources"));
        Files.writeString(sources.resolve("some.c"), text);
        return sources;
    }

    @Test
    void withoutACompilerOneLineSaysSoAndTheBuildGoesOn() throws Exception {
        Outcome o = build(NATIVE.resolve("build.sh"), sources("int x;"), Map.of("CC", "/no/such/compiler"));
        assertEquals(new Outcome(0, "[INFO] no C compiler found, native kernels of some left out\n"), o);
    }

    @Test
    void aLibraryIsBuiltOnceAndAgainWhenASourceChanges() throws Exception {
        assumeTrue(aCompilerIsThere(), "no C compiler");
        Path common = Files.createDirectories(folder.resolve("some common ones"));
        for (Path file : List.of(NATIVE.resolve("build.sh"), NATIVE.resolve("cpu.c"), NATIVE.resolve("octet.h"))) {
            Files.copy(file, common.resolve(file.getFileName()));
        }
        Path script = common.resolve("build.sh");
        Path sources = sources("int octet_abi(void);\nint octet_abi(void) { return 7; }\n");
        Outcome first = build(script, sources, Map.of());
        assertEquals(0, first.status(), first.said());
        assertTrue(first.said().startsWith("[INFO] built liboctet_some.so for linux-"), first.said());
        try (Stream<Path> files = Files.walk(folder.resolve("a target"))) {
            assertEquals(1, files.filter(f -> f.endsWith("liboctet_some.so")).count());
        }
        assertEquals(new Outcome(0, ""), build(script, sources, Map.of()));
        sources("int octet_abi(void);\nint octet_abi(void) { return 8; }\n");
        assertTrue(build(script, sources, Map.of()).said().startsWith("[INFO] built"));
        sources("int octet_abi(void) { return nothing; }\n");
        Outcome broken = build(script, sources, Map.of());
        assertTrue(broken.status() != 0 && broken.said().contains("nothing"), broken.said());
    }
}
