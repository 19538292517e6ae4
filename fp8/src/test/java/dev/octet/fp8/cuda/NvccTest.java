package dev.octet.fp8.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.cuda.ComputeCapability;
import dev.octet.cuda.KernelSource;
import dev.octet.cuda.KernelUsage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Every kernel through nvcc for the architectures it is loaded on, where there is an nvcc: prints what each takes of a
 * multiprocessor, and does not let a GEMM spill registers. Without nvcc one line says so; profile {@code nvrtc}
 * compiles the kernels by NVRTC anywhere.
 */
class NvccTest {
    private static final List<ComputeCapability> TARGETS =
            List.of(new ComputeCapability(8, 0), new ComputeCapability(9, 0));

    private static Optional<Path> nvcc() {
        String path = System.getenv().getOrDefault("PATH", "") + ":/usr/local/cuda/bin";
        return Stream.of(path.split(":"))
                .filter(p -> !p.isEmpty()).map(p -> Path.of(p, "nvcc")).filter(Files::isExecutable).findFirst();
    }

    @Test
    void everyKernelCompilesAndNoGemmSpills(@TempDir Path folder) {
        Optional<Path> nvcc = nvcc();
        if (nvcc.isEmpty()) {
            System.out.println("CUDA kernels are not compiled here: no nvcc on the path");
            return;
        }
        List<Job> jobs = TARGETS.stream()
                .flatMap(t -> new Fp8KernelCatalog().sources(t).stream().map(s -> new Job(t.arch(), s))).toList();
        List<String> rows = new ArrayList<>();
        List<String> spills = new ArrayList<>();
        // All cores: nvcc uses one.
        List<List<KernelUsage>> all = IntStream.range(0, jobs.size()).parallel()
                .mapToObj(i -> compile(nvcc.get(), folder.resolve("" + i), jobs.get(i))).toList();
        for (int i = 0; i < jobs.size(); i++) {
            Job job = jobs.get(i);
            assertFalse(all.get(i).isEmpty(), job + " has no kernel");
            for (KernelUsage u : all.get(i)) {
                rows.add(String.format("%-7s %-28s %4d registers %6d bytes shared %4d bytes spilled  %s", job.arch,
                        u.kernel(), u.registers(), u.sharedBytes(), u.spillStoreBytes(), job.source));
                if (u.kernel().contains("gemm") && u.spills()) {
                    spills.add(rows.getLast());
                }
            }
        }
        System.out.println(String.join("\n", rows));
        assertEquals(List.of(), spills);
        for (Fp8Kernel kernel : Fp8Kernel.values()) {
            assertEquals(TARGETS.size(), rows.stream().filter(r -> r.contains(" " + kernel.function() + " ")).count(),
                    kernel.function());
        }
    }

    private record Job(String arch, KernelSource source) {}

    private static List<KernelUsage> compile(Path nvcc, Path folder, Job job) {
        try {
            return run(nvcc, folder, job.source, job.arch);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }

    private static List<KernelUsage> run(Path nvcc, Path folder, KernelSource source, String arch)
            throws IOException, InterruptedException {
        Files.createDirectories(folder);
        Path file = folder.resolve(source.name());
        Files.writeString(file, source.text());
        for (Map.Entry<String, String> header : source.headers().entrySet()) {
            Files.writeString(folder.resolve(header.getKey()), header.getValue());
        }
        List<String> command = new ArrayList<>(List.of(nvcc.toString(), "-arch=" + arch, "-std=c++17", "-cubin",
                "-Xptxas=-v", "-o", folder.resolve("kernel.cubin").toString()));
        command.addAll(source.options());
        command.add(file.toString());
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertTrue(process.waitFor() == 0, () -> String.join(" ", command) + ":\n" + said);
        // ptxas only warns of wgmma that wait for each other and of setmaxnreg that it drops; each halves the speed.
        assertTrue(said.lines().noneMatch(l -> l.contains("serialized") || l.contains("setmaxnreg")), said);
        return KernelUsage.parse(said);
    }
}
