package dev.octet.core.cpu;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.BitSet;
import java.util.HashSet;
import java.util.Set;
import java.util.stream.Stream;

/** Counts cores, not hardware threads: two hyper-threads share the FMA units that a GEMM lives on. */
final class PhysicalCores {
    private PhysicalCores() {}

    /** The cores that this process may run on; where the system does not tell, the hardware threads. */
    static int count() {
        return count(Path.of("/sys/devices/system/cpu"), Path.of("/proc/self/status"),
                Runtime.getRuntime().availableProcessors());
    }

    /**
     * @param cpus a folder with {@code cpuN/topology/thread_siblings_list} for each hardware thread, as Linux has it
     * @param status a file with a line {@code Cpus_allowed_list}, as Linux has it for each process
     * @param available hardware threads this process may use at a time, quotas included; never exceeded
     */
    static int count(Path cpus, Path status, int available) {
        try {
            Set<String> cores = new HashSet<>();
            BitSet allowed = allowed(status);
            for (int cpu = allowed.nextSetBit(0); cpu >= 0; cpu = allowed.nextSetBit(cpu + 1)) {
                Path siblings = cpus.resolve("cpu" + cpu + "/topology/thread_siblings_list");
                if (Files.isReadable(siblings)) {
                    cores.add(Files.readString(siblings).strip());
                }
            }
            return cores.isEmpty() ? available : Math.clamp(cores.size(), 1, available);
        } catch (IOException | RuntimeException e) {
            return available;
        }
    }

    private static BitSet allowed(Path status) throws IOException {
        BitSet allowed = new BitSet();
        try (Stream<String> lines = Files.lines(status)) {
            String list = lines.filter(l -> l.startsWith("Cpus_allowed_list:")).findFirst().orElse(":");
            for (String range : list.substring(list.indexOf(':') + 1).strip().split(",")) {
                String[] ends = range.split("-");
                if (!range.isEmpty()) {
                    allowed.set(Integer.parseInt(ends[0]), Integer.parseInt(ends[ends.length - 1]) + 1);
                }
            }
        }
        return allowed;
    }
}
