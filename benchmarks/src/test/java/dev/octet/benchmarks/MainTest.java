package dev.octet.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;
import picocli.CommandLine.Model.OptionSpec;

class MainTest {
    private final StringWriter out = new StringWriter();
    private final StringWriter err = new StringWriter();

    private int run(String... args) {
        return Main.commandLine().setOut(new PrintWriter(out)).setErr(new PrintWriter(err)).execute(args);
    }

    @Test
    void everyCommandExplainsItselfAndItsOptions() {
        CommandLine main = Main.commandLine();
        assertTrue(main.getSubcommands().keySet()
                .containsAll(List.of("info", "bench", "demo", "latent", "kv", "route", "place")));
        main.getSubcommands().forEach((name, command) -> {
            assertEquals(0, run(name, "--help"), name);
            assertTrue(command.getUsageMessage().startsWith("Usage: octet " + name), command.getUsageMessage());
            assertTrue(command.getCommandSpec().usageMessage().description().length > 0, name);
            for (OptionSpec o : command.getCommandSpec().options()) {
                assertTrue(o.description().length > 0, () -> name + " " + o.longestName());
            }
        });
    }

    @Test
    void infoShowsThePathsAndThePeers() {
        assertEquals(0, run("info"));
        for (String part : new String[] {"cpu ", "vectors ", "threads ", "jvm ", "fp8.gemm", "fp8.quantize",
                "LibTorch"}) {
            assertTrue(out.toString().contains(part), () -> part + " is not in " + out);
        }
    }

    @Test
    void infoWithoutPeersDoesNotNameThem() {
        assertEquals(0, run("info", "--no-peers"));
        assertFalse(out.toString().contains("LibTorch"), out::toString);
    }

    @Test
    void withoutACommandThereIsAUsageError() {
        assertEquals(2, run());
        assertTrue(err.toString().contains("octet needs a command"), err::toString);
    }

    @Test
    void anUnknownFilterNamesWhatThereIs() {
        assertEquals(2, run("bench", "gemn"));
        assertTrue(err.toString().contains("no benchmark matches 'gemn'"), err::toString);
        assertTrue(err.toString().contains("gemm.fprop") && err.toString().contains("quantize.1x128"), err::toString);
    }

    @Test
    void aFilterChoosesByTheBeginningOfNames() {
        assertEquals(0, run("bench", "quantize", "--list"));
        assertTrue(out.toString().lines().allMatch(l -> l.startsWith("quantize.")), out::toString);
        assertTrue(out.toString().contains("quantize.128x128"), out::toString);
        out.getBuffer().setLength(0);
        assertEquals(0, run("bench", "gemm.fprop", "--list", "--m", "3,7", "--shapes", "64x128", "--threads", "1,2"));
        assertEquals("gemm.fprop backend=cpu threads=2 m=3 n=64 k=128\n"
                + "gemm.fprop backend=cpu threads=2 m=7 n=64 k=128\n",
                out.toString());
    }

    @Test
    void aListTellsHowLongItWouldTake() {
        assertEquals(0, run("bench", "gemm.fprop", "--list", "--m", "1", "--shapes", "64x128", "--threads", "2"));
        assertTrue(err.toString().matches("octet: 1 case, with limits and peers about [1-9][0-9]* s\\R"), err::toString);
    }

    @ParameterizedTest
    @ValueSource(strings = {"--m=0", "--m=x", "--shapes=12", "--shapes=0x5", "--threads=0", "--threads=2000",
            "--forks=0", "--backend=nosuch", "--nosuch"})
    void wrongOptionsAreUsageErrors(String option) {
        assertEquals(2, run("bench", "gemm", option));
        assertTrue(err.toString().contains(option.substring(0, Math.max(option.indexOf('='), 3))), err::toString);
    }

    @Test
    void aPatternThatIsNoneIsAUsageError() {
        assertEquals(2, run("bench", "gemm("));
        assertTrue(err.toString().contains("no regular expression"), err::toString);
    }

    @ParameterizedTest
    @ValueSource(strings = {"--summary", "--raw", "--report"})
    void whatCantBeWrittenIsKnownBeforeAnythingIsMeasured(String option, @TempDir Path folder) throws IOException {
        Path file = Files.writeString(folder.resolve("file"), "");
        assertEquals(1, run("bench", "gemm.fprop", "--quick", "--no-peer", "--m", "1", "--shapes", "64x128", option,
                file.resolve("below").toString()));
        assertEquals("octet: " + option + ": " + file + " is a file, a folder is needed there",
                err.toString().strip());
    }

    @Test
    void aFolderIsNoFileToWrite(@TempDir Path folder) {
        assertEquals(1, run("bench", "gemm.fprop", "--quick", "--no-peer", "--m", "1", "--shapes", "64x128",
                "--summary", folder.toString()));
        assertEquals("octet: --summary: " + folder + " is a folder, it takes a file", err.toString().strip());
    }

    @ParameterizedTest
    @CsvSource({"kv,--config", "route,--config", "place,--loads"})
    void aFileThatIsNotThereIsNamed(String command, String option, @TempDir Path folder) {
        Path file = folder.resolve("none");
        assertEquals(1, run(command, option, file.toString()));
        assertEquals("octet: " + option + ": " + file + " does not exist", err.toString().strip());
    }

    @ParameterizedTest
    @CsvSource({"kv,--config", "route,--config", "place,--loads"})
    void aFolderIsNoFileToRead(String command, String option, @TempDir Path folder) {
        assertEquals(1, run(command, option, folder.toString()));
        assertTrue(err.toString().contains(option + ": " + folder), err::toString);
        assertTrue(err.toString().contains("directory"), err::toString);
    }

    @Test
    void nothingIsWrittenWhenOptionsAreWrong(@TempDir Path folder) {
        Path file = folder.resolve("summary.json");
        assertEquals(2, run("bench", "nosuch", "--summary", file.toString()));
        assertFalse(Files.exists(file));
    }
}
