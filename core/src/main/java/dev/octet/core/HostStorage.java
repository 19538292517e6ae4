package dev.octet.core;

import dev.octet.core.spi.Storage;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** Native memory of this process: allocated and owned, or wrapped and only used. */
final class HostStorage implements Storage {
    private final MemorySegment segment;
    private final @Nullable Arena owned;

    /**
     * @param segment a native segment
     * @param owned the arena to close with the storage, or null if somebody else owns the memory
     */
    HostStorage(MemorySegment segment, @Nullable Arena owned) {
        this.segment = segment;
        this.owned = owned;
    }

    @Override
    public Device device() {
        return Device.CPU;
    }

    @Override
    public long byteSize() {
        return segment.byteSize();
    }

    @Override
    public boolean isAlive() {
        return segment.scope().isAlive();
    }

    @Override
    public synchronized void close() {
        if (owned != null && owned.scope().isAlive()) {
            owned.close();
        }
    }

    @Override
    public long address() {
        return segment().address();
    }

    @Override
    public MemorySegment segment() {
        if (!isAlive()) {
            throw new IllegalStateException("the tensor's memory is closed");
        }
        return segment;
    }

    @Override
    public void read(long offset, MemorySegment target) {
        MemorySegment.copy(segment(), offset, target, 0, target.byteSize());
    }

    @Override
    public void write(long offset, MemorySegment source) {
        MemorySegment.copy(source, 0, segment(), offset, source.byteSize());
    }
}
