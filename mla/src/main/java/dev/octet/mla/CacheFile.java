package dev.octet.mla;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.safetensors.Safetensors;
import dev.octet.core.safetensors.SafetensorsWriter;
import dev.octet.core.safetensors.TensorInfo;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Arrays;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A cache as a safetensors file:
 *
 * <pre>
 * records   U8  [layers, pages, pageSize, bytesPerToken]   the records, as in memory
 * lengths   I32 [sequences]                                tokens of each sequence
 * tables    I32 [sum of ceil(lengths / pageSize)]          pages of each sequence, one sequence after the other
 * </pre>
 *
 * with the metadata {@code octet.cache.version}, {@code .format}, {@code .kvLoraRank} and {@code .ropeDim}. A page that
 * several tables have is shared; one that none has is free.
 */
final class CacheFile {
    private static final String RECORDS = "records";
    private static final String LENGTHS = "lengths";
    private static final String TABLES = "tables";
    private static final String PREFIX = "octet.cache.";
    private static final String VERSION = "1";
    /** A file without pages could claim any number of layers. */
    private static final int MAX_LAYERS = 10_000;

    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private CacheFile() {}

    // ---------------------------------------------------------------------------------------------- writing

    /** Writes sequences that nobody changes meanwhile. */
    static void save(Path file, LatentKvCache cache, Tensor[] layers, int[][] tables, int[] lengths)
            throws IOException {
        int pageSize = cache.pageSize();
        // New numbers for the pages in the order in which they turn up, and how many tokens of each anybody has.
        int[] number = new int[cache.pages()];
        int[] tokens = new int[cache.pages()];
        int pages = 0;
        long entries = 0;
        for (int s = 0; s < tables.length; s++) {
            for (int i = 0; i < tables[s].length; i++) {
                int page = tables[s][i];
                number[page] = tokens[page] == 0 ? pages++ : number[page];
                tokens[page] = Math.max(tokens[page], Math.min(pageSize, lengths[s] - i * pageSize));
            }
            entries += tables[s].length;
        }
        try (Arena arena = Arena.ofConfined()) {
            Tensor records = Tensor.allocate(arena, DType.U8,
                    Shape.of(layers.length, pages, pageSize, cache.bytesPerToken()));
            long pageBytes = (long) pageSize * cache.bytesPerToken();
            for (int page = 0; page < number.length; page++) {
                for (int l = 0; l < layers.length && tokens[page] > 0; l++) {
                    MemorySegment.copy(layers[l].segment(), page * pageBytes, records.segment(),
                            ((long) l * pages + number[page]) * pageBytes, (long) tokens[page] * cache.bytesPerToken());
                }
            }
            Tensor all = Tensor.allocate(arena, DType.I32, Shape.of(entries));
            long at = 0;
            for (int[] table : tables) {
                for (int page : table) {
                    all.segment().set(I32, 4 * at++, number[page]);
                }
            }
            Tensor counts = Tensor.allocate(arena, DType.I32, Shape.of(lengths.length));
            for (int s = 0; s < lengths.length; s++) {
                counts.segment().set(I32, 4L * s, lengths[s]);
            }
            SafetensorsWriter.write(file, Map.of(RECORDS, records, LENGTHS, counts, TABLES, all),
                    Map.of(PREFIX + "version", VERSION, PREFIX + "format", cache.format().name(),
                            PREFIX + "kvLoraRank", Integer.toString(cache.kvLoraRank()),
                            PREFIX + "ropeDim", Integer.toString(cache.ropeDim())));
        }
    }

    // ---------------------------------------------------------------------------------------------- mapping

