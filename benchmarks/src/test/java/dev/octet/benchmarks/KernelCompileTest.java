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
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.ServiceLoader;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
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
    void everyKernelOfEveryModule() throws Exception {
        KernelCompiler compiler = KernelCompiler.shared();
        assertEquals(Optional.empty(), compiler.unavailable());
        List<String> wrong = Collections.synchronizedList(new ArrayList<>());
        System.out.println("NVRTC " + compiler.version());
        System.out.printf("%-8s %-6s %-26s %4s %6s %6s %7s  %s%n", "arch", "module", "kernel", "regs", "stack", "spill",
                "shared", "source");
        try (ExecutorService threads = Executors.newFixedThreadPool(Runtime.getRuntime().availableProcessors())) {
            for (String arch : ARCHITECTURES) {
                long start = System.nanoTime();
                List<Callable<String>> work = new ArrayList<>();
                for (KernelCatalog catalog : ServiceLoader.load(KernelCatalog.class)) {
                    for (KernelSource source : catalog.sources(ComputeCapability.of(arch))) {
                        work.add(() -> compile(compiler, catalog.module(), source, arch, wrong));
                    }
                }
                for (Future<String> rows : threads.invokeAll(work)) {
                    System.out.print(rows.get());
                }
                System.out.printf("%-8s %d sources in %.2f s%n", arch, work.size(), (System.nanoTime() - start) / 1e9);
            }
        }
        assertEquals(List.of(), wrong);
    }

    /** {@return a row for each kernel of a source} */
    private static String compile(KernelCompiler compiler, String module, KernelSource source, String arch,
            List<String> wrong) {
        StringBuilder rows = new StringBuilder();
        try {
            for (KernelUsage u : compiler.compileAnew(source, arch).usage()) {
                rows.append(String.format("%-8s %-6s %-26s %4d %6d %6d %7d  %s%n", arch, module, u.kernel(),
                        u.registers(), u.stackBytes(), u.spillStoreBytes() + u.spillLoadBytes(), u.sharedBytes(),
                        source));
                if (u.spills() && u.kernel().contains("gemm")) {
                    wrong.add(arch + ": " + source + ": " + u);
                }
            }
        } catch (KernelCompileException e) {
            wrong.add(e.getMessage());
        }
        return rows.toString();
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
