package dev.octet.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.cuda.ComputeCapability;
import dev.octet.cuda.KernelCatalog;
import dev.octet.cuda.KernelCompileException;
import dev.octet.cuda.KernelCompiler;
import dev.octet.cuda.KernelSource;
import dev.octet.cuda.KernelUsage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.ServiceLoader;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * Every CUDA kernel of every module through NVRTC, with the options of a run, for four generations of GPUs. Prints what
 * each takes of a multiprocessor, and fails where a matrix product spills registers.
 */
@Tag("nvrtc")
class KernelCompileTest {
    private static final List<String> ARCHITECTURES = List.of("sm_80", "sm_89", "sm_90a", "sm_100");

    @Test
    void everyKernelOfEveryModule() {
        KernelCompiler compiler = KernelCompiler.shared();
        assertEquals(Optional.empty(), compiler.unavailable());
        List<String> wrong = new ArrayList<>();
        System.out.println("NVRTC " + compiler.version());
        System.out.printf("%-8s %-6s %-26s %-40s %4s %6s %6s %7s%n", "arch", "module", "source", "kernel", "regs",
                "stack", "spill", "shared");
        for (String arch : ARCHITECTURES) {
            long start = System.nanoTime();
            int sources = 0;
            for (KernelCatalog catalog : ServiceLoader.load(KernelCatalog.class)) {
                for (KernelSource source : catalog.sources(ComputeCapability.of(arch))) {
                    sources++;
                    compile(compiler, catalog.module(), source, arch, wrong);
                }
            }
            System.out.printf("%-8s %d sources in %.2f s%n", arch, sources, (System.nanoTime() - start) / 1e9);
        }
        assertEquals(List.of(), wrong);
    }

    private static void compile(KernelCompiler compiler, String module, KernelSource source, String arch,
            List<String> wrong) {
        try {
            for (KernelUsage u : compiler.compile(source, arch).usage()) {
                System.out.printf("%-8s %-6s %-26s %-40s %4d %6d %6d %7d%n", arch, module, source.name(), u.kernel(),
                        u.registers(), u.stackBytes(), u.spillStoreBytes() + u.spillLoadBytes(), u.sharedBytes());
                if (u.spills() && u.kernel().contains("gemm")) {
                    wrong.add(arch + ": " + source + ": " + u);
                }
            }
        } catch (KernelCompileException e) {
            wrong.add(e.getMessage());
        }
    }

    @Test
    void noSourceIsLeftOut() throws IOException {
        Set<String> known = new TreeSet<>();
        for (KernelCatalog catalog : ServiceLoader.load(KernelCatalog.class)) {
            for (String arch : ARCHITECTURES) {
                catalog.sources(ComputeCapability.of(arch)).forEach(s -> known.add(s.name()));
            }
        }
        try (Stream<Path> files = Files.walk(Path.of(".."), 9)) {
            List<String> unknown = files.map(Path::normalize).filter(p -> p.toString().contains("src/main/resources"))
                    .filter(p -> p.toString().endsWith(".cu"))
                    .filter(p -> !known.contains(p.getFileName().toString())).map(Path::toString).toList();
            assertEquals(List.of(), unknown, "in no module's KernelCatalog, which has " + known);
        }
    }
}
