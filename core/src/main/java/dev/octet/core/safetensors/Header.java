package dev.octet.core.safetensors;

import dev.octet.core.Shape;
import dev.octet.core.json.JsonException;
import dev.octet.core.json.JsonReader;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.IntBinaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * The header of a safetensors file, checked:
 *
 * <pre>
 * byte 0          8              8 + N                    the file's end
 * | N, u64 LE     | N bytes JSON | payload                |
 * {"__metadata__": {"key": "value"}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
 * </pre>
 *
 * <p>The text is read three times: once to check and count it without allocating anything, once to note where names and
 * ranges stand, in arrays smaller than the text they come from, so that duplicates, holes and overlaps can be found,
 * and once to make objects. So a file that is refused never costs more memory than it has bytes.
 */
final class Header {
    /** The longest header that the reference implementation takes, in bytes. */
    static final long MAX_LENGTH = 100_000_000;
    /** More dimensions than any model has: a bound of our own, so that a shape can be checked in place. */
    static final int MAX_RANK = 64;
    /** The key that names no tensor. */
    static final String METADATA = "__metadata__";

    private static final ValueLayout.OfLong U64 = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final int SHOWN_NAME = 100;

    private enum Pass {
        COUNT, NOTE, BUILD
    }

    private final Path path;
    private final long dataStart;
    private final long payload;
    private final MemorySegment file;
    private JsonReader text;

    // what NOTE fills: where each tensor's name and each metadata key stands, and the tensors' ranges
    private int[] names = {};
    private int[] keys = {};
    private long[] begins = {};
    private long[] ends = {};
    private int tensorCount;
    private int keyCount;

    // the tensor that is being read
    private long nameAt = -1;
    private long typeAt;
    private long shapeAt;
    private long offsetsAt;
    private final long[] dims = new long[MAX_RANK];
    private int rank;
    private long begin;
    private long end;

    private final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
    private final Map<String, String> metadata = new LinkedHashMap<>();

    private Header(MemorySegment file, Path path, long length) {
        this.file = file;
        this.path = path;
        this.dataStart = 8 + length;
        this.payload = file.byteSize() - dataStart;
        this.text = new JsonReader(file, 8, dataStart);
    }

    /**
     * Reads and checks a header.
     *
     * @param file all bytes of the file
     * @param path its name, for messages
     * @throws SafetensorsException if the file breaks a rule of the format
     */
    static Header read(MemorySegment file, Path path) throws SafetensorsException {
        if (file.byteSize() < 8) {
            throw new SafetensorsException(path, null, 0,
                    "the file has " + file.byteSize() + " bytes, the header's length alone takes 8");
        }
        long length = file.get(U64, 0);
        if (length < 0 || length > MAX_LENGTH) {
            throw new SafetensorsException(path, null, 0, "the header's length is " + Long.toUnsignedString(length)
                    + " bytes, at most " + MAX_LENGTH + " are allowed");
        }
        if (length > file.byteSize() - 8) {
            throw new SafetensorsException(path, null, 0, "the header's length is " + length
                    + " bytes, but only " + (file.byteSize() - 8)
                    + " follow: the file is cut off or no safetensors file");
        }
        if (length == 0 || file.get(ValueLayout.JAVA_BYTE, 8) != '{') {
            throw new SafetensorsException(path, null, 8, "the header does not begin with '{'");
        }
        Header header = new Header(file, path, length);
        try {
            header.scan(Pass.COUNT);
            header.names = new int[header.tensorCount];
            header.begins = new long[header.tensorCount];
            header.ends = new long[header.tensorCount];
            header.keys = new int[header.keyCount];
            header.scan(Pass.NOTE);
            header.checkRanges();
            header.checkDuplicates(header.names, "the name");
            header.checkDuplicates(header.keys, "the key in " + METADATA);
            header.scan(Pass.BUILD);
        } catch (JsonException e) {
            throw header.fault(e.position(), e.getMessage());
        }
        return header;
    }

    /** {@return the tensors in the order of the header} */
    Map<String, TensorInfo> tensors() {
        return tensors;
    }

    /** {@return the pairs of __metadata__ in the order of the header} */
    Map<String, String> metadata() {
        return metadata;
    }

    // ---------------------------------------------------------------------------------------------- the text

    private void scan(Pass pass) throws SafetensorsException {
        text = new JsonReader(file, 8, dataStart);
        tensorCount = 0;
        keyCount = 0;
        boolean metadataSeen = false;
        text.beginObject();
        while (text.hasNext()) {
            long at = text.position();
            if (text.stringIs(METADATA)) {
                if (metadataSeen) {
                    throw fault(at, METADATA + " occurs twice");
                }
                metadataSeen = true;
                text.skipString();
                text.colon();
                scanMetadata(pass);
            } else {
                text.skipString();
                nameAt = at;
                text.colon();
                scanTensor(pass);
                nameAt = -1;
            }
        }
        text.end();
    }

    private void scanMetadata(Pass pass) {
        text.beginObject();
        while (text.hasNext()) {
            long at = text.position();
            text.skipString();
            text.colon();
            long valueAt = text.position();
            text.skipString();
            if (pass == Pass.NOTE) {
                keys[keyCount] = (int) at;
            } else if (pass == Pass.BUILD) {
                metadata.put(text.stringAt(at, Integer.MAX_VALUE), text.stringAt(valueAt, Integer.MAX_VALUE));
            }
            keyCount++;
        }
    }

    private void scanTensor(Pass pass) throws SafetensorsException {
        long at = text.position();
        typeAt = -1;
        shapeAt = -1;
        offsetsAt = -1;
        StoredType type = null;
        text.beginObject();
        while (text.hasNext()) {
            long field = text.position();
            if (text.stringIs("dtype")) {
                valueOf(field, "dtype", typeAt);
                typeAt = text.position();
                type = findType();
                text.skipString();
            } else if (text.stringIs("shape")) {
                valueOf(field, "shape", shapeAt);
                shapeAt = text.position();
                readShape();
            } else if (text.stringIs("data_offsets")) {
                valueOf(field, "data_offsets", offsetsAt);
                offsetsAt = text.position();
                readOffsets();
            } else {
                text.skipString();
                throw fault(field, "there is no field '" + shown(field) + "' of a tensor; dtype, shape and"
                        + " data_offsets are all");
            }
        }
        if (typeAt < 0 || shapeAt < 0 || offsetsAt < 0) {
            throw fault(at, (typeAt < 0 ? "dtype" : shapeAt < 0 ? "shape" : "data_offsets") + " is missing");
        }
        long elements = checkSize(type);
        switch (pass) {
            case COUNT -> {
                // counted below
            }
            case NOTE -> {
                names[tensorCount] = (int) nameAt;
                begins[tensorCount] = begin;
                ends[tensorCount] = end;
            }
            case BUILD -> {
                String name = text.stringAt(nameAt, Integer.MAX_VALUE);
                String stored = type != null ? type.name() : text.stringAt(typeAt, Integer.MAX_VALUE);
                Shape shape = Shape.of(Arrays.copyOf(dims, rank));
                assert shape.elements() == elements;
                tensors.put(name, new TensorInfo(name, stored, shape, dataStart + begin, end - begin));
            }
        }
        tensorCount++;
    }

    /** Passes a field's key and colon. */
    private void valueOf(long at, String field, long seenAt) throws SafetensorsException {
        if (seenAt >= 0) {
            throw fault(at, field + " occurs twice");
        }
        text.skipString();
        text.colon();
    }

    private @Nullable StoredType findType() {
        if (text.peek() == '"') {
            for (StoredType t : StoredType.all()) {
                if (text.stringIs(t.name())) {
                    return t;
                }
            }
        }
        return null;
    }

    private void readShape() throws SafetensorsException {
        rank = 0;
        text.beginArray();
        while (text.hasNext()) {
            if (rank == MAX_RANK) {
                throw fault(text.position(), "shape has more than " + MAX_RANK + " dimensions");
            }
            dims[rank++] = text.integer();
        }
    }

    private void readOffsets() throws SafetensorsException {
        long at = text.position();
        int n = 0;
        text.beginArray();
        while (text.hasNext()) {
            long value = text.integer();
            if (n == 0) {
                begin = value;
            } else {
                end = value;
            }
            n++;
        }
        if (n != 2) {
            throw fault(at, "data_offsets has " + n + " numbers, it takes 2");
        }
        if (begin > end) {
            throw fault(at, "data_offsets [" + begin + ", " + end + "] end before they begin");
        }
        if (end > payload) {
            throw fault(at, "data_offsets [" + begin + ", " + end
                    + "] lead beyond the end of the file, whose payload has " + payload + " bytes");
        }
    }

    /** Checks the range against dtype and shape; an unknown dtype's size is anybody's guess. */
    private long checkSize(@Nullable StoredType type) throws SafetensorsException {
        long elements = 1;
        long bits;
        try {
            for (int i = 0; i < rank; i++) {
                elements = Math.multiplyExact(elements, dims[i]);
            }
            bits = type == null ? 0 : Math.multiplyExact(elements, (long) type.bits());
        } catch (ArithmeticException e) {
            throw fault(shapeAt,
                    "the size of shape " + Arrays.toString(Arrays.copyOf(dims, rank)) + " overflows 64 bits");
        }
        if (type != null && bits % 8 != 0) {
            throw fault(shapeAt, elements + " elements of " + type + " do not fill whole bytes");
        }
        if (type != null && bits / 8 != end - begin) {
            throw fault(offsetsAt, "data_offsets [" + begin + ", " + end + "] hold " + (end - begin) + " bytes, " + type
                    + " " + Arrays.toString(Arrays.copyOf(dims, rank)) + " takes " + bits / 8);
        }
        return elements;
    }

    // ---------------------------------------------------------------------------------------------- all together

    /** The ranges, in order, must cover the payload from its first byte to its last. */
    private void checkRanges() throws SafetensorsException {
        int[] order = new int[tensorCount];
        Arrays.setAll(order, i -> i);
        sort(order, (a, b) -> begins[a] != begins[b] ? Long.compare(begins[a], begins[b])
                : Long.compare(ends[a], ends[b]));
        long covered = 0;
        for (int i : order) {
            if (begins[i] != covered) {
                nameAt = names[i];
                throw fault(dataStart + Math.min(begins[i], covered), begins[i] > covered
                        ? "nothing describes the bytes [" + covered + ", " + begins[i]
                                + ") of the payload before it: a hole"
                        : "its bytes [" + begins[i] + ", " + ends[i] + ") of the payload overlap those of another,"
                                + " which end at " + covered);
            }
            covered = ends[i];
        }
        if (covered != payload) {
            throw fault(dataStart + covered, (payload - covered) + " trailing bytes that no tensor describes");
        }
    }

    private void checkDuplicates(int[] at, String what) throws SafetensorsException {
        sort(at, text::compareStringsAt);
        for (int i = 1; i < at.length; i++) {
            if (text.compareStringsAt(at[i - 1], at[i]) == 0) {
                throw fault(Math.max(at[i - 1], at[i]), what + " '" + shown(at[i]) + "' occurs twice, first at byte "
                        + Math.min(at[i - 1], at[i]));
            }
        }
    }

    /** Heap sort: in place, and never worse than n log n whatever the file holds. */
    private static void sort(int[] a, IntBinaryOperator order) {
        for (int i = a.length / 2 - 1; i >= 0; i--) {
            sink(a, i, a.length, order);
        }
        for (int n = a.length - 1; n > 0; n--) {
            int largest = a[0];
            a[0] = a[n];
            a[n] = largest;
            sink(a, 0, n, order);
        }
    }

    private static void sink(int[] a, int from, int n, IntBinaryOperator order) {
        int i = from;
        while (2 * i + 1 < n) {
            int child = 2 * i + 1;
            if (child + 1 < n && order.applyAsInt(a[child], a[child + 1]) < 0) {
                child++;
            }
            if (order.applyAsInt(a[i], a[child]) >= 0) {
                return;
            }
            int swapped = a[i];
            a[i] = a[child];
            a[child] = swapped;
            i = child;
        }
    }

    // ---------------------------------------------------------------------------------------------- faults

    private SafetensorsException fault(long position, @Nullable String what) {
        return new SafetensorsException(path, nameAt < 0 ? null : shown(nameAt), position, String.valueOf(what));
    }

    /** A name fit for a message: not too long, and nothing in it that a terminal would obey. */
    private String shown(long at) {
        String name = text.stringAt(at, SHOWN_NAME);
        StringBuilder out = new StringBuilder();
        name.codePoints().forEach(c -> {
            if (Character.isISOControl(c) || Character.getType(c) == Character.FORMAT) {
                out.append(String.format("\\u%04x", c));
            } else {
                out.appendCodePoint(c);
            }
        });
        return name.length() < SHOWN_NAME ? out.toString() : out + "...";
    }
}
