package dev.octet.core.safetensors;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsTest {
    @TempDir
    Path folder;

    private Path write(String header, byte... payload) throws IOException {
        byte[] file = Attack.file(header, payload.length);
        System.arraycopy(payload, 0, file, file.length - payload.length, payload.length);
        return Files.write(folder.resolve("t.safetensors"), file);
    }

    @Test
    void readsAnUnalignedPayloadInPlace() throws IOException {
        // A header of 8k+1 bytes, and a byte in front of the floats: nothing is aligned.
        String header = "{" + Attack.entry("u", "U8", "[1]", "[0,1]") + ","
                + Attack.entry("f", "F32", "[2]", "[1,9]") + "}";
        header += " ".repeat(Math.floorMod(1 - header.length(), 8));
        Path file = write(header, (byte) 7, (byte) 0, (byte) 0, (byte) 0x80, (byte) 0x3F, (byte) 0, (byte) 0, (byte) 0,
                (byte) 0xC0);
        try (Safetensors st = Safetensors.open(file)) {
            assertEquals(List.of("u", "f"), new ArrayList<>(st.names()));
            Tensor f = st.tensor("f");
            assertEquals(2, f.address() % 8);
            assertArrayEquals(new float[] {1, -2}, f.toFloatArray());
            assertEquals(f.address(), st.tensor("f").address(), "both are views of one mapping");
            assertTrue(f.segment().isMapped());
            assertEquals(8 + header.length() + 1, st.info("f").fileOffset());
            assertThrows(IllegalArgumentException.class, () -> f.copyFrom(new float[2]), "the mapping is read-only");
        }
    }

    @Test
    void scalarsAndEmptyTensorsAreLegal() throws IOException {
        Path file = write("{" + Attack.entry("none", "F32", "[3,0,5]", "[0,0]") + ","
                + Attack.entry("late", "I64", "[0]", "[2,2]") + "," + Attack.entry("one", "BF16", "[]", "[0,2]") + "}",
                (byte) 0x80, (byte) 0x3F);
        try (Safetensors st = Safetensors.open(file)) {
            assertEquals(Shape.of(), st.tensor("one").shape());
            assertArrayEquals(new float[] {1}, st.tensor("one").toFloatArray());
            assertEquals(Shape.of(3, 0, 5), st.tensor("none").shape());
            assertEquals(0, st.tensor("none").toFloatArray().length);
            assertEquals(0, st.tensor("late").segment().byteSize());
        }
        try (Safetensors st = Safetensors.open(write("{}"))) {
            assertTrue(st.names().isEmpty());
            assertTrue(st.metadata().isEmpty());
        }
        try (Safetensors st = Safetensors.open(write("{}     "))) {
            assertTrue(st.names().isEmpty());
        }
    }

    @Test
    void dtypesThatOctetLacksAreListedAndRefusedWhenRead() throws IOException {
        StringBuilder header = new StringBuilder("{");
        int at = 0;
        for (StoredType t : StoredType.values()) {
            header.append(Attack.entry("x" + t, t.name(), "[8]", "[" + at + "," + (at + t.bits()) + "]")).append(',');
            at += t.bits();
        }
        header.append(Attack.entry("new", "F128", "[1,2]", "[" + at + "," + (at + 3) + "]")).append('}');
        Path file = write(header.toString(), new byte[at + 3]);
        try (Safetensors st = Safetensors.open(file)) {
            int readable = 0;
            for (String name : st.names()) {
                TensorInfo info = st.info(name);
                if (info.dtype().isPresent()) {
                    assertEquals(info.storedType(), st.tensor(name).dtype().name());
                    readable++;
                } else {
                    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> st.tensor(name));
                    assertTrue(e.getMessage().contains(file.toString()) && e.getMessage().contains("'" + name + "'")
                            && e.getMessage().contains(info.storedType()), e.getMessage());
                }
            }
            assertEquals(DType.values().length, readable);
            assertEquals(3, st.info("new").byteSize());
            assertEquals(8, st.info("xI8").byteSize());
            assertEquals(4, st.info("xF4").byteSize());
        }
    }

    @Test
    void namesAndMetadataKeepEveryCharacter() throws IOException {
        Path file = write("{\"__metadata__\":{\"\\u00e9\":\"\\ud83d\\ude00\uD83D\uDE00\\\\\\/\\b\\f\\n\\r\\t\\\"\"},"
                + Attack.entry("\u4f60\\u597d", "U8", "[0]", "[0,0]") + "}");
        try (Safetensors st = Safetensors.open(file)) {
            assertEquals(Map.of("\u00e9", "\uD83D\uDE00\uD83D\uDE00\\/\b\f\n\r\t\""), st.metadata());
            assertTrue(st.contains("\u4f60\u597d"));
            assertFalse(st.contains("__metadata__"));
        }
    }

    @Test
    void useAfterCloseThrows() throws IOException {
        Safetensors st = Safetensors.open(write("{" + Attack.entry("a", "F32", "[1]", "[0,4]") + "}", new byte[4]));
        Tensor a = st.tensor("a");
        a.close();
        assertTrue(st.tensor("a").isOpen(), "closing a view leaves the file open");
        Tensor b = st.tensor("a");
        st.close();
        st.close();
        assertFalse(b.isOpen());
        assertThrows(IllegalStateException.class, b::segment);
        assertThrows(IllegalStateException.class, b::toFloatArray);
        assertThrows(IllegalStateException.class, st::names);
        assertThrows(IllegalStateException.class, st::metadata);
        assertThrows(IllegalStateException.class, () -> st.info("a"));
        assertThrows(IllegalStateException.class, () -> st.tensor("a"));
        assertThrows(IllegalStateException.class, () -> st.contains("a"));
    }

    @Test
    void unknownNamesAndFilesAreRefusedByName() throws IOException {
        try (Safetensors st = Safetensors.open(write("{}"))) {
            assertTrue(assertThrows(IllegalArgumentException.class, () -> st.tensor("nope")).getMessage()
                    .contains("'nope'"));
            assertThrows(UnsupportedOperationException.class, () -> st.names().clear());
        }
        assertThrows(NoSuchFileException.class, () -> Safetensors.open(folder.resolve("none")));
        assertTrue(assertThrows(SafetensorsException.class, () -> Safetensors.open(folder)).getMessage()
                .contains("no regular file"));
    }

    @Test
    void filesBeyondTwoGigabytesWork() throws IOException {
        long size = 3L << 30;
        String header = "{" + Attack.entry("big", "U8", "[" + size + "]", "[0," + size + "]") + ","
                + Attack.entry("end", "F32", "[1]", "[" + size + "," + (size + 4) + "]") + "}";
        Path file = Files.write(folder.resolve("big.safetensors"), Attack.file(header, 0));
        try (java.io.RandomAccessFile f = new java.io.RandomAccessFile(file.toFile(), "rw")) {
            f.setLength(8 + header.length() + size + 4); // sparse
            f.seek(8 + header.length() + size - 1);
            f.write(new byte[] {42, 0, 0, (byte) 0x80, 0x3F});
        }
        try (Safetensors st = Safetensors.open(file)) {
            assertEquals(42, st.tensor("big").segment().get(ValueLayout.JAVA_BYTE, size - 1));
            assertEquals(42, st.tensor("big").slice(0, size - 1, size).segment().get(ValueLayout.JAVA_BYTE, 0));
            assertArrayEquals(new float[] {1}, st.tensor("end").toFloatArray());
        }
    }
}
