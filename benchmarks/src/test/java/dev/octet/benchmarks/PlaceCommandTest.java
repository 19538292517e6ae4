package dev.octet.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PlaceCommandTest extends CommandTest {
    PlaceCommandTest() {
        super("place");
    }

    private List<List<String>> rows(String beginning) {
        return out.toString().lines().filter(l -> l.startsWith(beginning)).map(l -> List.of(l.split(" {2,}"))).toList();
    }

    @Test
    void thePublishedExample() {
        assertEquals(0, run());
        assertEquals("12 experts in 16 places, 2 on each of 8 GPUs in 2 nodes; each of 4 groups on one node",
                out.toString().lines().findFirst().orElseThrow());
        assertEquals(List.of("5 6", "5 7", "8 4", "3 4", "10 9", "10 2", "0 1", "11 1", "7 10", "6 8", "6 11", "8 9",
                "2 4", "5 1", "5 0", "3 1"), rows("node ").stream().map(List::getLast).toList());
        assertEquals(List.of("node 0, GPU 2", "269.0", "4 5", "125.0", "8 4"), rows("node 0, GPU 2").getFirst());
        assertEquals(List.of("largest over mean", "2.083", "1.208"), rows("largest").getFirst());
        assertEquals(List.of("largest over mean", "2.381", "1.242"), rows("largest").getLast());
    }

    @Test
    void aFileOfLoads(@TempDir Path folder) throws IOException {
        Path file = Files.writeString(folder.resolve("loads"), "# made up\n\n 8, 1,1\t1 1 1\n");
        assertEquals(0, run("--loads", file.toString(), "--gpus", "2", "--nodes", "1"), err::toString);
        assertEquals(List.of("layer 0", "in order", "experts", "by load", "experts"), rows("layer").getFirst());
        assertEquals(List.of("node 0, GPU 0", "10.0", "0 1 2", "10.0", "0 4 5"), rows("node").getFirst(),
                "three experts each: nothing to gain");
        assertEquals(0, run("--loads", file.toString(), "--gpus", "2", "--nodes", "1", "--replicas", "8"));
        // three replicas of 8/3: the first GPU ends with two of them and two of 1, of 13 in all
        assertEquals(List.of("largest over mean", "1.000", "1.128"), rows("largest").getFirst());
        assertTrue(out.toString().contains("; no groups"), out::toString);
        assertEquals(0, run("--loads", file.toString(), "--gpus", "4", "--groups", "3"));
        assertTrue(out.toString().startsWith("6 experts in 8 places, 2 on each of 4 GPUs in 2 nodes; groups may"),
                out::toString);
    }

    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {"'1 2\n3 x'; line 2: 'x' is no number", "'1 -2'; load -2 must be",
        "'1 NaN'; load NaN must be", "'1 1e999'; load 1e999 must be",
        "'1 2\n\n1'; line 3: 1 loads, the first layer has 2",
        "'# 1'; has no loads", "''; has no loads"})
    void aWrongFileIsNamedWithTheLine(String text, String message, @TempDir Path folder) throws IOException {
        Path file = Files.writeString(folder.resolve("loads"), text);
        assertEquals(1, run("--loads", file.toString()));
        assertTrue(err.toString().startsWith("octet: --loads: " + file), err::toString);
        assertTrue(err.toString().contains(message), err::toString);
        assertFalse(err.toString().contains("\tat "), err::toString);
        assertEquals("", out.toString());
    }

    @Test
    void aFileThatIsNoTextIsRefused(@TempDir Path folder) throws IOException {
        Path file = Files.write(folder.resolve("loads"), new byte[] {'1', (byte) 0xff});
        assertEquals(1, run("--loads", file.toString()));
        assertTrue(err.toString().contains("no text in UTF-8"), err::toString);
        assertEquals(1, run("--loads", folder.toString()));
        assertFalse(err.toString().contains("\tat "), err::toString);
    }

    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {"--replicas=11; replicas is 11", "--replicas=17; gpus is 8",
        "--groups=5; groups is 5", "--nodes=3; nodes is 3", "--gpus=0; gpus is 0", "--gpus=x; --gpus",
        "more; more"})
    void wrongOptionsAreUsageErrors(String option, String part) {
        assertEquals(2, run(option));
        assertTrue(err.toString().contains(part), err::toString);
        assertFalse(err.toString().contains("\tat "), err::toString);
        assertEquals("", out.toString());
    }
}
