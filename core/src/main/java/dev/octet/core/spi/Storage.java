package dev.octet.core.spi;

import dev.octet.core.Device;
import java.lang.foreign.MemorySegment;

/**
 * The memory behind one or more tensors. A device module implements it; the CPU's is built in.
 *
 * <p>Implementations are safe for use by several threads. Closing while a copy runs is the caller's error.
 */
public interface Storage {
    /** {@return where the memory lies} */
    Device device();

    /** {@return its size in bytes} */
    long byteSize();

    /** {@return whether the memory may still be used} */
    boolean isAlive();

    /**
     * Frees the memory if this object owns it. Closing again does nothing.
     */
    void close();

    /**
     * {@return the device address of the first byte: for the CPU a native address, for a GPU a device pointer}
     *
     * @throws IllegalStateException if the memory is no longer alive
     */
    long address();

    /**
     * {@return the memory as a native segment that this JVM can read and write}
     *
     * @throws IllegalStateException if the memory is no longer alive
     * @throws UnsupportedOperationException if the memory is not addressable from the host
     */
    MemorySegment segment();

    /**
     * Copies bytes to the host and returns when they are there.
     *
     * @param offset the first byte to read
     * @param target a native segment; all of it is written
     * @throws IndexOutOfBoundsException if the range is not inside the storage
     * @throws IllegalStateException if the memory is no longer alive
     */
    void read(long offset, MemorySegment target);

    /**
     * Copies bytes from the host and returns when the source may be reused.
     *
     * @param offset the first byte to write
     * @param source a native segment; all of it is read
     * @throws IndexOutOfBoundsException if the range is not inside the storage
     * @throws IllegalStateException if the memory is no longer alive
     */
    void write(long offset, MemorySegment source);
}
