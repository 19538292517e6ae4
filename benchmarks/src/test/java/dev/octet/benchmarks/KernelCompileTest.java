package dev.octet.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.cuda.ComputeCapability;
import dev.octet.cuda.KernelCatalog;
import dev.octet.cuda.KernelCompileException;
import dev.octet.cuda.KernelCompiler;
import dev.octet.cuda.KernelSource;
import dev.octet.cuda.KernelUsage;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.PriorityQueue;
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
 * each takes of a multiprocessor and to compile, and fails where a matrix product spills registers, or where a cold
 * start on Hopper would take more than three seconds of 16 processors like this one. What else runs can only make that
 * longer, so it is measured up to three times, of which each source's shortest counts.
 */
@Tag("nvrtc")
class KernelCompileTest {
    private static final double COLD_START_SECONDS = 3;
    private static final int TRIES = 3;
    private static final int PROCESSORS_OF_A_GPU_HOST = 16;
    private static final List<String> ARCHITECTURES = List.of("sm_80", "sm_89", "sm_90a", "sm_100");

    @Test
    void everyKernelOfEveryModule() throws Exception {
        KernelCompiler compiler = KernelCompiler.shared();
        assertEquals(Optional.empty(), compiler.unavailable());
        List<String> wrong = Collections.synchronizedList(new ArrayList<>());
        System.out.println("NVRTC " + compiler.version());
        System.out.printf("%-8s %-6s %-26s %4s %6s %6s %7s %6s  %s%n", "arch", "module", "kernel", "regs", "stack",
                "spill", "shared", "CPU s", "source");
        try (ExecutorService threads = Executors.newFixedThreadPool(Runtime.getRuntime().availableProcessors())) {
            for (String arch : ARCHITECTURES) {
                long start = System.nanoTime();
                List<Callable<Compiled>> work = new ArrayList<>();
                for (KernelCatalog catalog : ServiceLoader.load(KernelCatalog.class)) {
                    for (KernelSource source : catalog.sources(ComputeCapability.of(arch))) {
                        work.add(() -> compile(compiler, catalog.module(), source, arch, wrong));
                    }
                }
                List<Double> seconds = new ArrayList<>();
                for (Future<Compiled> compiled : threads.invokeAll(work)) {
                    System.out.print(compiled.get().rows);
                    seconds.add(compiled.get().seconds);
                }
                for (int i = 1; i < TRIES && arch.equals(ComputeCapability.HOPPER.arch())
                        && schedule(seconds, PROCESSORS_OF_A_GPU_HOST) > COLD_START_SECONDS; i++) {
                    List<Future<Compiled>> again = threads.invokeAll(work);
                    for (int j = 0; j < again.size(); j++) {
                        seconds.set(j, Math.min(seconds.get(j), again.get(j).get().seconds));
                    }
                }
                double all = seconds.stream().mapToDouble(s -> s).sum();
                double coldStart = schedule(seconds, PROCESSORS_OF_A_GPU_HOST);
                System.out.printf("%-8s %d sources in %.2f s; %.2f s of one processor, the longest %.2f; %.2f s of"
                        + " %d%n", arch, work.size(), (System.nanoTime() - start) / 1e9, all,
                        Collections.max(seconds), coldStart, PROCESSORS_OF_A_GPU_HOST);
                if (arch.equals(ComputeCapability.HOPPER.arch()) && coldStart > COLD_START_SECONDS) {
                    wrong.add("a cold start on " + arch + " takes " + coldStart + " s, may take " + COLD_START_SECONDS);
                }
            }
        }
        assertEquals(List.of(), wrong);
    }

    /**
     * What came of a source.
     *
     * @param rows one for each kernel
     * @param seconds of the processor; not of the clock, which other work on the machine would lengthen
     */
    private record Compiled(String rows, double seconds) {}

    /** {@return when the last is done if each processor takes the longest that is left} */
    private static double schedule(List<Double> seconds, int processors) {
        PriorityQueue<Double> free = new PriorityQueue<>(Collections.nCopies(processors, 0.0));
        double last = 0;
        for (double s : seconds.stream().sorted(Comparator.reverseOrder()).toList()) {
            double end = free.remove() + s;
            free.add(end);
            last = Math.max(last, end);
        }
        return last;
    }

    private static Compiled compile(KernelCompiler compiler, String module, KernelSource source, String arch,
            List<String> wrong) {
        StringBuilder rows = new StringBuilder();
        ThreadMXBean processor = ManagementFactory.getThreadMXBean();
        long start = processor.getCurrentThreadCpuTime();
        double seconds = 0;
        try {
            List<KernelUsage> usage = compiler.compileAnew(source, arch).usage();
            seconds = (processor.getCurrentThreadCpuTime() - start) / 1e9;
            if (seconds > COLD_START_SECONDS / 2) {
                // The processor may have been shared by another thread, or have waited for memory: once more.
                start = processor.getCurrentThreadCpuTime();
                compiler.compileAnew(source, arch);
                seconds = Math.min(seconds, (processor.getCurrentThreadCpuTime() - start) / 1e9);
            }
            for (KernelUsage u : usage) {
                rows.append(String.format("%-8s %-6s %-26s %4d %6d %6d %7d %6.2f  %s%n", arch, module, u.kernel(),
                        u.registers(), u.stackBytes(), u.spillStoreBytes() + u.spillLoadBytes(), u.sharedBytes(),
                        seconds, source));
                if (u.spills() && u.kernel().contains("gemm")) {
                    wrong.add(arch + ": " + source + ": " + u);
                }
            }
        } catch (KernelCompileException e) {
            wrong.add(e.getMessage());
        }
        return new Compiled(rows.toString(), seconds);
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
