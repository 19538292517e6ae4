package dev.octet.core.safetensors;

import dev.octet.core.Tensor;
import dev.octet.core.json.JsonException;
import dev.octet.core.json.JsonReader;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A model in several safetensors files that lie beside an index, usually {@code model.safetensors.index.json}, whose
 * {@code weight_map} says which tensor is in which file.
 *
 * <p>Opening maps and checks every file that the index names, so that what is broken or missing shows at once; nothing
 * of the payload is read by that. A name of a file that is more than a name, such as {@code ../a} or {@code a/b}, is
 * refused, and so is an index that names a tensor which its file has not. Tensors that the index does not name do not
 * exist.
 *
 * <p>Safe for use by several threads.
 */
public final class ShardedSafetensors implements TensorSource {
    private final Path index;
    private final Map<String, Safetensors> fileOf;
    private volatile boolean closed;

    private ShardedSafetensors(Path index, Map<String, Safetensors> fileOf) {
        this.index = index;
        this.fileOf = Collections.unmodifiableMap(fileOf);
    }

    /**
     * Opens an index and the files that it names.
     *
     * @param index the index; the files lie in the same folder
     * @return the tensors, for the caller to close
     * @throws SafetensorsException if the index or one of the files is not as it should be
     * @throws IOException if one can't be read
     */
    public static ShardedSafetensors open(Path index) throws IOException {
        Map<String, String> weightMap = readIndex(index);
        Map<String, Safetensors> shards = new LinkedHashMap<>();
        Map<String, Safetensors> fileOf = new LinkedHashMap<>();
        try {
            for (Map.Entry<String, String> entry : weightMap.entrySet()) {
                String name = entry.getKey();
                Safetensors shard = shards.get(entry.getValue());
                if (shard == null) {
                    shard = Safetensors.open(shardPath(index, name, entry.getValue()));
                    shards.put(entry.getValue(), shard);
                }
                if (!shard.contains(name)) {
                    throw new SafetensorsException(index, name, -1, "it should be in " + shard.file() + ", and is not");
                }
                fileOf.put(name, shard);
            }
            return new ShardedSafetensors(index, fileOf);
        } catch (IOException | RuntimeException | Error e) {
            shards.values().forEach(Safetensors::close);
            throw e;
        }
    }

    private static Path shardPath(Path index, String tensor, String shard) throws SafetensorsException {
        Path name = null;
        try {
            name = Path.of(shard);
        } catch (InvalidPathException e) {
            // refused below
        }
        if (name == null || shard.isEmpty() || shard.equals(".") || shard.equals("..") || shard.contains("/")
                || shard.contains("\\") || shard.contains(":") || name.getNameCount() != 1 || name.isAbsolute()) {
            throw new SafetensorsException(index, tensor, -1,
                    "'" + shard + "' is not the plain name of a file beside the index");
        }
        Path path = index.resolveSibling(name);
        if (!Files.exists(path)) {
            throw new SafetensorsException(index, tensor, -1, "the file it should be in, " + path + ", is missing");
        }
        return path;
    }

    private static Map<String, String> readIndex(Path index) throws IOException {
        try (Arena arena = Arena.ofConfined(); FileChannel channel = FileChannel.open(index, StandardOpenOption.READ)) {
            if (channel.size() > Header.MAX_LENGTH) {
                throw new SafetensorsException(index, null, -1,
                        "the index has " + channel.size() + " bytes, at most " + Header.MAX_LENGTH + " are allowed");
            }
            MemorySegment bytes = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
            try {
                checkSyntax(bytes);
                return readWeightMap(index, new JsonReader(bytes, 0, bytes.byteSize()));
            } catch (JsonException e) {
                throw new SafetensorsException(index, null, e.position(), String.valueOf(e.getMessage()));
            }
        }
    }

    /** Reads all of it once without allocating: what is malformed is refused before it can cost anything. */
    private static void checkSyntax(MemorySegment bytes) {
        JsonReader text = new JsonReader(bytes, 0, bytes.byteSize());
        text.skip();
        if (text.peek() >= 0) {
            throw new JsonException(text.position(), "something follows the index");
        }
    }

    private static Map<String, String> readWeightMap(Path index, JsonReader text) throws SafetensorsException {
        Map<String, String> weightMap = null;
        text.beginObject();
        while (text.hasNext()) {
            long at = text.position();
            boolean wanted = text.stringIs("weight_map");
            text.skipString();
            text.colon();
            if (!wanted) {
                text.skip(); // such as metadata with the total size
                continue;
            }
            if (weightMap != null) {
                throw new SafetensorsException(index, null, at, "weight_map occurs twice");
            }
            weightMap = new LinkedHashMap<>();
            text.beginObject();
            while (text.hasNext()) {
                long nameAt = text.position();
                String name = text.string();
                text.colon();
                if (weightMap.put(name, text.string()) != null) {
                    throw new SafetensorsException(index, name, nameAt, "it occurs twice in weight_map");
                }
            }
        }
        if (weightMap == null) {
            throw new SafetensorsException(index, null, -1, "weight_map is missing");
        }
        return weightMap;
    }

    /** {@return the index that was opened} */
    public Path index() {
        return index;
    }

    /** {@return the names in the order of the index} */
    @Override
    public Set<String> names() {
        checkOpen();
        return fileOf.keySet();
    }

    @Override
    public TensorInfo info(String name) {
        return file(name).info(name);
    }

    @Override
    public Tensor tensor(String name) {
        return file(name).tensor(name);
    }

    private Safetensors file(String name) {
        checkOpen();
        @Nullable Safetensors file = fileOf.get(name);
        if (file == null) {
            throw new IllegalArgumentException("name '" + name + "' is no tensor of " + index);
        }
        return file;
    }

    private void checkOpen() {
        if (closed) {
            throw new IllegalStateException(index + " is closed");
        }
    }

    /** Unmaps all files, which ends the use of their tensors. Closing again does nothing. */
    @Override
    public void close() {
        closed = true;
        fileOf.values().forEach(Safetensors::close);
    }
}
