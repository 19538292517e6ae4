package dev.octet.cuda.driver;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A launch configuration as the driver reads it: {@code CUlaunchConfig} with room for its attributes behind it.
 *
 * <pre>
 *   0  grid x, y, z      u32
 *  12  block x, y, z     u32
 *  24  dynamic shared    u32
 *  32  stream            pointer
 *  40  attributes        pointer
 *  48  attribute count   u32
 *  64  attributes, 72 bytes each: id u32, 4 bytes of padding, value of 64 bytes
 * </pre>
 */
public final class LaunchLayout {
    /** Attributes that there is room for: cluster size, programmatic launch, cooperative launch. */
    public static final int MAX_ATTRIBUTES = 3;
    /** Bytes of a configuration with all its attributes. */
    public static final long BYTES = 64 + MAX_ATTRIBUTES * 72L;

    static final long GRID = 0;
    static final long BLOCK = 12;
    static final long SHARED = 24;
    static final long STREAM = 32;
    static final long ATTRIBUTES = 40;
    static final long COUNT = 48;
    static final long FIRST_ATTRIBUTE = 64;
    static final long ATTRIBUTE_BYTES = 72;

    private static final int COOPERATIVE = 2;
    private static final int CLUSTER_DIMENSION = 4;
    private static final int PROGRAMMATIC_STREAM_SERIALIZATION = 6;

    private LaunchLayout() {}

    /** Writes an empty configuration: one block of one thread. */
    public static void clear(MemorySegment config) {
        config.fill((byte) 0);
        grid(config, 1, 1, 1);
        block(config, 1, 1, 1);
        config.set(ValueLayout.JAVA_LONG, ATTRIBUTES, config.address() + FIRST_ATTRIBUTE);
    }

    /** Sets the blocks of the grid. */
    public static void grid(MemorySegment config, int x, int y, int z) {
        three(config, GRID, x, y, z);
    }

    /** Sets the threads of a block. */
    public static void block(MemorySegment config, int x, int y, int z) {
        three(config, BLOCK, x, y, z);
    }

    /** Sets the dynamic shared memory in bytes. */
    public static void shared(MemorySegment config, int bytes) {
        config.set(ValueLayout.JAVA_INT, SHARED, bytes);
    }

    /** Sets the stream. */
    public static void stream(MemorySegment config, long stream) {
        config.set(ValueLayout.JAVA_LONG, STREAM, stream);
    }

    /** Writes the attributes anew. A cluster of 1 and false are what a launch without attributes has. */
    public static void attributes(MemorySegment config, int clusterX, int clusterY, int clusterZ, boolean programmatic,
            boolean cooperative) {
        int count = 0;
        if (clusterX != 1 || clusterY != 1 || clusterZ != 1) {
            three(config, attribute(config, count++, CLUSTER_DIMENSION), clusterX, clusterY, clusterZ);
        }
        if (programmatic) {
            config.set(ValueLayout.JAVA_INT, attribute(config, count++, PROGRAMMATIC_STREAM_SERIALIZATION), 1);
        }
        if (cooperative) {
            config.set(ValueLayout.JAVA_INT, attribute(config, count++, COOPERATIVE), 1);
        }
        config.set(ValueLayout.JAVA_INT, COUNT, count);
    }

    /** {@return where the value of a new attribute lies} */
    private static long attribute(MemorySegment config, int index, int id) {
        long at = FIRST_ATTRIBUTE + index * ATTRIBUTE_BYTES;
        config.asSlice(at, ATTRIBUTE_BYTES).fill((byte) 0);
        config.set(ValueLayout.JAVA_INT, at, id);
        return at + 8;
    }

    private static void three(MemorySegment config, long at, int x, int y, int z) {
        config.set(ValueLayout.JAVA_INT, at, x);
        config.set(ValueLayout.JAVA_INT, at + 4, y);
        config.set(ValueLayout.JAVA_INT, at + 8, z);
    }
}
