package dev.octet.core.safetensors;

import dev.octet.core.Tensor;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;

/**
 * Named tensors that somebody else stores: one file, several, or whatever an application brings.
 *
 * <p>Implementations may be used by several threads. After {@link #close()}, every method but close throws
 * {@link IllegalStateException}, and so does every use of a tensor that came from here.
 */
public interface TensorSource extends AutoCloseable {
    /**
     * Opens a safetensors file, an index of sharded files, or a folder that holds either.
     *
     * @param path a {@code .safetensors} file; a {@code .safetensors.index.json}; or a folder with
     *     {@code model.safetensors}, with {@code model.safetensors.index.json}, or with a single {@code .safetensors}
     *     file, looked for in this order
     * @return the tensors, for the caller to close
     * @throws SafetensorsException if a file breaks the format's rules
     * @throws IOException if there is no such file, or it can't be read
     */
    static TensorSource open(Path path) throws IOException {
        if (!Files.isDirectory(path)) {
            return path.toString().endsWith(".json") ? ShardedSafetensors.open(path) : Safetensors.open(path);
        }
        Path single = path.resolve("model.safetensors");
        if (Files.exists(single)) {
            return Safetensors.open(single);
        }
        Path index = path.resolve("model.safetensors.index.json");
        if (Files.exists(index)) {
            return ShardedSafetensors.open(index);
        }
        List<Path> found = new ArrayList<>();
        try (DirectoryStream<Path> files = Files.newDirectoryStream(path, "*.safetensors")) {
            files.forEach(found::add);
        }
        if (found.size() != 1) {
            Collections.sort(found);
            throw new NoSuchFileException(path.toString(), null, "the folder has neither model.safetensors nor"
                    + " model.safetensors.index.json, and " + (found.isEmpty() ? "no .safetensors file"
                            : found.size() + " .safetensors files, none of them the obvious one: " + found));
        }
        return Safetensors.open(found.getFirst());
    }

    /** {@return all names, in the order of the source} */
    Set<String> names();

    /**
     * {@return whether there is a tensor of that name}
     *
     * @param name the name
     */
    default boolean contains(String name) {
        return names().contains(name);
    }

    /**
     * {@return what is known of a tensor without reading it}
     *
     * @param name its name
     * @throws IllegalArgumentException if there is none of that name
     */
    TensorInfo info(String name);

    /**
     * {@return a tensor, without a copy; it can be read as long as this source is open}
     *
     * @param name its name
     * @throws IllegalArgumentException if there is none of that name, or {@link dev.octet.core.DType} has no type for
     *     its elements
     */
    Tensor tensor(String name);

    /** Ends the use of all tensors that came from here. Closing again does nothing. */
    @Override
    void close();
}
