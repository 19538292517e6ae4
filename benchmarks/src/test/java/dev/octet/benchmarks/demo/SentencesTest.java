package dev.octet.benchmarks.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SentencesTest {
    @TempDir
    Path folder;

    private Path file(byte... bytes) throws IOException {
        return Files.write(folder.resolve("text.txt"), bytes);
    }

    private void assertRefused(String part, Path file) {
        String message = assertThrows(IOException.class, () -> Sentences.read(file)).getMessage();
        assertTrue(message.startsWith(file.toString()) && message.contains(part), message);
    }

    @Test
    void readsOneSentenceALine() throws IOException {
        Path f = Files.writeString(folder.resolve("a"), "\uFEFFOne. \r\n\n  \t \n  Zwei, drei – vier.\n終わり");
        assertEquals(List.of("One.", "Zwei, drei – vier.", "終わり"), Sentences.read(f));
    }

    @Test
    void saysWhatIsWrongWithAFile() throws IOException {
        assertRefused("does not exist", folder.resolve("nothing.txt"));
        assertRefused("is a folder", folder);
        assertRefused("is empty", file());
        assertRefused("only blank lines", file((byte) '\n', (byte) ' ', (byte) '\n'));
        assertRefused("not UTF-8 text: line 2, byte 3 of the file is 0xE9",
                file((byte) 'a', (byte) '\n', (byte) 'b', (byte) 0xE9, (byte) 'c', (byte) '\n'));
        assertRefused("not UTF-8 text: line 1, byte 1 of the file is 0xE2", file((byte) 'a', (byte) 0xE2, (byte) 0x82));
    }

    @Test
    void builtInSentencesArePairs() {
        assertEquals(16, Sentences.BUILT_IN.size());
        assertEquals(16, Sentences.BUILT_IN.stream().distinct().count());
    }
}
