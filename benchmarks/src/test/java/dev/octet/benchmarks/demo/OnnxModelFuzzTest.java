package dev.octet.benchmarks.demo;

import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.octet.core.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Arbitrary bytes as a model: they are refused with a {@link ModelFormatException}, or every tensor that was read lies
 * inside them. Runs over the committed inputs in every build, and searches for new ones with the environment variable
 * {@code JAZZER_FUZZ=1}.
 */
class OnnxModelFuzzTest {
    @FuzzTest(maxDuration = "1m")
    void parse(byte[] file) throws Exception {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment bytes = arena.allocate(Math.max(1, file.length), 64).asSlice(0, file.length);
            MemorySegment.copy(file, 0, bytes, ValueLayout.JAVA_BYTE, 0, file.length);
            OnnxModel model;
            try {
                model = OnnxModel.parse("fuzz.onnx", bytes);
            } catch (ModelFormatException e) {
                assertTrue(String.valueOf(e.getMessage()).startsWith("fuzz.onnx"), e.getMessage());
                return;
            }
            model.tensors().forEach((name, tensor) -> assertTrue(
                    tensor.dtype() == DType.F32 && tensor.toFloatArray().length * 4L <= file.length, name));
        }
    }
}
