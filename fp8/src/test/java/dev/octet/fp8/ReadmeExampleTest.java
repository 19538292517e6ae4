package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.PageExample;
import dev.octet.core.Tensor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
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
        PageExample.of(readme).runs(folder, Tensor.class, Fp8.class);
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
        assertEquals(15, PageExample.of(readme).source().lines().count());
    }

    @Test
    void versionIsTheOneOfThePom() throws Exception {
        Matcher version = Pattern.compile("<version>(.*?)</version>")
                .matcher(Files.readString(module().resolveSibling("pom.xml")));
        assertTrue(version.find());
        assertTrue(readme.contains("<version>" + version.group(1) + "</version>"), version.group(1));
    }
}
