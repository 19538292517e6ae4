package dev.octet.core;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Copies elements where at least one of two tensors is not in host memory. What is not contiguous goes by way of the
 * host.
 */
final class DeviceCopy {
    private DeviceCopy() {}

    /** Both have the same dtype and shape, and at least one element. */
    static void copy(Tensor source, Tensor target) {
        boolean fromHost = source.device().equals(Device.CPU);
        boolean toHost = target.device().equals(Device.CPU);
        try (Arena arena = Arena.ofConfined()) {
            if (source.isContiguous() && target.isContiguous()) {
                MemorySegment between = fromHost ? source.segment() : toHost ? target.segment() : room(source, arena);
                if (!fromHost) {
                    source.storage().read(byteOffset(source), between);
                }
                if (!toHost) {
                    target.storage().write(byteOffset(target), between);
                }
                return;
            }
            MemorySegment from = fromHost ? source.segment() : fetch(source, arena);
            // What lies between the elements is written back as it was.
            MemorySegment to = toHost ? target.segment()
                    : target.isContiguous() ? room(target, arena) : fetch(target, arena);
            StridedCopy.copy(source.dtype(), source.shape(), from, source.strides(), to, target.strides());
            if (!toHost) {
                target.storage().write(byteOffset(target), to);
            }
        }
    }

    private static long byteOffset(Tensor t) {
        return t.offset() * t.dtype().byteSize();
    }

    private static MemorySegment room(Tensor t, Arena arena) {
        return arena.allocate(Strides.extent(t.shape(), t.strides()) * t.dtype().byteSize(), Tensor.ALIGNMENT);
    }

    /** Reads all from the first element to the last, gaps included. */
    private static MemorySegment fetch(Tensor t, Arena arena) {
        MemorySegment host = room(t, arena);
        t.storage().read(byteOffset(t), host);
        return host;
    }
}
