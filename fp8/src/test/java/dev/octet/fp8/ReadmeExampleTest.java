package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.Tensor;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.PrintStream;
import java.io.StringWriter;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The README's example is compiled, run, and prints what the README says; so are its other facts that can go stale. */
@Tag("backend")
class ReadmeExampleTest {
    private static final int K = 7168;

    private static String readme;

    @BeforeAll
    static void read() throws Exception {
        readme = Files.readString(module().resolveSibling("README.md"));
    }

    private static Path module() {
        return Path.of(System.getProperty("basedir", "")).toAbsolutePath();
    }

    @Test
    void exampleRunsAndPrintsWhatTheReadmeSays(@TempDir Path folder) throws Exception {
        Matcher m = Pattern.compile("```java\n(.*?)```\n+```\n(.*?)```", Pattern.DOTALL).matcher(readme);
        assertTrue(m.find(), "an example and its output");
        Path source = Files.writeString(folder.resolve("Example.java"), m.group(1));
        StringWriter messages = new StringWriter();
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        boolean compiled = compiler.getTask(messages, null, null,
                List.of("-proc:none", "-cp", placeOf(Tensor.class) + File.pathSeparator + placeOf(Fp8.class)), null,
                compiler.getStandardFileManager(null, null, null).getJavaFileObjects(source)).call();
        assertTrue(compiled, messages.toString());
        assertEquals(m.group(2), run(folder));
    }

    private static Path placeOf(Class<?> c) throws Exception {
        return Path.of(c.getProtectionDomain().getCodeSource().getLocation().toURI());
    }

    private static String run(Path folder) throws Exception {
        PrintStream before = System.out;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        try (URLClassLoader loader = new URLClassLoader(new URL[] {folder.toUri().toURL()},
                ReadmeExampleTest.class.getClassLoader())) {
            Class<?> example = loader.loadClass("Example");
            var constructor = example.getDeclaredConstructor();
            constructor.setAccessible(true);
            Method main = example.getDeclaredMethod("main");
            main.setAccessible(true);
            System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
            main.invoke(constructor.newInstance());
        } finally {
            System.setOut(before);
        }
        return printed.toString(StandardCharsets.UTF_8).replace(System.lineSeparator(), "\n");
    }

    @Test
    void exactValueIsTheOneInTheReadme() {
        double exact = 0;
        for (int k = 0; k < K; k++) {
            exact += (double) (float) Math.sin(3 * K + k) * (float) Math.sin(575 * K + k);
        }
        String sentence = String.format(Locale.ROOT, "Without FP8 it would be %.2f.", exact);
        assertTrue(readme.contains(sentence), sentence);
    }

    @Test
    void exampleHasFifteenLines() {
        Matcher m = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL).matcher(readme);
        assertTrue(m.find());
        assertEquals(15, m.group(1).lines().count());
    }

    @Test
    void versionIsTheOneOfThePom() throws Exception {
        Matcher version = Pattern.compile("<version>(.*?)</version>")
                .matcher(Files.readString(module().resolveSibling("pom.xml")));
        assertTrue(version.find());
        assertTrue(readme.contains("<version>" + version.group(1) + "</version>"), version.group(1));
    }

    @Test
    void linksLeadSomewhere() {
        Matcher link = Pattern.compile("\\]\\(([^):#]+)(#[^)]*)?\\)").matcher(readme);
        int links = 0;
        while (link.find()) {
            assertTrue(Files.exists(module().resolveSibling(link.group(1))), link.group(1));
            links++;
        }
        assertTrue(links > 5, "links found: " + links);
    }
}
