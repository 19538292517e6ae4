package dev.octet.benchmarks.jmh;

import java.io.BufferedReader;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;

/** From the start of a process to its first result; each operation starts a JVM, with the flags of this one. */
@BenchmarkMode(Mode.SingleShotTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class StartupBenchmark {
    /** What the process runs on. */
    @State(Scope.Benchmark)
    public static class Product {
        /** The implementation's name. */
        @Param("cpu")
        public String backend;
        /** How many threads work. */
        @Param("1")
        public int threads;
    }

    /** The same threads; a JVM that does nothing does not use them. */
    @State(Scope.Benchmark)
    public static class Nothing {
        /** How many threads work elsewhere in this run. */
        @Param("1")
        public int threads;
    }

    /**
     * The time to the first product.
     *
     * @param s what it runs on
     * @return what the process printed
     * @throws IOException if no process could be started
     * @throws InterruptedException if the thread was interrupted
     */
    @Benchmark
    public String gemm(Product s) throws IOException, InterruptedException {
        return firstLine(List.of(s.backend, String.valueOf(s.threads)));
    }

    /**
     * The time that a JVM takes that does nothing.
     *
     * @param s not used
     * @return what the process printed
     * @throws IOException if no process could be started
     * @throws InterruptedException if the thread was interrupted
     */
    @Benchmark
    public String jvm(Nothing s) throws IOException, InterruptedException {
        return firstLine(List.of());
    }

    private static String firstLine(List<String> args) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), FirstResult.class.getName()));
        command.addAll(args);
        Process process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
        try (BufferedReader out = process.inputReader()) {
            String line = out.readLine();
            if (process.waitFor() != 0 || line == null) {
                throw new IllegalStateException("a JVM started with " + args + " ended with " + process.exitValue());
            }
            return line;
        }
    }
}
