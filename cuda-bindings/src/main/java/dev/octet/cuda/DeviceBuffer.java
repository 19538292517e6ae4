package dev.octet.cuda;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.spi.Storage;
import dev.octet.cuda.driver.Driver;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * Memory of a GPU, as bytes; the memory behind tensors there. Safe for use by several threads. Closing waits for the
 * work that was submitted before, then frees.
 */
public final class DeviceBuffer extends Resource implements Storage {
    private final long bytes;

    private DeviceBuffer(CudaDevice device, long address, long bytes) {
        super(device, address);
        this.bytes = bytes;
    }

    static DeviceBuffer allocate(CudaDevice device, long bytes) {
        if (bytes < 0) {
            throw new IllegalArgumentException("bytes is " + bytes + ", takes 0 or more");
        }
        Driver driver = device.enter();
        try {
            // The driver gives out no memory of 0 bytes.
            return new DeviceBuffer(device, driver.allocate(Math.max(1, bytes)), bytes);
        } catch (CudaException e) {
            if (!e.statusName().equals("CUDA_ERROR_OUT_OF_MEMORY")) {
                throw e;
            }
            OutOfMemoryError error = new OutOfMemoryError("no " + bytes + " bytes on " + device + ", of "
                    + device.totalMemory() + " bytes " + driver.freeMemory() + " are free");
            error.initCause(e);
            throw error;
        }
    }

    /**
     * Sees the first bytes as a contiguous tensor, which does not own them.
     *
     * @param dtype the element type
     * @param dims the extents
     * @return the tensor
     * @throws IllegalArgumentException if it takes more bytes than there are
     */
    public Tensor tensor(DType dtype, long... dims) {
        Shape shape = Shape.of(dims);
        long[] strides = new long[dims.length];
        long stride = 1;
        for (int d = dims.length - 1; d >= 0; d--) {
            strides[d] = stride;
            stride *= Math.max(1, dims[d]);
        }
        return Tensor.view(this, dtype, shape, strides, 0);
    }

    @Override
    public Device device() {
        return gpu().device();
    }

    @Override
    public long byteSize() {
        return bytes;
    }

    @Override
    public boolean isAlive() {
        return isOpen();
    }

    @Override
    public long address() {
        return handle();
    }

    /**
     * Always throws.
     *
     * @throws UnsupportedOperationException always: the host can't address this memory
     */
    @Override
    public MemorySegment segment() {
        throw new UnsupportedOperationException("the memory of " + this + " is not addressable from the host: copy it"
                + " with Tensor.to(Device.CPU)");
    }

    /** {@inheritDoc} The copy is work of the calling thread's {@link CudaDevice#currentStream() current stream}. */
    @Override
    public void read(long offset, MemorySegment target) {
        CudaStream stream = gpu().currentStream();
        stream.copyToHost(this, offset, target);
        stream.synchronize();
    }

    /** {@inheritDoc} The copy is work of the calling thread's {@link CudaDevice#currentStream() current stream}. */
    @Override
    public void write(long offset, MemorySegment source) {
        CudaStream stream = gpu().currentStream();
        stream.copyToDevice(source, this, offset);
        stream.synchronize();
    }

    /** {@return the address of a range} */
    long range(long offset, long length) {
        Objects.checkFromIndexSize(offset, length, bytes);
        return handle() + offset;
    }

    @Override
    void release(long handle) {
        gpu().enter().free(handle);
    }

    /** {@return for example {@code 4096 bytes on cuda:0}} */
    @Override
    public String toString() {
        return bytes + " bytes on " + gpu().device();
    }
}
