package dev.octet.core.safetensors;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A file that is not the safetensors file, or the index of such files, that it should be. The message names the file,
 * the tensor where one is known, the byte, and the fault.
 */
public final class SafetensorsException extends IOException {
    private static final long serialVersionUID = 1;

    /** The file; lost when this is serialised, since a path can't be. */
    private final transient Path file;
    /** The tensor's name, or null. */
    private final @Nullable String tensor;
    /** The byte in the file, or -1. */
    private final long position;

    SafetensorsException(Path file, @Nullable String tensor, long position, String fault) {
        super(file + (tensor == null ? "" : ": tensor '" + tensor + "'") + (position < 0 ? "" : ": byte " + position)
                + ": " + fault);
        this.file = file;
        this.tensor = tensor;
        this.position = position;
    }

    /** {@return the file} */
    public Path file() {
        return file;
    }

    /** {@return the tensor's name, cut off if it is long; empty if the fault is not in one} */
    public Optional<String> tensor() {
        return Optional.ofNullable(tensor);
    }

    /** {@return the byte in the file where the fault is, or -1 if it is in no one place} */
    public long position() {
        return position;
    }
}
