package dev.octet.benchmarks.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.benchmarks.CommandFailure;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import javax.imageio.ImageIO;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/** The command as a user runs it. */
class LatentCommandTest {
    @TempDir
    Path folder;

    private final StringWriter out = new StringWriter();
    private final StringWriter err = new StringWriter();
    private @Nullable Exception failure;

    private int run(String... args) {
        return new CommandLine(new LatentCommand())
                .setCaseInsensitiveEnumValuesAllowed(true)
                .setOut(new PrintWriter(out))
                .setErr(new PrintWriter(err))
                .setExecutionExceptionHandler((e, command, parsed) -> {
                    failure = e;
                    return 1;
                })
                .execute(args);
    }

    @Test
    void printsTheTablesAndWritesTheReport() throws Exception {
        Path report = folder.resolve("new/report");
        assertEquals(0, run("--ranks", "384,64", "--report", report.toString()));
        assertEquals("", err.toString(), "nothing but the tables in a pipe");
        out.toString().lines().forEach(l -> assertTrue(l.codePointCount(0, l.length()) <= 112, l));
        for (String part : List.of("72 sentences", "36 other sentences", "against 9216 B per token",
                "   64      768   12.0", "  384     4608    2.0", "Output error by layer", "layer 6", "In short")) {
            assertTrue(out.toString().contains(part), part + " is missing in:\n" + out);
        }
        assertFalse(out.toString().contains("NaN") || out.toString().contains("Infinity"), out.toString());
        String page = Files.readString(report.resolve("report.md"));
        assertTrue(page.contains("| command | `./octet --ranks 384,64 --report"), page);
        assertTrue(page.contains(out.toString()), page);
        List<String> csv = Files.readAllLines(report.resolve("latent.csv"));
        assertEquals(1 + 2 * 7 * 2, csv.size());
        csv.forEach(l -> assertEquals(11, l.chars().filter(c -> c == ',').count(), l));
        assertEquals(900, ImageIO.read(report.resolve("latent.png").toFile()).getWidth());
    }

    @Test
    void showsOneLayerInFp32() throws Exception {
        Path plot = folder.resolve("one.png");
        assertEquals(0, run("--ranks", "384", "--layer", "2", "--cache", "f32", "--weighting", "plain", "--plot",
                plot.toString(), "--report", folder.toString()));
        out.toString().lines().forEach(l -> assertTrue(l.codePointCount(0, l.length()) <= 112, l));
        assertTrue(out.toString().contains("Layer 2, against 3072 B per token"), out.toString());
        assertTrue(out.toString().contains("calc_diff") && !out.toString().contains("layer 6"), out.toString());
        assertTrue(ImageIO.read(plot.toFile()).getHeight() > 100);
        List<String> csv = Files.readAllLines(folder.resolve("latent.csv"));
        assertEquals(3, csv.size());
        assertTrue(csv.get(2).startsWith("activation-aware,2,384,1536,3072,"), csv.get(2));
    }

    @Test
    void wrongOptionsAreUsageErrors() {
        for (String option : List.of("--ranks=0", "--ranks=385", "--ranks=x", "--layer=0", "--layer=7", "--ridge=-1",
                "--ridge=NaN", "--cache=f16", "--weighting=none", "--plot=file.svg")) {
            assertEquals(2, run(option), option);
            assertTrue(err.toString().contains(option.substring(0, option.indexOf('='))), err::toString);
            err.getBuffer().setLength(0);
        }
        assertEquals("", out.toString());
    }

    @Test
    void aFileThatCantBeWrittenIsNamed() throws Exception {
        Path file = Files.writeString(folder.resolve("file"), "");
        assertEquals(1, run("--ranks", "8", "--plot", file.resolve("a.png").toString()));
        assertTrue(failure instanceof CommandFailure && String.valueOf(failure.getMessage()).contains("file"),
                String.valueOf(failure));
    }
}
