package dev.octet.cuda;

import dev.octet.core.Device;
import dev.octet.core.Tensor;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * An order of work on a GPU: what is given to one stream is done one after the other, what is given to two streams may
 * overlap unless {@link CudaEvent events} order it. Methods return when the work is submitted, not when it is done.
 *
 * <p>Safe for use by several threads, except between the begin and the end of {@link #capture}. A host segment must
 * stay alive and unchanged until the stream has passed the copy; one that is not page-locked is copied more slowly,
 * partly by the CPU.
 */
public final class CudaStream extends Resource {
    private final boolean main;
    private @Nullable DeviceBuffer scratch;

    private CudaStream(CudaDevice device, long handle, boolean main) {
        super(device, handle);
        this.main = main;
        if (main) {
            device.resources().closed(this);
        }
    }

    static CudaStream create(CudaDevice device) {
        return new CudaStream(device, device.enter().createStream(), false);
    }

    static CudaStream createMain(CudaDevice device) {
        return new CudaStream(device, device.enter().createStream(), true);
    }

    /**
     * Runs operations whose work on this stream's GPU goes to this stream instead of the GPU's main stream.
     *
     * @param work what to do, on the calling thread
     */
    public void run(Runnable work) {
        handle();
        CudaDevice.runWith(this, work);
    }

    // ---------------------------------------------------------------------------------------------- waiting

    /** Waits until all work given to this stream is done. */
    public void synchronize() {
        gpu().enter().synchronizeStream(handle());
    }

    /** {@return whether all work given to this stream is done} */
    public boolean isIdle() {
        return gpu().enter().isIdle(handle());
    }

    /**
     * Sets an event behind the work given so far.
     *
     * @param event the event, of the same GPU
     */
    public void record(CudaEvent event) {
        gpu().enter().record(event.handle(), handle());
    }

    /**
     * Makes the work that is given from now on wait for an event, which may be of another stream or GPU.
     *
     * @param event what to wait for
     */
    public void waitFor(CudaEvent event) {
        gpu().enter().waitFor(handle(), event.handle());
    }

    // ---------------------------------------------------------------------------------------------- copies

    /**
     * Copies host memory to the GPU.
     *
     * @param source a native segment; all of it is read
     * @param target where to
     * @param offset the first byte to write
     * @throws IndexOutOfBoundsException if the bytes do not fit
     */
    public void copyToDevice(MemorySegment source, DeviceBuffer target, long offset) {
        copyToDevice(host("source", source), target.range(offset, source.byteSize()), source.byteSize());
    }

    /**
     * Copies memory of the GPU to the host.
     *
     * @param source where from
     * @param offset the first byte to read
     * @param target a native segment; all of it is written
     * @throws IndexOutOfBoundsException if there are not as many bytes
     */
    public void copyToHost(DeviceBuffer source, long offset, MemorySegment target) {
        if (target.isReadOnly()) {
            throw new IllegalArgumentException("target is read-only, it is to be written");
        }
        copyToHost(source.range(offset, target.byteSize()), host("target", target), target.byteSize());
    }

    /**
     * Copies a contiguous tensor into another of the same dtype and shape; one or both are on this stream's GPU.
     *
     * @param source where from
     * @param target where to
     * @throws IllegalArgumentException if dtype, shape or device do not fit, or one is not contiguous
     */
    public void copy(Tensor source, Tensor target) {
        if (source.dtype() != target.dtype() || !source.shape().equals(target.shape())) {
            throw new IllegalArgumentException("source is " + source + ", target is " + target
                    + ": dtype and shape must be the same");
        }
        if (!source.isContiguous() || !target.isContiguous()) {
            throw new IllegalArgumentException("source is " + source + ", target is " + target
                    + ": both must be contiguous");
        }
        long bytes = source.shape().elements() * source.dtype().byteSize();
        boolean from = source.device().equals(gpu().device());
        boolean to = target.device().equals(gpu().device());
        if (from && to) {
            copyOnDevice(source.address(), target.address(), bytes);
        } else if (to && source.device().equals(Device.CPU)) {
            copyToDevice(source.address(), target.address(), bytes);
        } else if (from && target.device().equals(Device.CPU)) {
            copyToHost(source.address(), host("target", target.segment()), bytes);
        } else {
            throw new IllegalArgumentException("source is " + source + ", target is " + target + ": one must be on "
                    + gpu().device() + ", the other there or on the CPU");
        }
    }

    /**
     * Sets all bytes.
     *
     * @param target what to fill
     * @param value the byte
     */
    public void fill(DeviceBuffer target, byte value) {
        if (target.byteSize() > 0) {
            gpu().enter().fill(target.address(), value, target.byteSize(), handle());
        }
    }

    private void copyToDevice(long host, long device, long bytes) {
        if (bytes > 0) {
            gpu().enter().copyToDevice(device, host, bytes, handle());
        }
    }

    private void copyToHost(long device, long host, long bytes) {
        if (bytes > 0) {
            gpu().enter().copyToHost(host, device, bytes, handle());
        }
    }

    private void copyOnDevice(long from, long to, long bytes) {
        if (bytes > 0) {
            gpu().enter().copyOnDevice(to, from, bytes, handle());
        }
    }

    private static long host(String name, MemorySegment segment) {
        if (!segment.isNative()) {
            throw new IllegalArgumentException(name + " is on the Java heap, takes a native segment");
        }
        if (!segment.scope().isAlive()) {
            throw new IllegalStateException(name + " is closed");
        }
        if (!segment.isAccessibleBy(Thread.currentThread())) {
            throw new WrongThreadException(name + " is in a confined arena, which belongs to another thread");
        }
        return segment.address();
    }

    // ---------------------------------------------------------------------------------------------- graphs

    /**
     * Records what operations give to this stream, instead of doing it. The operations run on the calling thread with
     * this stream as the {@link CudaDevice#currentStream() current} one; they must not wait for a stream, nor copy to
     * or from memory that is not page-locked, nor allocate.
     *
     * @param work what to record
     * @return the graph; the caller closes it
     * @throws CudaException if the work did something that can't be recorded
     */
    public CudaGraph capture(Runnable work) {
        gpu().enter().beginCapture(handle());
        try {
            run(work);
        } catch (RuntimeException | Error e) {
            // The stream must not stay in capture; that it was broken off is known already.
            try {
                gpu().enter().destroyGraph(gpu().enter().endCapture(handle()));
            } catch (CudaException broken) {
                e.addSuppressed(broken);
            }
            throw e;
        }
        return new CudaGraph(gpu(), gpu().enter().endCapture(handle()));
    }

    /** {@return whether the stream is recording instead of working} */
    public boolean isCapturing() {
        return gpu().enter().isCapturing(handle());
    }

    // ---------------------------------------------------------------------------------------------- lifetime

    /**
     * {@return memory for what a kernel of this stream puts aside until the next: as the work of a stream is done in
     * order, one piece serves all of it. It is not initialised, grows when more is asked for, which waits for the work
     * given so far, and is freed with the stream. Work that was recorded into a graph needs memory of its own}
     *
     * @param bytes at least so much
     */
    public synchronized DeviceBuffer scratch(long bytes) {
        handle();
        DeviceBuffer s = scratch;
        if (s == null || s.byteSize() < bytes) {
            DeviceBuffer larger = gpu().allocate(bytes);
            gpu().resources().closed(larger); // in the books the stream stands for it
            if (s != null) {
                s.close();
            }
            s = larger;
            scratch = s;
        }
        return s;
    }

    /**
     * Gives the stream back; the work that it was given is still done. Closing again does nothing.
     *
     * @throws IllegalStateException if it is the GPU's main stream, which all share
     */
    @Override
    public void close() {
        if (main) {
            throw new IllegalStateException("the main stream of " + gpu().device() + " is everybody's, it stays open");
        }
        super.close();
        synchronized (this) {
            if (scratch != null) {
                scratch.close();
            }
        }
    }

    @Override
    void release(long handle) {
        gpu().enter().destroyStream(handle);
    }

    /** {@return for example {@code a stream of cuda:0}} */
    @Override
    public String toString() {
        return (main ? "the main stream of " : "a stream of ") + gpu().device();
    }
}
