package dev.octet.core.safetensors;

import dev.octet.core.Device;
import dev.octet.core.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.CharBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;

/**
 * Writes safetensors files.
 *
 * <p>The same tensors make the same bytes: wider elements come first and then names decide, so that every tensor is
 * aligned to its elements in a payload that begins at a multiple of 8. The file is written beside its place under
 * another name, forced to the disk and renamed: whoever opens the path finds the old file or the new one, never a part
 * of one.
 */
public final class SafetensorsWriter {
    /** How much of a strided tensor is gathered at a time, and of any tensor is handed to the system at once. */
    private static final int CHUNK = 1 << 20;

    private SafetensorsWriter() {}

    /**
     * Writes tensors of any strides to a file, which is replaced if it exists.
     *
     * @param file where to
     * @param tensors the tensors by name; on the CPU
     * @param metadata pairs for {@code __metadata__}; may be empty
     * @throws IllegalArgumentException if a name or a metadata string is no valid Unicode, a name is
     *     {@code __metadata__}, a tensor is not on the CPU or has more than 64 dimensions, or the header would be
     *     longer than 100,000,000 bytes; nothing was written then
     * @throws IllegalStateException if a tensor is closed
     * @throws IOException if writing fails; the path then holds what it held before
     */
    public static void write(Path file, Map<String, Tensor> tensors, Map<String, String> metadata) throws IOException {
        List<Map.Entry<String, Tensor>> ordered = new ArrayList<>(tensors.entrySet());
        ordered.sort(Comparator.comparingInt((Map.Entry<String, Tensor> e) -> -e.getValue().dtype().byteSize())
                .thenComparing(Map.Entry::getKey));
        ordered.forEach(e -> check(e.getKey(), e.getValue()));
        byte[] header = header(ordered, metadata);

        Path folder = file.toAbsolutePath().getParent();
        if (folder == null) {
            throw new IllegalArgumentException("file " + file + " is no path of a file");
        }
        Path partial = folder.resolve("." + file.getFileName() + "." + UUID.randomUUID() + ".part");
        try {
            try (Arena arena = Arena.ofConfined();
                    FileChannel channel = FileChannel.open(partial, StandardOpenOption.CREATE_NEW,
                            StandardOpenOption.WRITE)) {
                ByteBuffer length = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(0, header.length);
                writeAll(channel, length);
                writeAll(channel, ByteBuffer.wrap(header));
                MemorySegment chunk = arena.allocate(CHUNK, Tensor.ALIGNMENT);
                for (Map.Entry<String, Tensor> e : ordered) {
                    writeTensor(channel, e.getValue(), chunk);
                }
                channel.force(true);
            }
            Files.move(partial, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } finally {
            Files.deleteIfExists(partial);
        }
    }

    private static void check(String name, Tensor tensor) {
        if (name.equals(Header.METADATA)) {
            throw new IllegalArgumentException("tensors has the name " + name + ", which the format keeps for itself");
        }
        if (!tensor.device().equals(Device.CPU)) {
            throw new IllegalArgumentException("tensor '" + name + "' is on " + tensor.device()
                    + ", files are written from the CPU: copy it with to(Device.CPU)");
        }
        if (tensor.shape().rank() > Header.MAX_RANK) {
            throw new IllegalArgumentException("tensor '" + name + "' has " + tensor.shape().rank()
                    + " dimensions, at most " + Header.MAX_RANK + " are allowed");
        }
        if (!tensor.isOpen()) {
            throw new IllegalStateException("tensor '" + name + "' is closed");
        }
    }

    /** The header's bytes, padded with spaces so that the payload behind them and the 8 of the length is aligned. */
    private static byte[] header(List<Map.Entry<String, Tensor>> ordered, Map<String, String> metadata) {
        StringBuilder json = new StringBuilder("{");
        if (!metadata.isEmpty()) {
            quote(json, Header.METADATA).append(":{");
            new TreeMap<>(metadata).forEach((key, value) -> {
                quote(json, key).append(':');
                quote(json, value).append(',');
            });
            json.setCharAt(json.length() - 1, '}');
            json.append(',');
        }
        long begin = 0;
        for (Map.Entry<String, Tensor> e : ordered) {
            Tensor t = e.getValue();
            long end = Math.addExact(begin, byteSize(t));
            quote(json, e.getKey()).append(":{\"dtype\":\"").append(t.dtype().name()).append("\",\"shape\":[");
            for (int i = 0; i < t.shape().rank(); i++) {
                json.append(i == 0 ? "" : ",").append(t.dim(i));
            }
            json.append("],\"data_offsets\":[").append(begin).append(',').append(end).append("]},");
            begin = end;
        }
        if (json.length() > 1) {
            json.setLength(json.length() - 1);
        }
        json.append('}');
        byte[] utf8;
        try {
            ByteBuffer encoded = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(json));
            utf8 = new byte[Math.ceilDiv(encoded.remaining(), 8) * 8];
            Arrays.fill(utf8, (byte) ' ');
            encoded.get(utf8, 0, encoded.remaining());
        } catch (CharacterCodingException e) {
            throw new IllegalArgumentException("tensors or metadata have a string with half of a surrogate pair", e);
        }
        if (utf8.length > Header.MAX_LENGTH) {
            throw new IllegalArgumentException("tensors and metadata take a header of " + utf8.length
                    + " bytes, at most " + Header.MAX_LENGTH + " are allowed");
        }
        return utf8;
    }

    private static long byteSize(Tensor t) {
        return t.shape().elements() * t.dtype().byteSize();
    }

    private static StringBuilder quote(StringBuilder json, String s) {
        json.append('"');
        for (int i = 0; i < s.length(); i++) {
            char c = s.charAt(i);
            if (c == '"' || c == '\\') {
                json.append('\\').append(c);
            } else if (c < 0x20) {
                json.append(String.format("\\u%04x", (int) c));
            } else {
                json.append(c);
            }
        }
        return json.append('"');
    }

    /** Writes a tensor in row-major order: whole if it lies so, else in pieces that fit the chunk. */
    private static void writeTensor(FileChannel channel, Tensor t, MemorySegment chunk) throws IOException {
        long bytes = byteSize(t);
        if (bytes == 0) {
            return;
        }
        if (t.isContiguous()) {
            MemorySegment all = t.segment();
            for (long at = 0; at < bytes; at += CHUNK) {
                writeAll(channel, all.asSlice(at, Math.min(CHUNK, bytes - at)).asByteBuffer());
            }
        } else if (bytes <= CHUNK) {
            MemorySegment piece = chunk.asSlice(0, bytes);
            Tensor.wrap(piece, t.dtype(), t.shape()).copyFrom(t);
            writeAll(channel, piece.asByteBuffer());
        } else {
            int dim = 0;
            while (t.dim(dim) == 1) {
                dim++;
            }
            long half = t.dim(dim) / 2;
            writeTensor(channel, t.slice(dim, 0, half), chunk);
            writeTensor(channel, t.slice(dim, half, t.dim(dim)), chunk);
        }
    }

    private static void writeAll(FileChannel channel, ByteBuffer bytes) throws IOException {
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }
}
