package dev.octet.benchmarks.suite;

import dev.octet.benchmarks.peer.LibTorch;
import dev.octet.core.Octet;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Where, when and from what results come: everything that someone needs who wants to measure again. */
public final class RunInfo {
    private RunInfo() {}

    /**
     * Gathers it.
     *
     * @param command the command line that was run
     * @param effort how long each case was measured
     * @param peers whether peers are measured, and so must be named
     * @return names and values, in the order in which they are shown
     */
    public static Map<String, Object> gather(String command, Effort effort, boolean peers) {
        Map<String, Object> info = machine(command);
        info.put("LibTorch", peers ? LibTorch.describe() : "not measured");
        info.put("effort", effort.describe());
        return info;
    }

    /**
     * Gathers what does not depend on JMH.
     *
     * @param command the command line that was run
     * @return names and values, in the order in which they are shown
     */
    public static Map<String, Object> machine(String command) {
        Octet.Description octet = Octet.describe();
        Map<String, Object> info = new LinkedHashMap<>();
        info.put("command", command);
        info.put("date", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
        info.put("commit", commit());
        info.put("cpu", octet.cpu());
        info.put("threads", octet.threads() + ", the physical cores");
        info.put("vectors", octet.vectorBits() + " bits");
        info.put("last level cache", firstLine("/sys/devices/system/cpu/cpu0/cache/index3/size"));
        info.put("memory", firstLine("/proc/meminfo").replaceAll("^MemTotal: *", ""));
        info.put("system", System.getProperty("os.name") + " " + System.getProperty("os.version"));
        info.put("jvm", octet.jvm());
        return info;
    }

    private static String firstLine(String file) {
        try (var lines = Files.lines(Path.of(file))) {
            return lines.findFirst().orElse("unknown");
        } catch (IOException | RuntimeException e) {
            return "unknown";
        }
    }

    /** The commit of the folder that the launcher started from, and whether files differ from it. */
    private static String commit() {
        String home = System.getProperty("octet.home", ".");
        String head = git(home, "rev-parse", "HEAD");
        if (head.isEmpty()) {
            return "unknown";
        }
        return git(home, "status", "--porcelain", "--untracked-files=no").isEmpty() ? head : head + ", with changes";
    }

    private static String git(String home, String... args) {
        try {
            var command = new ArrayList<>(List.of("git", "-C", home));
            command.addAll(List.of(args));
            Process p = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
            String out = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
            return p.waitFor() == 0 ? out : "";
        } catch (IOException e) {
            return "";
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return "";
        }
    }
}
