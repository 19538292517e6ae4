package dev.octet.cuda;

/** A point in the work of a stream, which others can wait for and whose time can be read. Safe for several threads. */
public final class CudaEvent extends Resource {
    private CudaEvent(CudaDevice device, long handle) {
        super(device, handle);
    }

    static CudaEvent create(CudaDevice device, boolean timing) {
        return new CudaEvent(device, device.enter().createEvent(timing));
    }

    /** Waits until the work before this event is done; returns at once if it was never recorded. */
    public void synchronize() {
        gpu().enter().synchronizeEvent(handle());
    }

    /** {@return whether the work before this event is done; true if it was never recorded} */
    public boolean isDone() {
        return gpu().enter().isDone(handle());
    }

    /**
     * {@return the device's time between two events in milliseconds, in steps of about half a microsecond}
     *
     * @param start the earlier event; both must be recorded and done
     */
    public float millisSince(CudaEvent start) {
        return gpu().enter().elapsedMillis(start.handle(), handle());
    }

    @Override
    void release(long handle) {
        gpu().enter().destroyEvent(handle);
    }

    /** {@return for example {@code an event of cuda:0}} */
    @Override
    public String toString() {
        return "an event of " + gpu().device();
    }
}
