package dev.octet.core;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Runs a class in a JVM of its own, with flags that can't be changed in this one. */
public final class ForkedJvm {
    private ForkedJvm() {}

    /**
     * What came of it.
     *
     * @param exit the exit status
     * @param out standard output
     * @param err standard error
     */
    public record Result(int exit, String out, String err) {}

    /**
     * Runs a main method.
     *
     * @param main its class, of these tests
     * @param flags what stands between java and the class
     * @return what came of it, after the end of the JVM
     */
    public static Result run(Class<?> main, List<String> flags) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(flags);
        command.add("-cp");
        command.add(folderOf(Octet.class) + System.getProperty("path.separator") + folderOf(main));
        command.add(main.getName());
        Path out = Files.createTempFile("octet", ".out");
        Path err = Files.createTempFile("octet", ".err");
        try {
            ProcessBuilder builder = new ProcessBuilder(command).redirectOutput(out.toFile())
                    .redirectError(err.toFile());
            builder.environment().remove("JAVA_TOOL_OPTIONS");
            Process process = builder.start();
            if (!process.waitFor(60, TimeUnit.SECONDS)) {
                process.destroyForcibly();
                throw new IOException("still running after a minute: " + command + Files.readString(err));
            }
            return new Result(process.exitValue(), Files.readString(out), Files.readString(err));
        } finally {
            Files.delete(out);
            Files.delete(err);
        }
    }

    private static Path folderOf(Class<?> c) {
        return Path.of(java.net.URI.create(c.getProtectionDomain().getCodeSource().getLocation().toString()));
    }
}
