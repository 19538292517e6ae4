package dev.octet.core;

import dev.octet.core.cpu.CpuConfig;
import dev.octet.core.spi.Component;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.ServiceLoader;
import java.util.stream.Stream;

/**
 * What this machine will run, and why.
 */
public final class Octet {
    private Octet() {}

    /**
     * A description of this machine as Octet uses it.
     *
     * @param cpu the processor's name
     * @param vectorBits the vector width that kernels use, 0 for scalar code
     * @param vectorReason why that width
     * @param threads how many threads the shared pool has
     * @param jvm the Java virtual machine's name and version
     * @param paths the implementation that each operation takes
     */
    public record Description(String cpu, int vectorBits, String vectorReason, int threads, String jvm,
            List<Component.Path> paths) {
        /** Copies the list. */
        public Description {
            paths = List.copyOf(paths);
        }

        /** {@return the description as aligned lines of text; a reason that is that of the line before is not repeated} */
        @Override
        public String toString() {
            StringBuilder out = new StringBuilder();
            out.append("cpu      ").append(cpu).append('\n');
            out.append("vectors  ").append(vectorBits == 0 ? "none, scalar code" : vectorBits + " bits")
                    .append(" (").append(vectorReason).append(")\n");
            out.append("threads  ").append(threads).append('\n');
            out.append("jvm      ").append(jvm).append('\n');
            int operation = 0;
            int path = 0;
            for (Component.Path p : paths) {
                operation = Math.max(operation, p.operation().length());
                path = Math.max(path, p.path().length());
            }
            String above = "";
            for (Component.Path p : paths) {
                String reason = p.reason().equals(above) ? "as above" : p.reason();
                out.append(pad(p.operation(), operation + 2)).append(pad(p.path(), path + 2)).append(reason).append('\n');
                above = p.reason();
            }
            return out.toString();
        }

        private static String pad(String s, int width) {
            return s + " ".repeat(Math.max(0, width - s.length()));
        }
    }

    /**
     * {@return what this machine runs: processor, vector width, threads, and for each operation of each module found
     * the implementation it takes and why}
     */
    public static Description describe() {
        List<Component.Path> paths = new ArrayList<>();
        for (Component c : ServiceLoader.load(Component.class, Octet.class.getClassLoader())) {
            paths.addAll(c.paths());
        }
        return new Description(cpuName(), CpuConfig.vectorBits(), CpuConfig.vectorReason(), CpuConfig.threads(),
                System.getProperty("java.vm.name") + " " + Runtime.version(), paths);
    }

    private static String cpuName() {
        try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
            return lines.filter(l -> l.startsWith("model name")).findFirst()
                    .map(l -> l.substring(l.indexOf(':') + 1).strip())
                    .orElse(System.getProperty("os.arch"));
        } catch (IOException | RuntimeException e) {
            return System.getProperty("os.arch");
        }
    }
}
