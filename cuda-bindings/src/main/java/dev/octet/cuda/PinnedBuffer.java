package dev.octet.cuda;

import java.lang.foreign.MemorySegment;

/**
 * Page-locked host memory: what the GPU copies from and to by itself, while the CPU does something else. Safe for use
 * by several threads. Nothing checks that a copy is over when it is closed.
 */
public final class PinnedBuffer extends Resource {
    private final long bytes;

    private PinnedBuffer(CudaDevice device, long address, long bytes) {
        super(device, address);
        this.bytes = bytes;
    }

    static PinnedBuffer allocate(CudaDevice device, long bytes) {
        if (bytes < 0) {
            throw new IllegalArgumentException("bytes is " + bytes + ", takes 0 or more");
        }
        return new PinnedBuffer(device, device.enter().allocateHost(Math.max(1, bytes)), bytes);
    }

    /** {@return its size in bytes} */
    public long byteSize() {
        return bytes;
    }

    /**
     * {@return the memory as a segment. A segment that outlives this buffer reads freed memory: take it anew for each
     * use}
     *
     * @throws IllegalStateException if it is closed
     */
    @SuppressWarnings("restricted") // the driver's memory has no size that Java knows
    public MemorySegment segment() {
        return MemorySegment.ofAddress(handle()).reinterpret(bytes);
    }

    @Override
    void release(long handle) {
        gpu().enter().freeHost(handle);
    }

    /** {@return for example {@code 4096 page-locked bytes for cuda:0}} */
    @Override
    public String toString() {
        return bytes + " page-locked bytes for " + gpu().device();
    }
}
