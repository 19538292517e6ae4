package dev.octet.benchmarks.demo;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;

/** The text that the demo encodes: its own, or a file with one sentence a line. */
final class Sentences {
    /** Eight pairs that say the same in other words; what a good encoder must find. */
    static final List<String> BUILT_IN = List.of(
            "A man is playing the guitar on a busy street corner.",
            "A street musician strums his guitar for passers-by.",
            "The recipe calls for two cups of flour and a pinch of salt.",
            "Mix the flour with a little salt before you add the eggs.",
            "The central bank raised interest rates by half a percentage point.",
            "Borrowing money became more expensive after the rate increase.",
            "My laptop's battery dies after less than an hour.",
            "The notebook runs out of power far too quickly.",
            "Heavy rain flooded the valley and closed the railway line.",
            "Trains are cancelled because the tracks are under water.",
            "How do I reset my password?",
            "I forgot my login and can't get into my account.",
            "The telescope found a planet circling a distant star.",
            "Astronomers discovered a new world outside our solar system.",
            "Our cat sleeps all day on the warm windowsill.",
            "The kitten naps in the sunshine by the window.");

    private Sentences() {}

    /**
     * Reads sentences, one a line; blank lines are skipped, a byte order mark too.
     *
     * @param file UTF-8 text
     * @return at least one sentence, without surrounding space
     * @throws IOException if the file can't be read, is not UTF-8 or holds no sentence; the message is for the user
     */
    static List<String> read(Path file) throws IOException {
        byte[] bytes;
        try {
            if (Files.isDirectory(file)) {
                throw new IOException(file + " is a folder; a text file with one sentence a line is needed");
            }
            bytes = Files.readAllBytes(file);
        } catch (NoSuchFileException e) {
            throw new IOException(file + " does not exist", e);
        } catch (java.nio.file.FileSystemException e) {
            throw new IOException(file + " can't be read: " + e.getReason(), e);
        } catch (OutOfMemoryError e) {
            throw new IOException(file + " is too large to read: it has " + Files.size(file) + " bytes", e);
        }
        String text = decode(file, bytes);
        List<String> sentences = text.lines().map(String::strip).filter(s -> !s.isEmpty()).toList();
        if (sentences.isEmpty()) {
            throw new IOException(file + (bytes.length == 0 ? " is empty" : " has only blank lines")
                    + "; one sentence a line is needed");
        }
        return sentences;
    }

    /** The sentences that {@code octet latent} takes activations from, one a line of a file beside this class. */
    static List<String> forLatents() throws IOException {
        try (InputStream in = Sentences.class.getResourceAsStream("latent-sentences.txt")) {
            if (in == null) {
                throw new IOException("latent-sentences.txt is not on the class path");
            }
            return new String(in.readAllBytes(), StandardCharsets.UTF_8).lines().toList();
        }
    }

    private static String decode(Path file, byte[] bytes) throws IOException {
        CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder()
                .onMalformedInput(CodingErrorAction.REPORT)
                .onUnmappableCharacter(CodingErrorAction.REPORT);
        ByteBuffer in = ByteBuffer.wrap(bytes);
        CharBuffer out = CharBuffer.allocate(bytes.length); // UTF-8 never decodes to more chars than it has bytes
        CoderResult result = decoder.decode(in, out, true);
        if (result.isError()) {
            int line = 1;
            for (int i = 0; i < in.position(); i++) {
                line += bytes[i] == '\n' ? 1 : 0;
            }
            throw new IOException(file + " is not UTF-8 text: line " + line + ", byte " + in.position()
                    + " of the file is 0x" + String.format("%02X", bytes[in.position()]));
        }
        String text = out.flip().toString();
        return text.startsWith("\uFEFF") ? text.substring(1) : text;
    }
}
