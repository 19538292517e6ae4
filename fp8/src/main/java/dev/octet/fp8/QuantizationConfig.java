package dev.octet.fp8;

import dev.octet.core.json.JsonException;
import dev.octet.core.json.JsonReader;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * The {@code quantization_config} of a model's {@code config.json}, as DeepSeek-V3 has it:
 *
 * <pre>
 * {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128], "activation_scheme": "dynamic",
 *  "scale_fmt": "ue8m0"}
 * </pre>
 *
 * <p>{@code scale_fmt} came with V3.1; without it, scales are any FP32 numbers.
 */
final class QuantizationConfig {
    private static final long MAX_SIZE = 16 << 20;

    private final Path file;
    private final JsonReader text;

    private QuantizationConfig(Path file, JsonReader text) {
        this.file = file;
        this.text = text;
    }

    /** {@return how scales are rounded; {@link ScaleFormat#F32} if the file has no quantization_config} */
    static ScaleFormat scaleFormat(Path file) throws IOException {
        try (Arena arena = Arena.ofConfined(); FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            if (channel.size() > MAX_SIZE) {
                throw new IOException(
                        file + ": has " + channel.size() + " bytes, a configuration has at most " + MAX_SIZE);
            }
            MemorySegment bytes = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
            try {
                return new QuantizationConfig(file, new JsonReader(bytes, 0, bytes.byteSize())).read();
            } catch (JsonException e) {
                throw new IOException(file + ": byte " + e.position() + ": " + e.getMessage(), e);
            }
        }
    }

    private ScaleFormat read() throws IOException {
        ScaleFormat format = null;
        text.beginObject();
        while (text.hasNext()) {
            boolean wanted = text.stringIs("quantization_config");
            text.skipString();
            text.colon();
            if (!wanted || text.peek() == 'n') {
                text.skip();
            } else if (format != null) {
                throw new IOException(file + ": quantization_config occurs twice");
            } else {
                format = readQuantization();
            }
        }
        if (text.peek() >= 0) {
            throw new JsonException(text.position(), "something follows the configuration");
        }
        return format == null ? ScaleFormat.F32 : format;
    }

    private ScaleFormat readQuantization() throws IOException {
        ScaleFormat format = ScaleFormat.F32;
        Set<String> seen = new HashSet<>();
        text.beginObject();
        while (text.hasNext()) {
            String key = text.string();
            text.colon();
            if (!seen.add(key)) {
                throw new IOException(file + ": quantization_config." + key + " occurs twice");
            }
            switch (key) {
                case "quant_method" -> expect(key, "fp8");
                case "fmt" -> expect(key, "e4m3");
                case "weight_block_size" -> expectBlock(key);
                case "scale_fmt" -> {
                    if (text.peek() == 'n') {
                        text.skip();
                    } else {
                        expect(key, "ue8m0");
                        format = ScaleFormat.POWER_OF_TWO;
                    }
                }
                default -> text.skip();
            }
        }
        if (!seen.contains("weight_block_size")) {
            throw new IOException(file + ": quantization_config.weight_block_size is missing; Octet reads [128, 128]");
        }
        return format;
    }

    private void expect(String key, String wanted) throws IOException {
        String value = text.string();
        if (!value.equals(wanted)) {
            throw new IOException(
                    file + ": quantization_config." + key + " is '" + value + "'; Octet reads '" + wanted + "'");
        }
    }

    private void expectBlock(String key) throws IOException {
        List<Long> block = new ArrayList<>();
        text.beginArray();
        while (text.hasNext()) {
            block.add(text.integer());
        }
        if (!block.equals(List.of(128L, 128L))) {
            throw new IOException(file + ": quantization_config." + key + " is " + block + "; Octet reads [128, 128]");
        }
    }
}
