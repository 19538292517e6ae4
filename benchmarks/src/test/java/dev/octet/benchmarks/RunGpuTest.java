package dev.octet.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The bundle's command over a Java that only says how it was called: what it runs, finds, keeps and returns. */
class RunGpuTest {
    private static final Path SCRIPT = Path.of("bundle", "src", "main", "run-gpu.sh").toAbsolutePath();

    @TempDir
    Path folder;

    private Path bundle;
    private Path out;

    /** What came of a run. */
    private record Run(int code, String printed) {}

    @BeforeEach
    void aBundle() throws IOException {
        assumeTrue(Files.isRegularFile(SCRIPT), "the sources are not here");
        bundle = folder.resolve("octet-gpu");
        out = folder.resolve("results");
        Files.createDirectories(bundle.resolve("runtime/bin"));
        Files.copy(SCRIPT, bundle.resolve("run-gpu.sh"));
        Path binding = bundle.resolve("tests/cuda-bindings/dev/octet/cuda/LaunchGpuTest.class");
        Path suite = bundle.resolve("tests/fp8/dev/octet/fp8/GpuSuiteTest$Casts.class");
        for (Path p : List.of(binding, suite, suite.resolveSibling("GpuSuiteTest.class"))) {
            Files.createDirectories(p.getParent());
            Files.createFile(p);
        }
        java("echo \"java in $LD_LIBRARY_PATH: $*\"; echo '[         3 tests successful      ]'");
    }

    /** The lines of a program that takes the place of Java. */
    private void java(String lines) throws IOException {
        Path java = bundle.resolve("runtime/bin/java");
        Files.writeString(java, "#!/bin/sh\n" + lines + "\n");
        assertTrue(java.toFile().setExecutable(true));
    }

    private Run run(Map<String, String> environment, String... arguments) throws Exception {
        List<String> command = new ArrayList<>(List.of("/bin/sh", bundle.resolve("run-gpu.sh").toString()));
        command.addAll(List.of(arguments));
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().clear();
        builder.environment().put("PATH", "/usr/bin:/bin");
        builder.environment().put("CUDA_HOME", folder.resolve("nothing").toString());
        builder.environment().putAll(environment);
        Process p = builder.start();
        p.getOutputStream().close();
        String printed = new String(p.getInputStream().readAllBytes());
        return new Run(p.waitFor(), printed);
    }

    private String result(String file) throws IOException {
        return Files.readString(out.resolve(file));
    }

    @Test
    void allStepsThroughBothBindings() throws Exception {
        Run run = run(Map.of(), out.toString());
        assertEquals(0, run.code, run.printed);
        assertEquals("ok: info tests bench sanitizer\n", result("summary.txt"));
        assertTrue(result("info.txt").contains("GpuBenchmarks info"));
        List<String> tests = result("tests.txt").lines().filter(l -> l.contains("ConsoleLauncher")).toList();
        assertEquals(3, tests.size(), result("tests.txt"));
        assertTrue(tests.get(0).contains("-Doctet.cuda.binding=foreign") && tests.get(0).contains("LaunchGpuTest"));
        assertTrue(tests.get(1).contains("--select-class=dev.octet.cuda.LaunchGpuTest --include-tag=gpu"));
        assertFalse(tests.get(1).contains("octet.cuda.binding"), "the presets, where they are there");
        assertTrue(tests.get(2).contains("--select-class=dev.octet.fp8.GpuSuiteTest$Casts --include-tag=gpu"));
        assertTrue(result("tests.txt").contains("ok       dev.octet.fp8.GpuSuiteTest$Casts : 3 passed, "));
        assertTrue(result("bench.txt").contains("GpuBenchmarks run --json " + out + "/bench.json .*"));
        try (Stream<Path> files = Files.list(out)) {
            assertEquals(6, files.count(), "and bench.json, which this Java does not write");
        }
    }

