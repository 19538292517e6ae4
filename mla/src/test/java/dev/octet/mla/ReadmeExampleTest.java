package dev.octet.mla;

import dev.octet.core.PageExample;
import dev.octet.core.Tensor;
import dev.octet.fp8.Fp8;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The example of this module's page is compiled, run, and prints what the page says. */
class ReadmeExampleTest {
    @Test
    void exampleRunsAndPrintsWhatThePageSays(@TempDir Path folder) throws Exception {
        String page = Files.readString(Path.of(System.getProperty("basedir", "")).resolve("README.md"));
        PageExample.of(page).runs(folder, Tensor.class, Fp8.class, Mla.class);
    }
}
