package dev.octet.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

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
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.ToolProvider;

/** The first example of a page: a block of Java, a class {@code Example}, and behind it a block of what it prints. */
public record PageExample(String source, String output) {
    /** {@return the example of a page, which must have one} */
    public static PageExample of(String page) {
        Matcher m = Pattern.compile("```java\n(.*?)```\n+```\n(.*?)```", Pattern.DOTALL).matcher(page);
        assertTrue(m.find(), "an example and its output");
        return new PageExample(m.group(1), m.group(2));
    }

    /**
     * Compiles the example, runs it, and compares what it prints with what the page says.
     *
     * @param folder an empty folder
     * @param modules a class of each module that the example may use
     */
    public void runs(Path folder, Class<?>... modules) throws Exception {
        Path file = Files.writeString(folder.resolve("Example.java"), source);
        List<String> classPath = new ArrayList<>();
        for (Class<?> c : modules) {
            classPath.add(Path.of(c.getProtectionDomain().getCodeSource().getLocation().toURI()).toString());
        }
        StringWriter messages = new StringWriter();
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        boolean compiled = compiler.getTask(messages, null, null,
                List.of("-proc:none", "-cp", String.join(File.pathSeparator, classPath)), null,
                compiler.getStandardFileManager(null, null, null).getJavaFileObjects(file)).call();
        assertTrue(compiled, messages.toString());
        assertEquals(output, printed(folder));
    }

    private static String printed(Path folder) throws Exception {
        PrintStream before = System.out;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        try (URLClassLoader loader = new URLClassLoader(new URL[] {folder.toUri().toURL()},
                PageExample.class.getClassLoader())) {
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
