package dev.octet.core.cpu;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;

/** Counts cores, not hardware threads: two hyper-threads share the FMA units that a GEMM lives on. */
final class PhysicalCores {
    private PhysicalCores() {}

    /** The cores this process may use: distinct sibling sets on Linux, else half of nothing is guessed away. */
    static int count() {
        int available = Runtime.getRuntime().availableProcessors();
        Path cpus = Path.of("/sys/devices/system/cpu");
        Set<String> cores = new HashSet<>();
        try (DirectoryStream<Path> dirs = Files.newDirectoryStream(cpus, "cpu[0-9]*")) {
            for (Path dir : dirs) {
                Path siblings = dir.resolve("topology/thread_siblings_list");
                if (Files.isReadable(siblings)) {
                    cores.add(Files.readString(siblings).strip());
                }
            }
        } catch (IOException | SecurityException e) {
            return available;
        }
        return cores.isEmpty() ? available : Math.clamp(cores.size(), 1, available);
    }
}
