package dev.octet.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** The launcher in a small copy of the project's tree, with a JDK and a Maven that only say how they were called. */
@DisabledOnOs(OS.WINDOWS)
class LauncherTest {
    private static final Path LAUNCHER = Path.of("..", "octet").toAbsolutePath().normalize();

    @TempDir
    private Path folder;
    private Path tree;
    private Path source;
    private Path jar;
    private Path classPath;

    @BeforeEach
    void makeTree() throws IOException {
        tree = Files.createDirectory(folder.resolve("a tree"));
        Files.copy(LAUNCHER, tree.resolve("octet"));
        executable(tree.resolve("octet"), null);
        write("pom.xml", "");
        write("core/pom.xml", "");
        write("benchmarks/pom.xml", "");
        write("benchmarks/src/main/java/Main.java", "");
        source = write("core/src/main/java/Tensor.java", "");
        jar = write("benchmarks/target/octet-benchmarks-1.jar", "");
        Path library = write("library.jar", "");
        classPath = write("benchmarks/target/classpath.txt", library.toString());
        write("jdk/release", "JAVA_VERSION=\"25.0.3\"\n");
        executable(tree.resolve("jdk/bin/javac"), "");
        executable(tree.resolve("jdk/bin/java"), "for a in \"$@\"; do printf '<%s>' \"$a\"; done; pwd");
        executable(tree.resolve("bin/mvn"), "echo \"mvn $*\" >&2");
        Files.setLastModifiedTime(source, FileTime.from(Instant.now().minusSeconds(60)));
    }

    private Path write(String name, String text) throws IOException {
        Path file = tree.resolve(name);
        Files.createDirectories(file.getParent());
        return Files.writeString(file, text);
    }

    private static void executable(Path file, String script) throws IOException {
        if (script != null) {
            Files.createDirectories(file.getParent());
            Files.writeString(file, "#!/bin/sh\n" + script + "\n");
        }
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
    }

    private record Outcome(int status, String out, String err) {}

    private Outcome run(Path launcher, String... args) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of("sh", launcher.toString()));
        command.addAll(List.of(args));
        Path err = folder.resolve("err");
        ProcessBuilder builder = new ProcessBuilder(command).directory(folder.toFile()).redirectError(err.toFile());
        builder.environment().remove("JAVA_HOME"); // Maven sets it to the JDK that runs this test
        builder.environment().put("JAVA25_HOME", tree.resolve("jdk").toString());
        builder.environment().put("OCTET_JAVA_OPTS", "-Da=1 -Db=2");
        builder.environment().merge("PATH", "", (path, none) -> tree.resolve("bin") + ":" + path);
        Process process = builder.start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Outcome(process.waitFor(), out, Files.readString(err));
    }

    @Test
    void itIsValidForThePosixShell() throws IOException, InterruptedException {
        Process process = new ProcessBuilder("sh", "-n", LAUNCHER.toString()).redirectErrorStream(true).start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), out);
    }

    @Test
    void argumentsArriveAsTheyAreAndTheFlagsAreSet() throws IOException, InterruptedException {
        Outcome o = run(tree.resolve("octet"), "bench", "two words", "", "*");
        assertEquals(0, o.status(), o.err());
        assertEquals("", o.err());
        assertTrue(o.out().contains("<dev.octet.benchmarks.Main><bench><two words><><*>"), o.out());
        assertTrue(o.out().contains("<--add-modules><jdk.incubator.vector><--enable-native-access=ALL-UNNAMED>"),
                o.out());
        assertTrue(o.out().contains("<-Da=1><-Db=2>"), o.out());
        assertTrue(o.out().contains("<-cp><" + jar.toRealPath() + ":" + Files.readString(classPath) + ">"), o.out());
        assertTrue(o.out().endsWith(">" + folder.toRealPath() + "\n"), "the folder must not change: " + o.out());
    }

    @Test
    void itFindsItsTreeThroughSymbolicLinks() throws IOException, InterruptedException {
        Path first = Files.createSymbolicLink(folder.resolve("first"), Path.of("a tree", "octet"));
        Path links = Files.createDirectory(folder.resolve("links"));
        Path second = Files.createSymbolicLink(links.resolve("second"), Path.of("..").resolve(first.getFileName()));
        Outcome o = run(second, "info");
        assertEquals(0, o.status(), o.err());
        assertTrue(o.out().contains("<-Doctet.home=" + tree.toRealPath() + ">"), o.out());
    }

    @Test
    void itBuildsWhatIsOlderThanItsSourcesOnce() throws IOException, InterruptedException {
        Files.setLastModifiedTime(source, FileTime.from(Instant.now().plusMillis(10)));
        Thread.sleep(20);
        Outcome o = run(tree.resolve("octet"), "info");
        assertTrue(o.err().contains("mvn -B -q -f " + tree.toRealPath() + "/pom.xml -pl benchmarks -am"), o.err());
        assertFalse(o.out().contains("mvn"), "a build's output must not mix with the command's: " + o.out());
        assertEquals("", run(tree.resolve("octet"), "info").err());
    }

    @Test
    void itBuildsWhatIsMissing() throws IOException, InterruptedException {
        Files.delete(tree.resolve("library.jar"));
        assertTrue(run(tree.resolve("octet"), "info").err().contains("mvn "));
        Files.delete(classPath);
        assertTrue(run(tree.resolve("octet"), "info").err().contains("mvn "));
    }

    @Test
    void withoutAJdk25ItSaysWhatToInstall() throws IOException, InterruptedException {
        Path octet = tree.resolve("octet");
        Files.writeString(octet, Files.readString(octet)
                .replace("for prefix in /usr /opt \"${HOME:-/nonexistent}\"", "for prefix in /nonexistent")
                .replace("/Library/Java", "/nonexistent"));
        executable(tree.resolve("bin/java"), "echo '    java.home = " + tree.resolve("jdk") + "' >&2");
        Outcome found = run(octet, "info");
        assertEquals(0, found.status(), "by the java on the PATH: " + found.err());
        write("jdk/release", "JAVA_VERSION=\"17.0.9\"\n");
        Outcome o = run(octet, "info");
        assertEquals(1, o.status());
        assertEquals("octet: no JDK 25 found. Install one, for example Temurin 25, and set JAVA25_HOME to its folder.\n",
                o.err());
        assertEquals("", o.out());
    }

    @Test
    void withoutMavenItSaysSo() throws IOException, InterruptedException {
        Files.delete(classPath);
        Path octet = tree.resolve("octet");
        Files.writeString(octet, Files.readString(octet).replace("command -v mvn", "command -v no-such-maven"));
        Outcome o = run(octet, "info");
        assertEquals(1, o.status());
        assertTrue(o.err().startsWith("octet: mvn is not on the PATH"), o.err());
    }

    @Test
    void itsExitStatusIsThatOfTheCommand() throws IOException, InterruptedException {
        executable(tree.resolve("jdk/bin/java"), "exit 7");
        assertEquals(7, run(tree.resolve("octet"), "info").status());
    }

    @Test
    void aBuildThatFailsIsSaid() throws IOException, InterruptedException {
        Files.delete(classPath);
        executable(tree.resolve("bin/mvn"), "exit 1");
        Outcome o = run(tree.resolve("octet"), "info");
        assertEquals(1, o.status());
        assertTrue(o.err().contains("octet: the build failed"), o.err());
        assertEquals("", o.out());
    }
}
