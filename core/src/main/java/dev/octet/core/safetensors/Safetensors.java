package dev.octet.core.safetensors;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Collections;
import java.util.Map;
import java.util.Set;

/**
 * A safetensors file, mapped into memory. Opening reads the header and checks every rule of the format; tensors are
 * views of the mapping, read-only and paged in when they are used.
 *
 * <p>Refused, with a {@link SafetensorsException}: a header that is longer than 100,000,000 bytes or than the file,
 * does not begin with <code>{</code>, is no strict UTF-8 or JSON, or has anything but spaces behind it; duplicate
 * names, metadata keys or fields; metadata that is not a string; a missing or unknown field; sizes and offsets that are
 * not plain non-negative integers; a range that ends before it begins, leads beyond the file, or has not the size that
 * dtype and shape ask for, overflow included; ranges that overlap or leave a byte of the payload undescribed; more than
 * 64 dimensions. Tensors of no elements, tensors of no dimensions and payloads at any alignment are legal.
 *
 * <p>The tensors of a dtype that {@link DType} lacks are listed, and refused when read.
 *
 * <p><b>Threads.</b> Safe for use by several threads. Nobody may cut the file off while it is open: reading a mapped
 * byte that is gone ends in an {@link InternalError}.
 */
public final class Safetensors implements TensorSource {
    private final Path file;
    private final Arena arena;
    private final MemorySegment bytes;
    private final Map<String, TensorInfo> tensors;
    private final Map<String, String> metadata;

    private Safetensors(Path file, Arena arena, MemorySegment bytes) throws SafetensorsException {
        Header header = Header.read(bytes, file);
        this.file = file;
        this.arena = arena;
        this.bytes = bytes;
        this.tensors = Collections.unmodifiableMap(header.tensors());
        this.metadata = Collections.unmodifiableMap(header.metadata());
    }

    /**
     * Maps a file and checks its header.
     *
     * @param file the file
     * @return its tensors, for the caller to close
     * @throws SafetensorsException if the file breaks a rule of the format
     * @throws IOException if it can't be read
     */
    public static Safetensors open(Path file) throws IOException {
        if (Files.exists(file) && !Files.isRegularFile(file)) {
            throw new SafetensorsException(file, null, -1,
                    "this is no regular file" + (Files.isDirectory(file) ? "; TensorSource.open takes folders" : ""));
        }
        Arena arena = Arena.ofShared();
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            return new Safetensors(file, arena,
                    channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena));
        } catch (IOException | RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    /** {@return the file that was opened} */
    public Path file() {
        return file;
    }

    /** {@return the names in the order of the header} */
    @Override
    public Set<String> names() {
        checkOpen();
        return tensors.keySet();
    }

    /** {@return what the header has under {@code __metadata__}, in its order; empty if there is nothing} */
    public Map<String, String> metadata() {
        checkOpen();
        return metadata;
    }

    @Override
    public TensorInfo info(String name) {
        checkOpen();
        TensorInfo info = tensors.get(name);
        if (info == null) {
            throw new IllegalArgumentException("name '" + name + "' is no tensor of " + file);
        }
        return info;
    }

    @Override
    public Tensor tensor(String name) {
        TensorInfo info = info(name);
        DType dtype = info.dtype().orElseThrow(() -> new IllegalArgumentException("tensor '" + name + "' of " + file
                + " has dtype " + info.storedType() + ", Octet reads " + Arrays.toString(DType.values())));
        return Tensor.wrap(bytes.asSlice(info.fileOffset(), info.byteSize()), dtype, info.shape());
    }

    private void checkOpen() {
        if (!arena.scope().isAlive()) {
            throw new IllegalStateException(file + " is closed");
        }
    }

    /** Unmaps the file, which ends the use of its tensors. Closing again does nothing. */
    @Override
    public synchronized void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}