    @Test
    void withoutAGpuItSaysSoAndRunsNothing() throws Exception {
        java("echo no driver; exit 3");
        Run run = run(Map.of(), out.toString());
        assertEquals(3, run.code, run.printed);
        assertTrue(run.printed.contains("no GPU can be used here: see " + out + "/info.txt"), run.printed);
        assertTrue(result("info.txt").contains("no driver"));
        assertTrue(result("summary.txt").startsWith("no GPU can be used here"));
        assertFalse(Files.exists(out.resolve("tests.txt")));
    }

    @Test
    void whatFailsIsNamedAndTheRestIsRun() throws Exception {
        java("case \"$*\" in *ConsoleLauncher*) exit 1;; esac");
        Run run = run(Map.of(), out.toString(), "tests", "bench");
        assertEquals(1, run.code, run.printed);
        assertEquals("FAILED: tests\n", result("summary.txt"));
        assertTrue(Files.exists(out.resolve("bench.txt")));
    }

    @Test
    void testsThatNoneOfRanHaveFailed() throws Exception {
        java("echo '[         0 tests successful      ]'");
        assertEquals(1, run(Map.of(), out.toString(), "tests").code);
        assertTrue(result("tests.txt").contains("no test has passed"));
    }

    @Test
    void whatRunsOutOfTimeHasFailed() throws Exception {
        java("case \"$*\" in *'GpuBenchmarks run'*) exec sleep 60;; esac");
        Run run = run(Map.of("OCTET_LIMIT", "2"), out.toString(), "bench", "tests");
        assertEquals(1, run.code, run.printed);
        assertEquals("FAILED: bench tests\n", result("summary.txt"));
        assertTrue(result("bench.txt").contains("STOPPED: not done after "), result("bench.txt"));
        assertTrue(result("tests.txt").contains("NOT RUN  dev.octet.cuda.LaunchGpuTest"), result("tests.txt"));
    }

    @Test
    void librariesInAToolkitAndInPythonsPackages() throws Exception {
        Path toolkit = library("toolkit/lib64", "libnvrtc.so.13");
        library("empty/lib64", "libother.so");
        Path all = library("packages/nvidia/cu13/lib", "libcudart.so.13");
        Path blas = library("packages/nvidia/cublas/lib", "libcublasLt.so.12");
        library("packages/nvidia/cudnn/lib", "libcudnn.so.9");
        Run run = run(Map.of("CUDA_HOME", folder.resolve("toolkit").toString(), "CUDA_PATH",
                folder.resolve("empty").toString(), "PYTHONPATH", folder.resolve("packages").toString(),
                "LD_LIBRARY_PATH", "/given"), out.toString(), "info");
        assertEquals(0, run.code, run.printed);
        String line = run.printed.lines().filter(l -> l.startsWith("libraries")).findFirst().orElseThrow();
        List<String> found = List.of(line.replaceAll("libraries *", "").split(":"));
        assertEquals("/given", found.get(0), line);
        assertEquals(toolkit.toString(), found.get(1), line);
        assertFalse(line.contains("empty") || line.contains("cudnn"), line);
        assumeTrue(Files.isExecutable(Path.of("/usr/bin/python3")), "no Python here");
        assertTrue(found.containsAll(List.of(all.toString(), blas.toString())), line);
        assertTrue(run.printed.contains("java in " + String.join(":", found)), "the loader looks there");
    }

    private Path library(String where, String file) throws IOException {
        Path lib = Files.createDirectories(folder.resolve(where));
        Files.createFile(lib.resolve(file));
        return lib;
    }

    @Test
    void wrongUsage() throws Exception {
        assertEquals(2, run(Map.of()).code);
        assertEquals(2, run(Map.of(), "-x").code);
        Run run = run(Map.of(), out.toString(), "all");
        assertEquals(2, run.code);
        assertTrue(run.printed.contains("run-gpu.sh FOLDER [info] [tests] [bench] [sanitizer]"), run.printed);
        assertFalse(Files.exists(out));
    }
}
