package dev.octet.core.safetensors;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsWriterTest {
    @TempDir
    Path folder;

    private final Arena arena = Arena.ofConfined();

    @AfterEach
    void close() {
        arena.close();
    }

    private Tensor random(DType dtype, long... dims) {
        Tensor t = Tensor.allocate(arena, dtype, Shape.of(dims));
        byte[] bytes = new byte[(int) t.segment().byteSize()];
        new Random(bytes.length).nextBytes(bytes);
        MemorySegment.copy(bytes, 0, t.segment(), ValueLayout.JAVA_BYTE, 0, bytes.length);
        return t;
    }

    private static byte[] bytes(Tensor t) {
        try (Tensor copy = t.copy()) {
            return copy.segment().toArray(ValueLayout.JAVA_BYTE);
        }
    }

    private static void assertSame(Tensor expected, Tensor actual) {
        assertEquals(expected.dtype(), actual.dtype());
        assertEquals(expected.shape(), actual.shape());
        assertArrayEquals(bytes(expected), bytes(actual));
    }

    @Test
    void everyDtypeAndLayoutComesBack() throws IOException {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        for (DType d : DType.values()) {
            tensors.put(d + ".matrix", random(d, 13, 7));
            tensors.put(d + ".scalar", random(d));
            tensors.put(d + ".empty", random(d, 5, 0));
            tensors.put(d + ".transposed", random(d, 127, 129).transpose());
            tensors.put(d + ".sliced", random(d, 9, 11).slice(0, 1, 8).slice(1, 3, 5));
            tensors.put(d + ".cube", random(d, 3, 5, 4).transpose(0, 2).slice(1, 1, 4));
        }
        tensors.put("larger than a chunk, transposed", random(DType.F32, 700, 1021).transpose());
        tensors.put("larger than a chunk", random(DType.I64, 1, 3, 100_003));
        tensors.put("one row larger than a chunk",
                random(DType.U8, 1 << 22).reshape(1 << 21, 2).transpose().slice(0, 1, 2));
        Map<String, String> metadata = Map.of("format", "pt", "quote\"\\\n\u0001", "\u4f60\uD83D\uDE00");
        Path file = folder.resolve("all.safetensors");
        SafetensorsWriter.write(file, tensors, metadata);
        try (Safetensors st = Safetensors.open(file)) {
            assertEquals(tensors.keySet(), st.names());
            assertEquals(metadata, st.metadata());
            for (Map.Entry<String, Tensor> e : tensors.entrySet()) {
                assertSame(e.getValue(), st.tensor(e.getKey()));
                assertEquals(0, st.tensor(e.getKey()).address() % e.getValue().dtype().byteSize(), e.getKey());
            }
        }
        try (Stream<Path> files = Files.list(folder)) {
            assertEquals(List.of(file), files.toList(), "no temporary file is left");
        }
    }

    @Test
    void theBytesAreThoseOfTheFormat() throws IOException {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        tensors.put("b", Tensor.wrap(arena.allocateFrom(ValueLayout.JAVA_BYTE, (byte) 5), DType.U8, Shape.of(1)));
        tensors.put("a", Tensor.of(new float[] {1}, 1, 1));
        Path file = folder.resolve("f.safetensors");
        SafetensorsWriter.write(file, tensors, Map.of("k", "v"));
        String header = "{\"__metadata__\":{\"k\":\"v\"},"
                + "\"a\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]},"
                + "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[4,5]}}";
        header += " ".repeat(Math.floorMod(-header.length(), 8));
        byte[] expected = Attack.file(header, 5);
        System.arraycopy(new byte[] {0, 0, (byte) 0x80, 0x3F, 5}, 0, expected, expected.length - 5, 5);
        assertArrayEquals(expected, Files.readAllBytes(file));
    }

    @Test
    void theOrderOfTheMapDoesNotMatter() throws IOException {
        Tensor a = random(DType.U8, 3);
        Tensor b = random(DType.F32, 3);
        Map<String, Tensor> one = new LinkedHashMap<>();
        Map<String, Tensor> other = new LinkedHashMap<>();
        one.put("a", a);
        one.put("b", b);
        other.put("b", b);
        other.put("a", a);
        SafetensorsWriter.write(folder.resolve("1"), one, Map.of("x", "1", "y", "2"));
        SafetensorsWriter.write(folder.resolve("2"), other, Map.of("y", "2", "x", "1"));
        assertEquals(-1, Files.mismatch(folder.resolve("1"), folder.resolve("2")));
        try (Safetensors st = Safetensors.open(folder.resolve("1"))) {
            assertEquals(List.of("b", "a"), new ArrayList<>(st.names()));
        }
    }

    @Test
    void aFileCanBeReplacedWhileItIsRead() throws IOException {
        Path file = folder.resolve("f.safetensors");
        SafetensorsWriter.write(file, Map.of("a", random(DType.F32, 10)), Map.of());
        try (Safetensors old = Safetensors.open(file)) {
            Tensor a = old.tensor("a");
            byte[] before = bytes(a);
            SafetensorsWriter.write(file, Map.of("a", a, "b", random(DType.U8, 5000)), Map.of());
            assertArrayEquals(before, bytes(a));
            try (Safetensors now = Safetensors.open(file)) {
                assertArrayEquals(before, bytes(now.tensor("a")));
                assertEquals(2, now.names().size());
            }
        }
    }

    @Test
    void whatIsRefusedLeavesTheOldFile() throws IOException {
        Path file = folder.resolve("f.safetensors");
        SafetensorsWriter.write(file, Map.of("a", random(DType.F32, 10)), Map.of());
        byte[] before = Files.readAllBytes(file);
        Tensor good = random(DType.F32, 4);
        Tensor closed = Tensor.allocate(DType.F32, Shape.of(4));
        closed.close();
        assertThrows(IllegalStateException.class,
                () -> SafetensorsWriter.write(file, Map.of("good", good, "closed", closed), Map.of()));
        refused(file, Map.of("__metadata__", good), Map.of(), "__metadata__");
        refused(file, Map.of("half\uD800", good), Map.of(), "surrogate");
        refused(file, Map.of("good", good), Map.of("k", "\uDC00"), "surrogate");
        long[] ones = new long[65];
        java.util.Arrays.fill(ones, 1);
        refused(file, Map.of("deep", random(DType.U8, ones)), Map.of(), "65");
        assertArrayEquals(before, Files.readAllBytes(file));
        try (Stream<Path> files = Files.list(folder)) {
            assertEquals(List.of(file), files.toList());
        }
    }

    private static void refused(Path file, Map<String, Tensor> tensors, Map<String, String> metadata, String fault) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                () -> SafetensorsWriter.write(file, tensors, metadata));
        assertTrue(e.getMessage().contains(fault), e.getMessage());
    }

    @Test
    void aFailedWriteLeavesNothing() throws IOException {
        Path target = Files.createDirectory(folder.resolve("f.safetensors"));
        Files.createFile(target.resolve("full")); // a folder that can't be replaced
        assertThrows(IOException.class,
                () -> SafetensorsWriter.write(target, Map.of("a", random(DType.F32, 10)), Map.of()));
        assertThrows(IOException.class, () -> SafetensorsWriter.write(folder.resolve("no/such/folder"),
                Map.of("a", random(DType.F32, 10)), Map.of()));
        try (Stream<Path> files = Files.list(folder)) {
            assertEquals(List.of(target), files.toList());
        }
    }

    @Test
    void everyFileThatIsWrittenCanBeRead() throws IOException {
        for (long seed = 0; seed < 200; seed++) {
            Random random = new Random(seed);
            Map<String, Tensor> tensors = new LinkedHashMap<>();
            for (int i = random.nextInt(8); i > 0; i--) {
                long[] dims = random.longs(random.nextInt(4), 0, 9).toArray();
                Tensor t = random(DType.values()[random.nextInt(DType.values().length)], dims);
                if (dims.length > 1) {
                    t = t.transpose(0, random.nextInt(dims.length));
                }
                tensors.put(random.ints(random.nextInt(6), 0, 0xD000).collect(StringBuilder::new,
                        StringBuilder::appendCodePoint, StringBuilder::append).toString(), t);
            }
            Path file = folder.resolve("random");
            SafetensorsWriter.write(file, tensors, Map.of());
            try (Safetensors st = Safetensors.open(file)) {
                assertEquals(tensors.keySet(), st.names(), "seed " + seed);
                tensors.forEach((name, t) -> assertSame(t, st.tensor(name)));
            }
        }
    }
}