    /**
     * @param extraPages how many pages there are to be beside those of the file
     * @param writable whether to map so that tokens can be added, if the file's permissions allow it
     */
    static LatentKvCache map(Path file, int extraPages, boolean writable) throws IOException {
        if (extraPages < 0) {
            throw new IllegalArgumentException("extraPages is " + extraPages + ", it can't be negative");
        }
        Object key = key(file);
        try (Safetensors in = Safetensors.open(file)) {
            Content content = new Content(in);
            if (content.pages > Integer.MAX_VALUE - extraPages) {
                throw new IllegalArgumentException("extraPages is " + extraPages + ", " + file + " has " + content.pages
                        + " pages, and a cache has at most 2^31-1");
            }
            boolean privately = writable && Files.isWritable(file);
            if (!privately && extraPages > 0) {
                throw new IOException(file + ": the file can't be opened for writing, which additional pages need,"
                        + " though it is never changed: give the permission, or map it without");
            }
            Arena arena = Arena.ofShared();
            try {
                Tensor[] layers = layers(in, content, extraPages, privately, arena);
                if (!Objects.equals(key, key(file))) {
                    throw new IOException(file + ": the file was replaced while it was opened");
                }
                LatentKvCache cache = new LatentKvCache(content.format, content.kvLoraRank, content.ropeDim, layers,
                        arena::close, privately ? null : "the cache is mapped read-only, since " + file
                                + " can't be opened for writing: give the permission (the file is never changed)");
                cache.adopt(content.tables, content.lengths);
                return cache;
            } catch (IOException | RuntimeException | Error e) {
                arena.close();
                throw e;
            }
        }
    }

    /** What tells a file from another one of the same path, or null where there is no such thing. */
    private static @Nullable Object key(Path file) throws IOException {
        return Files.readAttributes(file, BasicFileAttributes.class).fileKey();
    }

    /**
     * Maps each layer by itself, and lets the mapping go on for the additional pages: whatever the file has there is
     * never looked at, and what is written is private. Only where the file ends too early is a layer copied.
     */
    private static Tensor[] layers(Safetensors in, Content content, int extraPages, boolean privately, Arena arena)
            throws IOException {
        TensorInfo records = in.info(RECORDS);
        Shape shape = Shape.of(content.pages + (long) extraPages, content.pageSize, content.bytesPerToken);
        long held = (long) content.pages * content.pageSize * content.bytesPerToken;
        long bytes = shape.elements();
        Tensor[] layers = new Tensor[content.layers];
        FileChannel.MapMode mode = privately ? FileChannel.MapMode.PRIVATE : FileChannel.MapMode.READ_ONLY;
        try (FileChannel channel = privately
                ? FileChannel.open(in.file(), StandardOpenOption.READ, StandardOpenOption.WRITE)
                : FileChannel.open(in.file(), StandardOpenOption.READ)) {
            for (int l = 0; l < layers.length; l++) {
                long begin = records.fileOffset() + l * held;
                MemorySegment memory;
                if (bytes > 0 && bytes <= channel.size() - begin) {
                    memory = channel.map(mode, begin, bytes, arena);
                } else {
                    memory = arena.allocate(bytes, Tensor.ALIGNMENT);
                    MemorySegment.copy(in.tensor(RECORDS).segment(), l * held, memory, 0, held);
                }
                layers[l] = Tensor.wrap(memory, DType.U8, shape);
            }
        }
        return layers;
    }

    // ---------------------------------------------------------------------------------------------- reading

    /** What a file says, all of it checked. */
    private static final class Content {
        private final Path file;
        private final CacheFormat format;
        private final int kvLoraRank;
        private final int ropeDim;
        private final int layers;
        private final int pages;
        private final int pageSize;
        private final int bytesPerToken;
        private final int[] lengths;
        private final int[][] tables;

        Content(Safetensors in) throws IOException {
            file = in.file();
            String version = text(in, "version");
            if (!version.equals(VERSION)) {
                throw fault("metadata " + PREFIX + "version is '" + version + "', only " + VERSION + " can be read");
            }
            format = format(text(in, "format"));
            kvLoraRank = number(in, "kvLoraRank");
            ropeDim = number(in, "ropeDim");
            int expected;
            try {
                expected = format.bytesPerToken(kvLoraRank, ropeDim);
            } catch (IllegalArgumentException e) {
                throw fault("the metadata do not fit together: " + e.getMessage());
            }
            Set<String> names = Set.of(RECORDS, LENGTHS, TABLES);
            for (String name : names) {
                if (!in.contains(name)) {
                    throw fault(name, "it is missing");
                }
            }
            for (String name : in.names()) {
                if (!names.contains(name)) {
                    throw fault(name, "a cache has no such tensor");
                }
            }
            Shape shape = shape(in, RECORDS, DType.U8, 4);
            layers = extent(shape, 0, 1, MAX_LAYERS);
            pages = extent(shape, 1, 0, Integer.MAX_VALUE);
            pageSize = extent(shape, 2, 1, Integer.MAX_VALUE);
            bytesPerToken = extent(shape, 3, 1, Integer.MAX_VALUE);
            if (bytesPerToken != expected) {
                throw fault(RECORDS, "it has " + bytesPerToken + " bytes for a token, " + format + " with kvLoraRank "
                        + kvLoraRank + " and ropeDim " + ropeDim + " takes " + expected);
            }
            lengths = ints(in, LENGTHS);
            tables = tables(ints(in, TABLES));
        }

