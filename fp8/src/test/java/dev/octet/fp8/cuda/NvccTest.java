package dev.octet.fp8.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.cuda.ComputeCapability;
import dev.octet.cuda.KernelSource;
import dev.octet.cuda.KernelUsage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
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
    void everyKernelCompilesAndNoGemmSpills(@TempDir Path folder) throws Exception {
        Optional<Path> nvcc = nvcc();
        if (nvcc.isEmpty()) {
            System.out.println("CUDA kernels are not compiled here: no nvcc on the path");
            return;
        }
        List<String> rows = new ArrayList<>();
        List<String> spills = new ArrayList<>();
        int number = 0;
        for (ComputeCapability target : TARGETS) {
            for (KernelSource source : new Fp8KernelCatalog().sources(target)) {
                List<KernelUsage> found = compile(nvcc.get(), folder.resolve("" + number++), source, target.arch());
                assertFalse(found.isEmpty(), source + " has no kernel");
                for (KernelUsage u : found) {
                    rows.add(String.format("%-7s %-28s %4d registers %6d bytes shared %4d bytes spilled  %s",
                            target.arch(), u.kernel(), u.registers(), u.sharedBytes(), u.spillStoreBytes(), source));
                    if (u.kernel().contains("gemm") && u.spills()) {
                        spills.add(rows.getLast());
                    }
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

    private static List<KernelUsage> compile(Path nvcc, Path folder, KernelSource source, String arch)
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
