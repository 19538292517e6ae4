package dev.octet.core;

import dev.octet.core.spi.Storage;
import java.lang.foreign.MemorySegment;

/** Memory of a GPU that is not there: any use of it fails the test. */
public record Elsewhere(long byteSize) implements Storage {
    /** {@return a contiguous tensor in such memory} */
    public static Tensor tensor(DType dtype, long... dims) {
        long[] strides = new long[dims.length];
        long elements = 1;
        for (int d = dims.length - 1; d >= 0; d--) {
            strides[d] = elements;
            elements *= dims[d];
        }
        return Tensor.view(new Elsewhere(elements * dtype.byteSize()), dtype, Shape.of(dims), strides, 0);
    }

    @Override
    public Device device() {
        return Device.cuda(0);
    }

    @Override
    public boolean isAlive() {
        return true;
    }

    @Override
    public void close() {}

    @Override
    public long address() {
        throw new AssertionError("touched");
    }

    @Override
    public MemorySegment segment() {
        throw new AssertionError("touched");
    }

    @Override
    public void read(long offset, MemorySegment target) {
        throw new AssertionError("touched");
    }

    @Override
    public void write(long offset, MemorySegment source) {
        throw new AssertionError("touched");
    }
}
