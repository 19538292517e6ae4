package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.Tensor;
import dev.octet.fp8.Fp8;
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
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The example of this module's page is compiled, run, and prints what the page says. */
class ReadmeExampleTest {
    @Test
    void exampleRunsAndPrintsWhatThePageSays(@TempDir Path folder) throws Exception {
        String readme = Files.readString(Path.of(System.getProperty("basedir", "")).resolve("README.md"));
        Matcher m = Pattern.compile("```java\n(.*?)```\n+```\n(.*?)```", Pattern.DOTALL).matcher(readme);
        assertTrue(m.find(), "an example and its output");
        Path source = Files.writeString(folder.resolve("Example.java"), m.group(1));
        StringWriter messages = new StringWriter();
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        String classPath = String.join(File.pathSeparator, placeOf(Tensor.class), placeOf(Fp8.class),
                placeOf(Mla.class));
        boolean compiled = compiler.getTask(messages, null, null, List.of("-proc:none", "-cp", classPath), null,
                compiler.getStandardFileManager(null, null, null).getJavaFileObjects(source)).call();
        assertTrue(compiled, messages.toString());
        assertEquals(m.group(2), run(folder));
    }

    private static String placeOf(Class<?> c) throws Exception {
        return Path.of(c.getProtectionDomain().getCodeSource().getLocation().toURI()).toString();
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
}
