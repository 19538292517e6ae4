package dev.octet.benchmarks.demo;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Reads the fields of one protobuf message in order, without copying any. {@link #next()} moves to a field, then
 * exactly one of {@link #varint()}, {@link #message()}, {@link #bytes()}, {@link #text()} or {@link #skip()} takes it.
 * Every length is checked against the message that encloses it before it is used.
 */
final class ProtoCursor {
    static final int VARINT = 0;
    static final int FIXED64 = 1;
    static final int LENGTH = 2;
    static final int FIXED32 = 5;

    /** Repeated integers are the extents of a tensor here. */
    private static final int MAX_REPEATED = 16;

    private final String name;
    private final MemorySegment file;
    private final long end;
    private long position;
    private long field;
    private int wireType;

    ProtoCursor(String name, MemorySegment file) {
        this(name, file, 0, file.byteSize());
    }

    private ProtoCursor(String name, MemorySegment file, long from, long to) {
        this.name = name;
        this.file = file;
        this.position = from;
        this.end = to;
    }

    /** Moves to the next field; false at the end of the message. */
    boolean next() throws ModelFormatException {
        if (position == end) {
            return false;
        }
        long key = rawVarint();
        field = key >>> 3;
        wireType = (int) (key & 7);
        if (field == 0 || field > 0x1FFF_FFFF) {
            throw fault("field number " + Long.toUnsignedString(field) + " is not between 1 and 2^29-1");
        }
        return true;
    }

    /** The number of the current field. */
    int field() {
        return (int) field;
    }

    int wireType() {
        return wireType;
    }

    long varint() throws ModelFormatException {
        require(VARINT);
        return rawVarint();
    }

    ProtoCursor message() throws ModelFormatException {
        require(LENGTH);
        long length = length();
        ProtoCursor inner = new ProtoCursor(name, file, position, position + length);
        position += length;
        return inner;
    }

    MemorySegment bytes() throws ModelFormatException {
        require(LENGTH);
        long length = length();
        MemorySegment slice = file.asSlice(position, length);
        position += length;
        return slice;
    }

    String text() throws ModelFormatException {
        long start = position;
        MemorySegment s = bytes();
        try {
            ByteBuffer buffer = ByteBuffer.wrap(s.toArray(ValueLayout.JAVA_BYTE));
            return StandardCharsets.UTF_8.newDecoder().decode(buffer).toString();
        } catch (CharacterCodingException e) {
            position = start;
            throw fault("field " + field + " is a name that is not UTF-8");
        }
    }

    /** A short repeated integer: one value, or several of them packed into one field. */
    long[] appendVarints(long[] values) throws ModelFormatException {
        if (wireType == VARINT) {
            return append(values, rawVarint());
        }
        ProtoCursor packed = message();
        long[] longer = values;
        while (packed.position < packed.end) {
            longer = append(longer, packed.rawVarint());
        }
        return longer;
    }

    private long[] append(long[] values, long value) throws ModelFormatException {
        if (values.length == MAX_REPEATED) {
            throw fault("field " + field + " has more than " + MAX_REPEATED + " values");
        }
        long[] longer = Arrays.copyOf(values, values.length + 1);
        longer[values.length] = value;
        return longer;
    }

    void skip() throws ModelFormatException {
        switch (wireType) {
            case VARINT -> rawVarint();
            case FIXED64 -> advance(8);
            case LENGTH -> advance(length());
            case FIXED32 -> advance(4);
            default -> throw fault("field " + field + " has wire type " + wireType + ", known are 0, 1, 2 and 5");
        }
    }

    ModelFormatException fault(String what) {
        return new ModelFormatException(name + ", byte " + position + ": " + what);
    }

    private void require(int type) throws ModelFormatException {
        if (wireType != type) {
            throw fault("field " + field + " has wire type " + wireType + ", it must be " + type);
        }
    }

    private long length() throws ModelFormatException {
        long length = rawVarint();
        if (length < 0 || length > end - position) {
            throw fault("field " + field + " has " + Long.toUnsignedString(length) + " bytes, its message has "
                    + (end - position) + " left");
        }
        return length;
    }

    private void advance(long bytes) throws ModelFormatException {
        if (bytes > end - position) {
            throw fault("field " + field + " has " + bytes + " bytes, its message has " + (end - position) + " left");
        }
        position += bytes;
    }

    private long rawVarint() throws ModelFormatException {
        long value = 0;
        for (int shift = 0; shift < 70; shift += 7) {
            if (position == end) {
                throw fault("the message ends inside a number");
            }
            byte b = file.get(ValueLayout.JAVA_BYTE, position++);
            if (shift == 63 && (b & 0xFF) > 1) {
                throw fault("a number has more than 64 bits");
            }
            value |= (long) (b & 0x7F) << shift;
            if (b >= 0) {
                return value;
            }
        }
        throw fault("a number has more than 64 bits");
    }
}
