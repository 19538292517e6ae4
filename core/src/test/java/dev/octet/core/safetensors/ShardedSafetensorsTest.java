package dev.octet.core.safetensors;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ShardedSafetensorsTest {
    private static final String GOOD = "{\"metadata\": {\"total_size\": 12.0, \"x\": [null, {}]}, \"weight_map\": "
            + "{\"b\": \"model-2.safetensors\", \"a\": \"model-1.safetensors\", \"c\": \"model-2.safetensors\"}}\n";

    @TempDir
    Path folder;

    @BeforeEach
    void writeShards() throws IOException {
        try (Tensor one = Tensor.of(new float[] {1}, 1); Tensor two = Tensor.of(new float[] {2}, 1);
                Tensor three = Tensor.of(new float[] {3}, 1)) {
            SafetensorsWriter.write(folder.resolve("model-1.safetensors"), Map.of("a", one), Map.of());
            SafetensorsWriter.write(folder.resolve("model-2.safetensors"), Map.of("b", two, "c", three, "d", one),
                    Map.of());
        }
    }

    private Path index(String text) throws IOException {
        return Files.writeString(folder.resolve("model.safetensors.index.json"), text);
    }

    @Test
    void tensorsComeFromTheirShards() throws IOException {
        Tensor b;
        TensorSource source = TensorSource.open(index(GOOD));
        try (source) {
            assertInstanceOf(ShardedSafetensors.class, source);
            assertEquals(List.of("b", "a", "c"), new ArrayList<>(source.names()));
            assertArrayEquals(new float[] {1}, source.tensor("a").toFloatArray());
            assertArrayEquals(new float[] {3}, source.tensor("c").toFloatArray());
            assertEquals("F32", source.info("b").storedType());
            assertFalse(source.contains("d"), "the index does not name it");
            assertThrows(IllegalArgumentException.class, () -> source.tensor("d"));
            b = source.tensor("b");
        }
        source.close();
        assertThrows(IllegalStateException.class, b::segment);
        assertThrows(IllegalStateException.class, () -> source.tensor("a"));
        assertThrows(IllegalStateException.class, source::names);
    }

    @Test
    void folderOpensWhatItHolds() throws IOException {
        assertTrue(assertThrows(NoSuchFileException.class, () -> TensorSource.open(folder).close()).getMessage()
                .contains("2 .safetensors files"));
        index(GOOD);
        try (TensorSource source = TensorSource.open(folder)) {
            assertEquals(3, source.names().size());
        }
        Files.copy(folder.resolve("model-1.safetensors"), folder.resolve("model.safetensors"));
        try (TensorSource source = TensorSource.open(folder)) {
            assertEquals(1, source.names().size());
        }
        Path other = Files.createDirectory(folder.resolve("other"));
        assertTrue(assertThrows(NoSuchFileException.class, () -> TensorSource.open(other).close()).getMessage()
                .contains("no .safetensors file"));
        Files.copy(folder.resolve("model-1.safetensors"), other.resolve("anything.safetensors"));
        try (TensorSource source = TensorSource.open(other)) {
            assertInstanceOf(Safetensors.class, source);
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "../secret.safetensors | plain name",
        "/etc/passwd | plain name",
        "sub/model-1.safetensors | plain name",
        "..\\\\model-1.safetensors | plain name",
        ".. | plain name",
        ". | plain name",
        "`` | plain name",
        "C:model-1.safetensors | plain name",
        "a\\u0000b | plain name",
        "model-3.safetensors | is missing",
        "model-1.safetensors | is not",
    })
    void shardsOutsideTheFolderOrMissingAreRefused(String shard, String fault) throws IOException {
        Path index = index("{\"weight_map\":{\"b\":\"" + shard + "\"}}");
        SafetensorsException e = assertThrows(SafetensorsException.class, () -> TensorSource.open(index).close());
        assertTrue(e.getMessage().startsWith(index + ": tensor 'b'") && e.getMessage().contains(fault), e.getMessage());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "`` | the text ends",
        "[] | an object",
        "{} | weight_map is missing",
        "{\"weight_map\":[]} | an object",
        "{\"weight_map\":{\"a\":1}} | a string",
        "{\"weight_map\":{},\"weight_map\":{}} | weight_map occurs twice",
        "{\"weight_map\":{\"a\":\"model-1.safetensors\",\"a\":\"model-1.safetensors\"}} | occurs twice",
        "{\"weight_map\":{\"a\":\"model-1.safetensors\"} | the text ends",
        "{\"weight_map\":{}} {} | something follows",
        "{\"metadata\":01,\"weight_map\":{}} | ','",
    })
    void brokenIndexesAreRefused(String text, String fault) throws IOException {
        Path index = index(text);
        SafetensorsException e = assertThrows(SafetensorsException.class, () -> TensorSource.open(index).close());
        assertTrue(e.getMessage().startsWith(index.toString()) && e.getMessage().contains(fault), e.getMessage());
    }

    @Test
    void aBrokenShardIsNamed() throws IOException {
        Path shard = folder.resolve("model-2.safetensors");
        byte[] bytes = Files.readAllBytes(shard);
        Files.write(shard, java.util.Arrays.copyOf(bytes, bytes.length - 1));
        SafetensorsException e = assertThrows(SafetensorsException.class, () -> TensorSource.open(index(GOOD)).close());
        assertEquals(shard, e.file());
    }
}
