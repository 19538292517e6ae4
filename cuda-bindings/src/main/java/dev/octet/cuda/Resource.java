package dev.octet.cuda;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * Something of the driver's that has to be given back. Closing again does nothing; use after close throws.
 */
abstract class Resource implements AutoCloseable {
    private static final VarHandle HANDLE;

    static {
        try {
            HANDLE = MethodHandles.lookup().findVarHandle(Resource.class, "handle", long.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    private final CudaDevice device;
    /** The driver's handle or an address; 0 when closed, which the driver never gives out. */
    private volatile long handle;

    Resource(CudaDevice device, long handle) {
        this.device = device;
        this.handle = handle;
        device.resources().opened(this);
    }

    /** {@return the GPU that it belongs to} */
    public final CudaDevice gpu() {
        return device;
    }

    /** {@return whether it can still be used} */
    public final boolean isOpen() {
        return handle != 0;
    }

    /**
     * {@return the driver's handle}
     *
     * @throws IllegalStateException if it is closed
     */
    final long handle() {
        long h = handle;
        if (h == 0) {
            throw new IllegalStateException(this + " is closed");
        }
        return h;
    }

    /** Gives it back to the driver. Closing again does nothing. */
    @Override
    public void close() {
        long h = (long) HANDLE.getAndSet(this, 0L);
        if (h != 0) {
            device.resources().closed(this);
            release(h);
        }
    }

    abstract void release(long handle);
}
