package dev.octet.mla;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.HugePages;
import dev.octet.mla.spi.PagedLatents;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A paged cache of what latent attention keeps of each token (DeepSeek-V2 &sect;2.1.2): the normalised latent that keys
 * and values of all heads are made from, and the rotary key that all heads share.
 *
 * <p><b>Pages.</b> The memory of a layer is {@code [pages, pageSize, bytesPerToken]}, and {@link CacheFormat} says what
 * the bytes of a token are. Each {@link Sequence} has a page table, which is the same for all layers; a page belongs to
 * one sequence, or to several that share a prefix. {@link Sequence#fork()} shares, and a shared page is copied, in all
 * layers, when one of its owners writes a token into it: what is done to a sequence never shows in another one.
 *
 * <p><b>Adding tokens</b> takes two steps, since a token has a record in every layer: {@link #extend} reserves places
 * for the next tokens once, then {@link #write} fills them in each layer when the model has come to it. Places that
 * were not written hold anything. A cache of one layer has {@link #append}, which is both. When pages run out,
 * {@link OutOfPagesException} says how many are needed and free, and every sequence is as it was.
 *
 * <p><b>Threads.</b> Any thread may use the cache, and operations on different sequences run side by side, sequences
 * that share pages included. One sequence takes one operation at a time, reading or writing: while an operation works
 * on it, every other one from another thread is refused with {@link IllegalStateException}, except {@link
 * Sequence#length()}. Nothing ever waits for another operation to end, so nothing can deadlock. Whoever wants to read
 * one sequence from several threads forks it, which copies nothing.
 *
 * <p><b>Lifetime.</b> The cache owns its memory, unless it came from an {@link Arena}. After {@link #close()}
 * everything that concerns sequences, pages or tokens throws {@link IllegalStateException}; the dimensions can still be
 * asked for.
 */
public final class LatentKvCache implements AutoCloseable {
    private final CacheFormat format;
    private final int kvLoraRank;
    private final int ropeDim;
    /** U8 {@code [pages, pageSize, bytesPerToken]} for each layer. */
    private final Tensor[] layers;
    private final int pageSize;
    private final Runnable freeMemory;
    /** Why nothing can be written, or null. */
    private final @Nullable String readOnly;

    private final PageTables tables;

    /**
     * @param layers U8 {@code [pages, pageSize, bytesPerToken]} each
     * @param freeMemory what to do with their memory in the end
     * @param readOnly why nothing can be written to them, or null
     */
    LatentKvCache(CacheFormat format, int kvLoraRank, int ropeDim, Tensor[] layers, Runnable freeMemory,
            @Nullable String readOnly) {
        this.format = format;
        this.kvLoraRank = kvLoraRank;
        this.ropeDim = ropeDim;
        this.layers = layers;
        this.freeMemory = freeMemory;
        this.readOnly = readOnly;
        pageSize = Math.toIntExact(layers[0].dim(1));
        tables = new PageTables(Math.toIntExact(layers[0].dim(0)), pageSize);
    }

    // ---------------------------------------------------------------------------------------------- making caches

    /**
     * Allocates a cache for a model.
     *
     * @param config has the dimensions; how many layers the model has does not matter here
     * @param format how a token lies in its bytes
     * @param layers how many layers share the page tables
     * @param pages how many pages each layer has
     * @param pageSize tokens of a page
     * @return an empty cache, for the caller to close
     * @throws IllegalArgumentException if a number is not positive, the format can't have these dimensions, or the
     *     cache would have more than 2^63-1 bytes; the message names it
     */
    public static LatentKvCache allocate(MlaConfig config, CacheFormat format, int layers, int pages, int pageSize) {
        return allocate(config.kvLoraRank(), config.qkRopeHeadDim(), format, layers, pages, pageSize);
    }

    /**
     * Allocates a cache of any dimensions.
     *
     * @param kvLoraRank values of a latent
     * @param ropeDim values of a rotary key; may be 0
     * @param format how a token lies in its bytes
     * @param layers how many layers share the page tables
     * @param pages how many pages each layer has
     * @param pageSize tokens of a page
     * @return an empty cache, for the caller to close
     * @throws IllegalArgumentException as {@link #allocate(MlaConfig, CacheFormat, int, int, int)}
     */
    public static LatentKvCache allocate(int kvLoraRank, int ropeDim, CacheFormat format, int layers, int pages,
            int pageSize) {
        Tensor records = Tensor.allocate(DType.U8, shape(kvLoraRank, ropeDim, format, layers, pages, pageSize));
        HugePages.advise(records.segment());
        return new LatentKvCache(format, kvLoraRank, ropeDim, split(records), records::close, null);
    }

    /**
     * Allocates a cache from an arena, which frees the memory when it closes. Of a confined arena's cache only the
     * arena's thread may read or write tokens.
     *
     * @param arena where the memory comes from
     * @param kvLoraRank values of a latent
     * @param ropeDim values of a rotary key; may be 0
     * @param format how a token lies in its bytes
     * @param layers how many layers share the page tables
     * @param pages how many pages each layer has
     * @param pageSize tokens of a page
     * @return an empty cache
     * @throws IllegalArgumentException as {@link #allocate(MlaConfig, CacheFormat, int, int, int)}
     */
    public static LatentKvCache allocate(Arena arena, int kvLoraRank, int ropeDim, CacheFormat format, int layers,
            int pages, int pageSize) {
        Tensor records =
                Tensor.allocate(arena, DType.U8, shape(kvLoraRank, ropeDim, format, layers, pages, pageSize));
        return new LatentKvCache(format, kvLoraRank, ropeDim, split(records), records::close, null);
    }

    private static Shape shape(int kvLoraRank, int ropeDim, CacheFormat format, int layers, int pages, int pageSize) {
        int bytes = format.bytesPerToken(kvLoraRank, ropeDim);
        requirePositive("layers", layers);
        requirePositive("pages", pages);
        requirePositive("pageSize", pageSize);
        return Shape.of(layers, pages, pageSize, bytes);
    }

    private static void requirePositive(String name, int value) {
        if (value < 1) {
            throw new IllegalArgumentException(name + " is " + value + ", it must be positive");
        }
    }

    private static Tensor[] split(Tensor records) {
        Tensor[] layers = new Tensor[Math.toIntExact(records.dim(0))];
        for (int i = 0; i < layers.length; i++) {
            layers[i] = records.slice(0, i, i + 1).reshape(records.dim(1), records.dim(2), records.dim(3));
        }
        return layers;
    }

    /**
     * Maps a file that {@link #save} has written; the same as {@link #map(Path, int)} with no pages beside those of the
     * file: tokens can be added as long as they fit into the last page of their sequence.
     *
     * @param file the file
     * @return a cache with the file's sequences, in their order, as {@link #sequences()}; for the caller to close
     * @throws IOException as {@link #map(Path, int)}
     */
    public static LatentKvCache map(Path file) throws IOException {
        return map(file, 0);
    }

    /**
     * Maps a file that {@link #save} has written, and adds free pages for tokens to come. The file is never changed:
     * what is written to the cache stays in this process's copies of the operating system's pages. Nothing is copied
     * in advance, except in the last layers if there are additional pages: as many layers as it takes to cover that
     * many pages. A file that can't be opened for writing is mapped all the same if {@code extraPages} is 0; all
     * sequences can be read, forked and truncated then, and adding tokens throws {@link IllegalStateException}.
     *
     * <p>Nobody may cut the file off while it is mapped; replacing it, as {@link #save} does, is harmless.
     *
     * @param file the file
     * @param extraPages how many pages there are beside those of the file; not negative
     * @return a cache with the file's sequences, in their order, as {@link #sequences()}; for the caller to close
     * @throws IllegalArgumentException if {@code extraPages} is negative or more than a cache can have
     * @throws IOException if the file can't be read, is no safetensors file, or does not hold a cache free of
     *     contradictions; the message names the file, the tensor and the fault
     */
    public static LatentKvCache map(Path file, int extraPages) throws IOException {
        return CacheFile.map(file, extraPages, true);
    }

    // ---------------------------------------------------------------------------------------------- descriptor

    /** {@return how a token lies in its bytes} */
    public CacheFormat format() {
        return format;
    }

    /** {@return values of a latent} */
    public int kvLoraRank() {
        return kvLoraRank;
    }

    /** {@return values of a rotary key} */
    public int ropeDim() {
        return ropeDim;
    }

    /** {@return how many layers share the page tables} */
    public int layers() {
        return layers.length;
    }

    /** {@return how many pages each layer has} */
    public int pages() {
        return Math.toIntExact(layers[0].dim(0));
    }

    /** {@return tokens of a page} */
    public int pageSize() {
        return pageSize;
    }

    /** {@return bytes of a token in one layer} */
    public int bytesPerToken() {
        return Math.toIntExact(layers[0].dim(2));
    }

    /** {@return bytes of all pages of all layers} */
    public long memoryBytes() {
        return layers.length * layers[0].shape().elements();
    }

    /** {@return where the records lie} */
    public Device device() {
        return layers[0].device();
    }

    /** {@return how many pages no sequence has, at this moment} */
    public int freePages() {
        return tables.freePages();
    }

    /** {@return the sequences that are open at this moment, in the order in which they were opened} */
    public List<Sequence> sequences() {
        return tables.sequences();
    }

    // ---------------------------------------------------------------------------------------------- tokens

    /** {@return a new sequence without tokens, for the caller to close} */
    public Sequence open() {
        return tables.open();
    }

    /**
     * Reserves places for the next tokens of several sequences, in all layers: of all of them or, if pages run out, of
     * none. A page that is written next and shared with another sequence is copied here.
     *
     * @param sequences the sequences, each at most once
     * @param tokens how many tokens each gets; not negative
     * @throws OutOfPagesException if there are too few free pages; every sequence is as it was
     * @throws IllegalArgumentException if the numbers do not fit, or a sequence is of another cache or comes twice
     * @throws IllegalStateException if a sequence is closed, another thread is at work on it, or the cache is read-only
     */
    public void extend(List<Sequence> sequences, int... tokens) {
        int[] count = checkedTokens(sequences, tokens);
        try (PageTables.Use use = use(sequences)) {
            extend(use, count);
        }
    }

    private void extend(PageTables.Use use, int[] tokens) {
        Sequence[] all = use.sequences();
        int[] from = new int[all.length];
        int[] to = new int[all.length];
        for (int i = 0; i < all.length; i++) {
            from[i] = all[i].length;
            if (tokens[i] > Integer.MAX_VALUE - from[i]) {
                throw new IllegalArgumentException("tokens[" + i + "] is " + tokens[i] + ", " + all[i] + " would have"
                        + " more than 2^31-1 tokens");
            }
            to[i] = from[i] + tokens[i];
        }
        claim(use, from, to);
    }

    /**
     * Writes the records of the last tokens of several sequences in one layer. Values in F32 are rounded to nearest,
     * ties to even, once; {@link CacheFormat} has the details.
     *
     * @param layer which layer
     * @param sequences the sequences, each at most once
     * @param tokens how many of its last tokens are written of each sequence; not negative
     * @param latent {@code [sum of tokens, kvLoraRank]} of F32 or BF16, of any strides: the normalised latents, all
     *     sequences' tokens one after the other
     * @param ropeKeys {@code [sum of tokens, ropeDim]} of F32 or BF16, of any strides: the rotary keys, turned already
     * @throws OutOfPagesException if a page has come to be shared since its places were reserved, and there is none
     *     to copy it to; nothing is written then
     * @throws IllegalArgumentException if a layer, number, shape, dtype or device does not fit, or a sequence has fewer
     *     tokens, is of another cache or comes twice; nothing is written then
     * @throws IllegalStateException if a sequence or tensor is closed, another thread is at work on a sequence, or the
     *     cache is read-only; nothing is written then
     */
    public void write(int layer, List<Sequence> sequences, int[] tokens, Tensor latent, Tensor ropeKeys) {
        requireLayer(layer);
        int[] count = checkedTokens(sequences, tokens);
        requireTensors(Arrays.stream(count).asLongStream().sum(), latent, ropeKeys, false);
        try (PageTables.Use use = use(sequences)) {
            int[] from = new int[count.length];
            for (int i = 0; i < count.length; i++) {
                Sequence s = use.sequences()[i];
                from[i] = s.length - count[i];
                if (from[i] < 0) {
                    throw new IllegalArgumentException("tokens[" + i + "] is " + count[i] + ", " + s + " has "
                            + s.length + "; extend reserves places for more");
                }
            }
            claim(use, from, use.lengths());
            Mla.write(latent, ropeKeys, latents(layer, use.sequences(), use.lengths()), from);
        }
    }

    /**
     * Adds tokens to a sequence in a cache of one layer: {@link #extend} and {@link #write} in one.
     *
     * @param sequence the sequence
     * @param latent {@code [tokens, kvLoraRank]} of F32 or BF16, of any strides
     * @param ropeKeys {@code [tokens, ropeDim]} of F32 or BF16, of any strides
     * @throws OutOfPagesException if there are too few free pages; the sequence is as it was
     * @throws IllegalArgumentException if a shape, dtype or device does not fit, or the sequence is of another cache;
     *     it is as it was
     * @throws IllegalStateException if the cache has several layers or is read-only, the sequence or a tensor is
     *     closed, or another thread is at work on the sequence
     */
    public void append(Sequence sequence, Tensor latent, Tensor ropeKeys) {
        if (layers.length != 1) {
            throw new IllegalStateException("append takes a cache of one layer, this one has " + layers.length
                    + ": extend the sequence once, then write each layer");
        }
        Mla.requireFloat("latent", latent, 2);
        long tokens = latent.dim(0);
        if (tokens > Integer.MAX_VALUE) {
            throw new IllegalArgumentException("latent has " + tokens + " rows, a sequence has at most 2^31-1 tokens");
        }
        requireTensors(tokens, latent, ropeKeys, false);
        try (PageTables.Use use = use(List.of(sequence))) {
            int before = sequence.length;
            extend(use, new int[] {(int) tokens});
            try {
                Mla.write(latent, ropeKeys, latents(0, use.sequences(), use.lengths()), new int[] {before});
            } catch (RuntimeException | Error e) {
                use.truncate(before);
                throw e;
            }
        }
    }

    /**
     * Reads the records of some tokens of a sequence in one layer. In the FP8 formats a value of the latent is its code
     * times its scale, in FP32.
     *
     * @param layer which layer
     * @param sequence the sequence
     * @param from the first token
     * @param to one past the last
     * @param latent {@code [to - from, kvLoraRank]} of F32 or BF16, of any strides; all of it is written
     * @param ropeKeys {@code [to - from, ropeDim]} of F32 or BF16, of any strides, not overlapping the other; all of it
     *     is written
     * @throws IndexOutOfBoundsException if the sequence has no such tokens
     * @throws IllegalArgumentException if a layer, shape, dtype or device does not fit, or the sequence is of another
     *     cache
     * @throws IllegalStateException if the sequence or a tensor is closed, or another thread is at work on the sequence
     */
    public void read(int layer, Sequence sequence, int from, int to, Tensor latent, Tensor ropeKeys) {
        requireLayer(layer);
        try (PageTables.Use use = use(List.of(sequence))) {
            Objects.checkFromToIndex(from, to, sequence.length);
            requireTensors(to - from, latent, ropeKeys, true);
            Mla.read(latents(layer, use.sequences(), new int[] {to}), new int[] {from}, latent, ropeKeys);
        }
    }

    // ---------------------------------------------------------------------------------------------- files

    /**
     * Saves sequences to a safetensors file: the used records of their pages, each page once however many share it, and
     * zeros behind the last token of a page, so that the same content makes the same bytes. Takes as much memory as the
     * file has bytes. A file that exists is replaced when the new one is complete; it may be the one that this cache
     * maps.
     *
     * @param file where to
     * @param sequences the sequences, in the order in which {@link #map} gives them back, each at most once
     * @throws IllegalArgumentException if a sequence is of another cache or comes twice
     * @throws IllegalStateException if a sequence is closed, or another thread is at work on it
     * @throws IOException if writing fails; the path then holds what it held before
     */
    public void save(Path file, List<Sequence> sequences) throws IOException {
        try (PageTables.Use use = use(sequences)) {
            int[][] pages = Arrays.stream(use.sequences())
                    .map(s -> Arrays.copyOf(s.table, Math.ceilDiv(s.length, pageSize))).toArray(int[][]::new);
            CacheFile.save(file, this, layers, pages, use.lengths());
        }
    }

    /** Opens sequences whose pages are filled already, in a cache that has none yet. */
    void adopt(int[][] pages, int[] lengths) {
        tables.adopt(pages, lengths);
    }

    // ---------------------------------------------------------------------------------------------- for attention

    /**
     * Lets a backend see sequences, and keeps everybody else away from them until it is closed.
     *
     * @throws IllegalArgumentException if there is no such layer, or a sequence is of another cache or comes twice
     * @throws IllegalStateException if a sequence is closed, or another thread is at work on it
     */
    Lease lease(int layer, List<Sequence> sequences) {
        requireLayer(layer);
        PageTables.Use use = use(sequences);
        return new Lease(use, latents(layer, use.sequences(), use.lengths()));
    }

    /** Keeps sequences from being changed while a backend works on them. */
    static final class Lease implements AutoCloseable {
        private final PageTables.Use use;
        private final PagedLatents latents;

        private Lease(PageTables.Use use, PagedLatents latents) {
            this.use = use;
            this.latents = latents;
        }

        PagedLatents latents() {
            return latents;
        }

        /** Lets others use the sequences again. Closing again does nothing. */
        @Override
        public void close() {
            use.close();
        }
    }

    private PagedLatents latents(int layer, Sequence[] all, int[] lengths) {
        int[][] tables = new int[all.length][];
        for (int i = 0; i < all.length; i++) {
            tables[i] = all[i].table;
        }
        return new PagedLatents(format, kvLoraRank, ropeDim, layers[layer], tables, lengths);
    }

    private PageTables.Use use(List<Sequence> wanted) {
        PageTables.Use use = tables.use(wanted);
        try {
            Mla.requireAccess("the cache", layers[0]);
            return use;
        } catch (RuntimeException | Error e) {
            use.close();
            throw e;
        }
    }

    private void claim(PageTables.Use use, int[] from, int[] to) {
        if (readOnly != null && !Arrays.equals(from, to)) {
            throw new IllegalStateException(readOnly);
        }
        use.claim(from, to, layers);
    }

    /**
     * One sequence of tokens. Its methods may be called by any thread, but not while an operation of another thread
     * works on it; see {@link LatentKvCache}.
     */
    public static final class Sequence implements AutoCloseable {
        final PageTables tables;
        private final int number;
        // Guarded by the tables' lock, or in the hands of the thread that is the user.
        int[] table;
        int length;
        @Nullable Thread user;
        boolean closed;

        Sequence(PageTables tables, int number, int[] table, int length) {
            this.tables = tables;
            this.number = number;
            this.table = table;
            this.length = length;
        }

        /** {@return how many tokens have places} */
        public int length() {
            return tables.length(this);
        }

        /**
         * Forgets all tokens but the first ones. Pages that are no longer needed are free again.
         *
         * @param tokens how many to keep
         * @throws IllegalArgumentException if the number is negative or more than the sequence has
         * @throws IllegalStateException if the sequence is closed, or another thread is at work on it
         */
        public void truncate(int tokens) {
            tables.truncate(this, tokens);
        }

        /**
         * {@return a new sequence with the same tokens, which shares their pages; for the caller to close}
         *
         * @throws IllegalStateException if the sequence is closed, or another thread is at work on it
         */
        public Sequence fork() {
            return tables.fork(this, PageTables.ALL);
        }

        /**
         * {@return a new sequence with the same first tokens, which shares their pages; for the caller to close}
         *
         * @param tokens how many tokens it begins with
         * @throws IllegalArgumentException if the number is negative or more than the sequence has
         * @throws IllegalStateException if the sequence is closed, or another thread is at work on it
         */
        public Sequence fork(int tokens) {
            if (tokens < 0) {
                throw new IllegalArgumentException("tokens is " + tokens + ", it can't be negative");
            }
            return tables.fork(this, tokens);
        }

        /**
         * Frees the pages that no other sequence shares. Closing again does nothing, and neither does closing after the
         * cache.
         *
         * @throws IllegalStateException if another thread is at work on the sequence
         */
        @Override
        public void close() {
            tables.close(this);
        }

        /** {@return which sequence of its cache this is, counted as they were opened} */
        @Override
        public String toString() {
            return "sequence " + number;
        }
    }

    // ---------------------------------------------------------------------------------------------- checks

    private void requireLayer(int layer) {
        if (layer < 0 || layer >= layers.length) {
            throw new IllegalArgumentException("layer is " + layer + ", the cache has " + layers.length);
        }
    }

    private static int[] checkedTokens(List<Sequence> sequences, int[] tokens) {
        if (tokens.length != sequences.size()) {
            throw new IllegalArgumentException(
                    "tokens has " + tokens.length + " entries, there are " + sequences.size() + " sequences");
        }
        int[] copy = tokens.clone();
        for (int i = 0; i < copy.length; i++) {
            if (copy[i] < 0) {
                throw new IllegalArgumentException("tokens[" + i + "] is " + copy[i] + ", it can't be negative");
            }
        }
        return copy;
    }

    private void requireTensors(long tokens, Tensor latent, Tensor ropeKeys, boolean written) {
        Mla.requireFloat("latent", latent, 2);
        Mla.requireFloat("ropeKeys", ropeKeys, 2);
        Mla.requireShape("latent", latent, Shape.of(tokens, kvLoraRank));
        Mla.requireShape("ropeKeys", ropeKeys, Shape.of(tokens, ropeDim));
        Mla.requireDevice(device(), "latent", latent);
        Mla.requireDevice(device(), "ropeKeys", ropeKeys);
        if (written) {
            Mla.requireWritable("latent", latent);
            Mla.requireWritable("ropeKeys", ropeKeys);
        } else {
            Mla.requireAccess("latent", latent);
            Mla.requireAccess("ropeKeys", ropeKeys);
        }
    }

    /**
     * Frees the memory, and with it all sequences. Closing again does nothing.
     *
     * @throws IllegalStateException if a thread is at work on a sequence
     */
    @Override
    public void close() {
        tables.close(freeMemory);
    }

    /** {@return format, dimensions and size, for example {@code FP8 cache of 61 layers, 1024 pages of 64 tokens}} */
    @Override
    public String toString() {
        return format + " cache of " + layers.length + " layers, " + pages() + " pages of " + pageSize + " tokens";
    }
}
