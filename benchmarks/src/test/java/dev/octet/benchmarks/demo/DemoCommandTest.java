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
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/** The command as a user runs it. */
class DemoCommandTest {
    @TempDir
    Path folder;

    private final StringWriter out = new StringWriter();
    private final StringWriter err = new StringWriter();
    private @Nullable Exception failure;

    private int run(String... args) {
        return new CommandLine(new DemoCommand())
                .setOut(new PrintWriter(out))
                .setErr(new PrintWriter(err))
                .setExecutionExceptionHandler((e, command, parsed) -> {
                    failure = e;
                    return 1;
                })
                .execute(args);
    }

    private void assertFits() {
        assertEquals("", err.toString(), "nothing but the table in a pipe");
        out.toString().lines().forEach(l -> assertTrue(l.codePointCount(0, l.length()) <= 112, l));
    }

    @Test
    void printsEverySection() {
        assertEquals(0, run("--seconds", "0.01", "--pairs", "3"));
        assertFits();
        String text = out.toString();
        for (String part : List.of("16 sentences (213 tokens)", "Does FP8 change the meaning?", "mean 0.99",
                "Does FP8 change the ranking?", "rank correlation", "How the error grows", "layer 6",
                "linear layers             42.47     10.62", "Sentences per second", "one by one")) {
            assertTrue(text.contains(part), part + " is missing in:\n" + text);
        }
        assertFalse(text.contains("NaN") || text.contains("Infinity"), text);
    }

    @Test
    void takesOwnSentences() throws Exception {
        Path file = Files.writeString(folder.resolve("own.txt"), """
                Ein Satz \u001b[31mmit Steuerzeichen.

                %s
                短い文
                """.formatted("very ".repeat(400)));
        assertEquals(0, run("--sentences", file.toString(), "--seconds", "0"));
        assertFits();
        String text = out.toString();
        assertTrue(text.contains("3 sentences"), text);
        assertTrue(text.contains("longer than 256 tokens, only the beginning is encoded: sentence 2"), text);
        assertFalse(text.contains("\u001b"), "control characters reach no terminal");
        assertFalse(text.contains("Sentences per second"), text);
    }

    @Test
    void oneSentenceIsEnough() throws Exception {
        Path file = Files.writeString(folder.resolve("one.txt"), "Only one.\n");
        assertEquals(0, run("--sentences", file.toString(), "--seconds", "0"));
        assertFits();
        assertTrue(out.toString().contains("1 sentence (5 tokens)"), out.toString());
        assertFalse(out.toString().contains("NaN"), out.toString());
        assertFalse(out.toString().contains("ranking"), out.toString());
    }

    @Test
    void manySentencesAreListedByTheirLoss() throws Exception {
        Path file = Files.writeString(folder.resolve("many.txt"), "This is line number one.\nAnother line.\n".repeat(15));
        assertEquals(0, run("--sentences", file.toString(), "--seconds", "0"));
        assertFits();
        assertTrue(out.toString().contains("30 sentences: mean"), out.toString());
        assertTrue(out.toString().contains("listed are the 20 least"), out.toString());
    }

    @Test
    void failuresNameTheRemedy() {
        assertFailure("does not exist", "--sentences", folder.resolve("nothing").toString());
        assertFailure("backend 'abacus' is not there", "--backend", "abacus");
        assertEquals(2, run("--pairs", "-1"));
        assertEquals(2, run("--seconds", "NaN"));
        assertEquals("", out.toString());
    }

    private void assertFailure(String part, String... args) {
        assertEquals(1, run(args));
        assertTrue(failure instanceof CommandFailure && String.valueOf(failure.getMessage()).contains(part),
                String.valueOf(failure));
    }
}
