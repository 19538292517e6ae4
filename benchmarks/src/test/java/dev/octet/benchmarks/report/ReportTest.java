package dev.octet.benchmarks.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.benchmarks.probe.Witness;
import dev.octet.benchmarks.suite.Json;
import dev.octet.benchmarks.suite.TinyRun;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.regex.Pattern;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ReportTest {
    @Test
    void aReportIsMadeFromTheFilesOfARun(@TempDir Path folder) throws IOException {
        Files.writeString(folder.resolve(Report.RAW), TinyRun.JSON);
        Files.writeString(folder.resolve(Report.RUN), Json.write(Map.of("command", "./octet bench 'a|b'")));
        Report.write(folder);
        String page = Files.readString(folder.resolve(Report.PAGE));
        assertTrue(page.contains("| command | `./octet bench 'a\\|b'` |"), page);
        assertTrue(page.contains("## Bars"), page);
        assertTrue(page.contains("| gemm.fprop M=1 192x256, 1 thread | of read bandwidth | "), page);
        assertTrue(page.contains(" | 0.85 | **missed** |"), page);
        assertTrue(page.contains("| gemm.fprop M=128 192x256, 2 threads | times one thread | "), page);
        assertTrue(page.contains("### N x K = 192x256"), page);
        assertTrue(page.contains("| gemm.fprop | 128 | 2 | "), page);
        assertTrue(page.contains("### Threads"), page);
        assertTrue(page.contains("| quantize.1x128 | 128 | 256 | BF16 | 1 | "), page);
        assertTrue(page.contains("| 1 | BF16 | 1 | 8192 | 1 | "), page);
        assertTrue(page.contains("| 1 | 8192 | BF16 | 9.437 | 5.243 | "), page);
        assertTrue(page.contains("| mla.prefill | 2 | 16 | F32 | 1 | "), page);
        assertTrue(page.contains("| mla.compress | 704 | 256 | 1 | "), page);
        assertTrue(page.contains("| mla.absorb | 65 | 1 | UK | 1 | "), page);
        assertTrue(page.contains("![Decoding](mla-decode.png)"), page);
        if (Witness.isThere()) {
            assertTrue(Pattern.compile("of \\d+ iterations, those of limits and peers included, \\d+ had a witness")
                    .matcher(page).find(), page);
            // Two iterations, of which both count: one is too few to leave the other out.
            assertTrue(Pattern.compile("\\| gemm\\.fprop \\| 128 \\| 2 \\| .* \\| [24] of [24](, \\*\\*disturbed\\*\\*)? \\|")
                    .matcher(page).find(), page);
        }
        assertTrue(hasColour(ImageIO.read(folder.resolve("mla-decode.png").toFile()), 0x2ca02c), "an empty plot");
        for (String file : new String[] {"gemm-192x256.png", "gemm-weights.png", "quantize.png"}) {
            assertTrue(page.contains("](" + file + ")"), page);
            BufferedImage image = ImageIO.read(folder.resolve(file).toFile());
            assertTrue(hasColour(image, 0x1f77b4), file + " shows nothing of Octet");
        }
        Report.write(folder);
        assertEquals(page, Files.readString(folder.resolve(Report.PAGE)));
    }

    @Test
    void resultsWithoutWitnessesSayNothingOfThem(@TempDir Path folder) throws IOException {
        Files.writeString(folder.resolve(Report.RAW), TinyRun.JSON.replace("\"witness.", "\"other."));
        Files.writeString(folder.resolve(Report.RUN), "{}");
        Report.write(folder);
        String page = Files.readString(folder.resolve(Report.PAGE));
        assertFalse(page.contains("witness"), page);
        assertFalse(page.contains("disturbed"), page);
        assertTrue(page.contains("| gemm.fprop | 128 | 2 | "), page);
    }

    private static boolean hasColour(BufferedImage image, int rgb) {
        for (int y = 0; y < image.getHeight(); y++) {
            for (int x = 0; x < image.getWidth(); x++) {
                if ((image.getRGB(x, y) & 0xffffff) == rgb) {
                    return true;
                }
            }
        }
        return false;
    }
}
