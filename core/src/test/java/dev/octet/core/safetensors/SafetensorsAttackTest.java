package dev.octet.core.safetensors;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.IntFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Files that break one rule each: every one is refused by name and place, and none costs memory. */
class SafetensorsAttackTest {
    private static final List<Attack> ATTACKS = Attack.ALL;
    /** What opening takes whatever the file is: the channel, the mapping, the exception and its message. */
    private static final long CONSTANT = 32 << 10;
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    @TempDir
    Path folder;

    @ParameterizedTest
    @FieldSource("ATTACKS")
    void isRefused(Attack attack) throws IOException {
        Path file = Files.write(folder.resolve(attack.name() + ".safetensors"), attack.bytes());
        SafetensorsException e = refused(file);
        assertTrue(e.getMessage().startsWith(file.toString()), e.getMessage());
        assertTrue(e.getMessage().contains(attack.fault()), e.getMessage());
        assertTrue(e.getMessage().length() < file.toString().length() + 1500, e.getMessage());
        assertTrue(e.position() >= 0 && e.position() <= attack.bytes().length, e.getMessage());
        assertTrue(e.getMessage().contains("byte " + e.position()), e.getMessage());
        assertEquals(file, e.file());
        assertAllocatesLittle(file, attack.bytes().length);
    }

    /** Many small things, and the fault comes last: what was read until then must not have cost more than its bytes. */
    static List<Attack> large() {
        int n = 50_000;
        return List.of(
                new Attack("tensors-then-garbage", Attack.file("{" + list(n, i -> zero("t" + i)) + ",!", 0), "a key"),
                new Attack("tensors-then-a-duplicate", Attack.file("{" + list(n, i -> zero("t" + i)) + ","
                        + zero("t777") + "}", 0), "'t777' occurs twice"),
                new Attack("tensors-then-trailing-bytes", Attack.file("{" + list(n, i -> zero("t" + i)) + "}", 1),
                        "1 trailing bytes"),
                new Attack("smallest-tensors", Attack.file("{" + list(n, i -> "\"\":{\"dtype\":\"\",\"shape\":[],"
                        + "\"data_offsets\":[0,0]}") + "}", 0), "'' occurs twice"),
                new Attack("metadata-then-a-duplicate", Attack.file("{\"__metadata__\":{"
                        + list(10 * n, i -> "\"" + i + "\":\"\"") + ",\"5\":\"\"}}", 0), "'5' occurs twice"),
                new Attack("smallest-metadata", Attack.file("{\"__metadata__\":{"
                        + list(10 * n, i -> "\"\":\"\"") + "}}", 0), "'' occurs twice"),
                new Attack("long-name", Attack.file("{\"" + "n".repeat(1 << 20) + "\":{}}", 0), "dtype is missing"),
                new Attack("long-names-that-share-a-beginning", Attack.file("{" + list(50, i -> zero("n".repeat(20_000)
                        + i % 49)) + "}", 0), "occurs twice"),
                new Attack("long-unknown-field", Attack.file("{\"a\":{\"" + "\u4f60".repeat(1 << 20) + "\":1}}", 0),
                        "no field"),
                new Attack("long-unknown-dtype", Attack.file("{\"a\":{\"dtype\":\"" + "U".repeat(1 << 20)
                        + "\",\"shape\":[],\"data_offsets\":[0,1]}}", 2), "1 trailing bytes"));
    }

    @ParameterizedTest
    @MethodSource("large")
    void largeOnesCostNoMoreThanTheirBytes(Attack attack) throws IOException {
        isRefused(attack);
    }

    @Test
    void headerAboveTheLimitIsRefusedThoughTheFileHasIt() throws IOException {
        Path file = folder.resolve("sparse.safetensors");
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            f.write(Attack.length(100_000_001));
            f.write('{');
            f.setLength(200_000_000);
        }
        assertTrue(refused(file).getMessage().contains("at most 100000000"));
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            f.write(Attack.length(100_000_000));
        }
        assertTrue(refused(file).getMessage().contains("byte 9: byte 0x00"), refused(file).getMessage());
        assertAllocatesLittle(file, 0);
    }

    @Test
    void messagesNameTheTensorAndTheByte() throws IOException {
        String header = "{" + Attack.entry("x", "U8", "[1]", "[0,1]") + ","
                + Attack.entry("model.layers.0.weight", "F32", "[2,2]", "[1,5]") + "}";
        Path file = Files.write(folder.resolve("f.safetensors"), Attack.file(header, 5));
        SafetensorsException e = refused(file);
        assertEquals("model.layers.0.weight", e.tensor().orElseThrow());
        assertEquals(8 + header.indexOf("[1,5]"), e.position());
        assertEquals(file + ": tensor 'model.layers.0.weight': byte " + e.position()
                + ": data_offsets [1, 5] hold 4 bytes, F32 [2, 2] takes 16", e.getMessage());
    }

    @Test
    void messagesCarryNoControlCharacters() throws IOException {
        Path file = Files.write(folder.resolve("f.safetensors"),
                Attack.file("{\"\\u001b[31m\\n\\u202e\u009b\":{}}", 0));
        String message = refused(file).getMessage();
        assertTrue(message.contains("tensor '\\u001b[31m\\u000a\\u202e\\u009b'"), message);
    }

    @Test
    void everyPrefixOfAGoodFileIsRefused() throws IOException {
        byte[] good = Attack.file("{\"__metadata__\":{\"k\":\"v\"},"
                + Attack.entry("a", "U8", "[2,2]", "[0,4]") + "}  ", 4);
        for (int n = 0; n < good.length; n++) {
            Path file = Files.write(folder.resolve("p.safetensors"), java.util.Arrays.copyOf(good, n));
            refused(file);
        }
        Safetensors.open(Files.write(folder.resolve("p.safetensors"), good)).close();
    }

    private static String zero(String name) {
        return Attack.entry(name, "U8", "[0]", "[0,0]");
    }

    private static String list(int n, IntFunction<String> element) {
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < n; i++) {
            out.append(i == 0 ? "" : ",").append(element.apply(i));
        }
        return out.toString();
    }

    private static SafetensorsException refused(Path file) {
        return assertThrows(SafetensorsException.class, () -> Safetensors.open(file).close());
    }

    /** Measured the second time, when classes are loaded. */
    private static void assertAllocatesLittle(Path file, long size) {
        long id = Thread.currentThread().threadId();
        long before = THREADS.getThreadAllocatedBytes(id);
        try {
            Safetensors.open(file).close();
        } catch (IOException e) {
            // that is the point
        }
        long allocated = THREADS.getThreadAllocatedBytes(id) - before;
        assertTrue(allocated <= size + CONSTANT, file + " has " + size + " bytes and cost " + allocated);
    }
}
