package dev.octet.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.Octet;
import dev.octet.fp8.Fp8;
import dev.octet.mla.Mla;
import dev.octet.moe.Moe;
import java.io.File;
import java.io.IOException;
import java.io.StringWriter;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A user's module on the module path, with the flags that the README gives, in a JVM of its own. */
class ModulePathTest {
    private static final String MODULE = """
            module user {
                requires dev.octet.fp8;
                requires dev.octet.mla;
                requires dev.octet.moe;
            }
            """;
    private static final String MAIN = """
            package user;

            import dev.octet.core.*;
            import dev.octet.fp8.*;
            import dev.octet.mla.*;
            import dev.octet.moe.*;

            public class Main {
                public static void main(String[] args) {
                    Fp8 fp8 = Fp8.auto();
                    try (Tensor w = Tensor.of(new float[130 * 200], 130, 200);
                            ScaledTensor a = fp8.quantize(w, DType.F8_E4M3, Scaling.ACTIVATION);
                            ScaledTensor b = fp8.quantize(w, DType.F8_E4M3, Scaling.WEIGHT);
                            Tensor y = fp8.gemm(a, b, DType.BF16);
                            Tensor out = Tensor.allocate(DType.F32, y.shape());
                            Tensor weight = Tensor.allocate(DType.F32, Shape.of(130))) {
                        Mla.auto().rmsNorm(y, weight, 1e-6f, out);
                        Moe.auto().routerLogits(w, w, out);
                        System.out.println(y);
                    }
                    System.out.print(Octet.describe());
                }
            }
            """;

    @TempDir
    private Path folder;

    @Test
    void aModuleRunsWithTheFlagsOfTheReadme() throws Exception {
        List<String> path = modulePath();
        Path classes = compile(path);
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(flags());
        command.addAll(List.of("-p", classes + File.pathSeparator + String.join(File.pathSeparator, path), "-m",
                "user/user.Main"));
        Path err = folder.resolve("err");
        ProcessBuilder builder = new ProcessBuilder(command).redirectError(err.toFile());
        builder.environment().remove("JAVA_TOOL_OPTIONS");
        Process process = builder.start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), Files.readString(err));
        assertEquals("WARNING: Using incubator modules: jdk.incubator.vector", Files.readString(err).strip());
        assertTrue(out.startsWith("BF16 [130, 130] on cpu"), out);
        for (String part : List.of("fp8.gemm ", "mla.decode ", "moe.gate ", "-bit vectors")) {
            assertTrue(out.contains(part), () -> part + " is not in " + out);
        }
    }

    /** The two flags of the README's table, in its row on the module path. */
    private static List<String> flags() throws IOException {
        Path readme = Path.of(System.getProperty("basedir", "")).toAbsolutePath().resolveSibling("README.md");
        Matcher row = Pattern.compile("\\| module path[^|]*\\| `([^`]*)` \\| `([^`]*)` \\|")
                .matcher(Files.readString(readme));
        assertTrue(row.find(), "the row is there");
        return List.of((row.group(1) + " " + row.group(2)).split(" "));
    }

    private Path compile(List<String> path) throws IOException {
        Path source = Files.createDirectories(folder.resolve("user"));
        Path main = Files.writeString(source.resolve("Main.java"), MAIN);
        Path module = Files.writeString(folder.resolve("module-info.java"), MODULE);
        Path classes = folder.resolve("classes");
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StringWriter messages = new StringWriter();
        boolean compiled = compiler.getTask(messages, null, null,
                List.of("-proc:none", "-p", String.join(File.pathSeparator, path), "-d", classes.toString()), null,
                compiler.getStandardFileManager(null, null, null).getJavaFileObjects(main, module)).call();
        assertTrue(compiled, messages.toString());
        return classes;
    }

    /** Our modules, and the jars that mla needs. */
    private static List<String> modulePath() throws URISyntaxException {
        List<String> path = new ArrayList<>();
        for (Class<?> c : List.of(Octet.class, Fp8.class, Mla.class, Moe.class)) {
            path.add(Path.of(c.getProtectionDomain().getCodeSource().getLocation().toURI()).toString());
        }
        for (String jar : System.getProperty("java.class.path").split(File.pathSeparator)) {
            if (jar.contains("ejml")) {
                path.add(jar);
            }
        }
        return path;
    }
}