        private String text(Safetensors in, String key) throws IOException {
            String value = in.metadata().get(PREFIX + key);
            if (value == null) {
                throw fault("metadata " + PREFIX + key + " is missing");
            }
            return value;
        }

        private int number(Safetensors in, String key) throws IOException {
            String value = text(in, key);
            if (!value.matches("[0-9]{1,9}")) {
                throw fault("metadata " + PREFIX + key + " is '" + value + "', it must be a number below 10^9");
            }
            return Integer.parseInt(value);
        }

        private CacheFormat format(String name) throws IOException {
            for (CacheFormat f : CacheFormat.values()) {
                if (f.name().equals(name)) {
                    return f;
                }
            }
            throw fault("metadata " + PREFIX + "format is '" + name + "', it must be one of "
                    + Arrays.toString(CacheFormat.values()));
        }

        private Shape shape(Safetensors in, String name, DType dtype, int rank) throws IOException {
            TensorInfo info = in.info(name);
            if (info.dtype().filter(d -> d == dtype).isEmpty()) {
                throw fault(name, "its dtype is " + info.storedType() + ", it must be " + dtype);
            }
            if (info.shape().rank() != rank) {
                throw fault(name, "its shape is " + info.shape() + ", it must have " + rank
                        + (rank == 1 ? " dimension" : " dimensions"));
            }
            return info.shape();
        }

        private int extent(Shape shape, int dim, int least, int most) throws IOException {
            long extent = shape.dim(dim);
            if (extent < least || extent > most) {
                throw fault(RECORDS, "its shape is " + shape + ", dimension " + dim + " must be " + least + " to "
                        + most);
            }
            return (int) extent;
        }

        private int[] ints(Safetensors in, String name) throws IOException {
            Shape shape = shape(in, name, DType.I32, 1);
            if (shape.elements() > Integer.MAX_VALUE - 8) {
                throw fault(name, "it has " + shape.elements() + " elements, more than can be read");
            }
            MemorySegment from = in.tensor(name).segment();
            int[] values = new int[(int) shape.elements()];
            for (int i = 0; i < values.length; i++) {
                values[i] = from.get(I32, 4L * i);
            }
            return values;
        }

        private int[][] tables(int[] all) throws IOException {
            int[][] tables = new int[lengths.length][];
            long at = 0;
            for (int s = 0; s < lengths.length; s++) {
                if (lengths[s] < 0) {
                    throw fault(LENGTHS, "element " + s + " is " + lengths[s] + ", a length can't be negative");
                }
                long end = at + Math.ceilDiv(lengths[s], pageSize);
                if (end > all.length) {
                    throw fault(TABLES, "it has " + all.length + " elements, sequence " + s + " of " + lengths[s]
                            + " tokens takes those from " + at + " to " + end);
                }
                tables[s] = Arrays.copyOfRange(all, (int) at, (int) end);
                for (int i = 0; i < tables[s].length; i++) {
                    if (tables[s][i] < 0 || tables[s][i] >= pages) {
                        throw fault(TABLES, "element " + (at + i) + ", page " + i + " of sequence " + s + ", is "
                                + tables[s][i] + ", tensor '" + RECORDS + "' has " + pages + " pages");
                    }
                }
                at = end;
            }
            if (at < all.length) {
                throw fault(TABLES, "it has " + all.length + " elements, the lengths of all sequences take " + at);
            }
            return tables;
        }

        private IOException fault(String what) {
            return new IOException(file + ": " + what);
        }

        private IOException fault(String tensor, String what) {
            return new IOException(file + ": tensor '" + tensor + "': " + what);
        }
    }
}
