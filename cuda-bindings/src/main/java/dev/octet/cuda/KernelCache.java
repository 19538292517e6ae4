package dev.octet.cuda;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

/**
 * Compiled kernels on disk, one file each, under a hash of all that they were made from. A file is written under a name
 * of its own and then renamed, so readers and other writers, of this process or another, see all of it or nothing. A
 * file that is damaged, as after a power cut before its bytes reached the disk, counts as absent and is written again.
 * A folder that can't be written costs a warning and the time to compile, nothing else.
 *
 * <pre>
 *   0  "OCTETBIN"
 *   8  SHA-256 of the machine code
 *  40  the machine code
 * </pre>
 */
final class KernelCache {
    private static final System.Logger LOG = System.getLogger(KernelCache.class.getName());
    private static final byte[] MAGIC = "OCTETBIN".getBytes(StandardCharsets.US_ASCII);
    private static final int HASH_BYTES = 32;
    private static final int HEADER = MAGIC.length + HASH_BYTES;

    private final @Nullable Path folder;
    private final AtomicBoolean warned = new AtomicBoolean();

    /**
     * @param folder where the files lie, made when it is needed; null for no cache
     */
    KernelCache(@Nullable Path folder) {
        this.folder = folder;
    }

    /** {@return the folder, or null if there is no cache} */
    @Nullable Path folder() {
        return folder;
    }

    /** {@return the name of what is made of a source by a version of the compiler with certain options} */
    static String key(KernelSource source, List<String> options, String version) {
        MessageDigest hash = sha256();
        add(hash, "octet 1");
        add(hash, version);
        options.forEach(o -> add(hash, o));
        add(hash, source.name());
        add(hash, source.text());
        for (Map.Entry<String, String> header : source.headers().entrySet()) {
            add(hash, header.getKey());
            add(hash, header.getValue());
        }
        return HexFormat.of().formatHex(hash.digest());
    }

    /** With its length in front, so that no two lists of texts run together to the same bytes. */
    private static void add(MessageDigest hash, String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        hash.update(ByteBuffer.allocate(4).putInt(0, bytes.length));
        hash.update(bytes);
    }

    /** {@return the machine code under a key, if it is there and whole} */
    Optional<byte[]> read(String key) {
        if (folder == null) {
            return Optional.empty();
        }
        Path file = file(folder, key);
        byte[] bytes;
        try {
            bytes = Files.readAllBytes(file);
        } catch (NoSuchFileException e) {
            return Optional.empty();
        } catch (IOException e) {
            warn("can't be read", file, e);
            return Optional.empty();
        }
        if (bytes.length > HEADER && Arrays.equals(bytes, 0, MAGIC.length, MAGIC, 0, MAGIC.length)) {
            byte[] image = Arrays.copyOfRange(bytes, HEADER, bytes.length);
            byte[] stored = Arrays.copyOfRange(bytes, MAGIC.length, HEADER);
            if (MessageDigest.isEqual(stored, sha256().digest(image))) {
                return Optional.of(image);
            }
        }
        LOG.log(System.Logger.Level.WARNING, "The compiled kernel {0} is damaged; it is compiled anew.", file);
        return Optional.empty();
    }

    /** Keeps machine code under a key, if that is possible. */
    void write(String key, byte[] image) {
        if (folder == null) {
            return;
        }
        Path file = file(folder, key);
        Path part = null;
        try {
            Files.createDirectories(folder);
            part = Files.createTempFile(folder, key.substring(0, 16), ".part");
            try (FileChannel channel = FileChannel.open(part, StandardOpenOption.WRITE)) {
                ByteBuffer all = ByteBuffer.allocate(HEADER + image.length);
                all.put(MAGIC).put(sha256().digest(image)).put(image).flip();
                while (all.hasRemaining()) {
                    channel.write(all);
                }
            }
            Files.move(part, file, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            warn("can't be written", file, e);
            delete(part);
        }
    }

    private static void delete(@Nullable Path part) {
        if (part != null) {
            try {
                Files.deleteIfExists(part);
            } catch (IOException e) {
                // Nothing reads a file of that name.
            }
        }
    }

    private static Path file(Path folder, String key) {
        return folder.resolve(key + ".cubin");
    }

    private void warn(String what, Path file, IOException e) {
        if (!warned.getAndSet(true)) {
            LOG.log(System.Logger.Level.WARNING, "The compiled kernel " + file + " " + what + " (" + e + "), so every"
                    + " process compiles it again. Name another folder by -Doctet.cuda.cache=FOLDER.");
        }
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e); // every Java platform has it
        }
    }
}
