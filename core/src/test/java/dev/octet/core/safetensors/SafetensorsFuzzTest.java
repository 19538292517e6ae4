package dev.octet.core.safetensors;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.octet.core.json.JsonException;
import dev.octet.core.json.JsonReader;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Arbitrary bytes as a file: they are refused with a {@link SafetensorsException}, or what was read covers the payload
 * exactly. Runs over the committed inputs in every build, and searches for new ones with the environment variable
 * {@code JAZZER_FUZZ=1}.
 */
class SafetensorsFuzzTest {
    private static final Path NAME = Path.of("fuzz.safetensors");

    @FuzzTest(maxDuration = "1m")
    void header(byte[] file) {
        Header header;
        try {
            header = Header.read(MemorySegment.ofArray(file), NAME);
        } catch (SafetensorsException e) {
            assertTrue(e.getMessage().startsWith(NAME.toString()), e.getMessage());
            assertTrue(e.position() >= 0 && e.position() <= file.length, e.getMessage());
            return;
        }
        long covered = 8 + ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getLong();
        List<TensorInfo> tensors = new ArrayList<>(header.tensors().values());
        tensors.sort(Comparator.comparingLong(TensorInfo::fileOffset).thenComparingLong(TensorInfo::byteSize));
        for (TensorInfo t : tensors) {
            assertEquals(covered, t.fileOffset(), t.name());
            covered += t.byteSize();
            t.dtype().ifPresent(d -> assertEquals(t.shape().elements() * d.byteSize(), t.byteSize(), t.name()));
        }
        assertEquals(file.length, covered);
    }

    @FuzzTest(maxDuration = "1m")
    void json(byte[] text) {
        JsonReader json = new JsonReader(MemorySegment.ofArray(text), 0, text.length);
        try {
            json.skip();
            json.end();
        } catch (JsonException e) {
            assertTrue(e.position() >= 0 && e.position() <= text.length, e.getMessage());
        }
    }
}
