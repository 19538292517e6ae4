package dev.octet.cuda.driver;

import dev.octet.cuda.CudaException;

/**
 * The functions of the CUDA driver that Octet calls, with handles, device pointers and host addresses as {@code long}.
 * Every failed call throws a {@link CudaException} that names it. Except for the first group, each needs a context that
 * is current on the calling thread.
 *
 * <p>Implementations: {@link PresetDriver} and {@link NativeDriver}; tests have one that only keeps books, and may have
 * one that runs kernels which a host compiler built. The system property {@code octet.cuda.driver} names the class of
 * another one.
 */
public interface Driver {
    /** {@return how the driver's functions are called, for people} */
    default String binding() {
        return getClass().getSimpleName();
    }

    // ---------------------------------------------------------------------------------------------- devices, contexts

    /** {@return the newest CUDA version that the driver supports, for example 13000} */
    int version();

    /** {@return how many devices there are} */
    int deviceCount();

    /** {@return a device's name} */
    String deviceName(int device);

    /** {@return a {@code CUdevice_attribute} of a device} */
    int deviceAttribute(int attribute, int device);

    /** {@return a device's memory in bytes} */
    long deviceMemory(int device);

    /** {@return the primary context of a device, retained} */
    long retainContext(int device);

    /** Makes a context current on this thread. */
    void setCurrent(long context);

    /** Waits for all work of the current context. */
    void synchronizeContext();

    // ---------------------------------------------------------------------------------------------- memory

    /** {@return free bytes of the current device} */
    long freeMemory();

    /** {@return new device memory, not initialised} */
    long allocate(long bytes);

    /** Frees device memory, when all work that was submitted before is done. */
    void free(long address);

    /** {@return new page-locked host memory} */
    long allocateHost(long bytes);

    /** Frees page-locked host memory. */
    void freeHost(long address);

    /** Copies from the host, in stream order. */
    void copyToDevice(long device, long host, long bytes, long stream);

    /** Copies to the host, in stream order. */
    void copyToHost(long host, long device, long bytes, long stream);

    /** Copies on the device, in stream order. */
    void copyOnDevice(long to, long from, long bytes, long stream);

    /** Sets bytes, in stream order. */
    void fill(long device, byte value, long bytes, long stream);

    // ---------------------------------------------------------------------------------------------- streams, events

    /** {@return a new stream that does not wait for the legacy default stream} */
    long createStream();

    /** Gives a stream back; its work goes on. */
    void destroyStream(long stream);

    /** Waits for a stream's work. */
    void synchronizeStream(long stream);

    /** {@return whether all of a stream's work is done} */
    boolean isIdle(long stream);

    /** Makes a stream's later work wait for an event. */
    void waitFor(long stream, long event);

    /** {@return a new event} */
    long createEvent(boolean timing);

    /** Gives an event back. */
    void destroyEvent(long event);

    /** Sets an event into a stream. */
    void record(long event, long stream);

    /** Waits for an event. */
    void synchronizeEvent(long event);

    /** {@return whether the work before an event is done} */
    boolean isDone(long event);

    /** {@return milliseconds between two events that both are done} */
    float elapsedMillis(long start, long end);

    // ---------------------------------------------------------------------------------------------- modules, kernels

    /** {@return a module loaded from a CUBIN at a host address} */
    long loadModule(long image);

    /** Unloads a module. */
    void unloadModule(long module);

    /** {@return a kernel by name} */
    long function(long module, String name);

    /** {@return the device address of a variable of a module} */
    long variable(long module, String name);

    /** {@return a {@code CUfunction_attribute}} */
    int functionAttribute(int attribute, long function);

    /** Sets a {@code CUfunction_attribute}. */
    void setFunctionAttribute(int attribute, int value, long function);

    /** {@return offset and size in bytes of a kernel's parameter, {@code offset << 32 | size}; -1 past the last} */
    long parameter(long function, int index);

    /** {@return how many blocks fit on a multiprocessor} */
    int maxBlocks(long function, int threads, long sharedBytes);

    /** {@return how many clusters of a launch fit on the device; {@link LaunchLayout} says how it is described} */
    int maxClusters(long function, long config);

    /**
     * Launches a kernel.
     *
     * @param config address of a launch configuration as in {@link LaunchLayout}
     * @param function the kernel
     * @param parameters address of an array of the addresses of the parameters
     */
    void launch(long config, long function, long parameters);

    /**
     * Encodes a tensor map.
     *
     * @param map address of 128 bytes, aligned to 64
     * @param geometry addresses of dims (u64), strides in bytes (u64, one fewer), box (u32), element strides (u32)
     */
    void encodeTiled(long map, int dataType, int rank, long address, Geometry geometry, int interleave, int swizzle,
            int l2Promotion, int outOfBounds);

    /**
     * Addresses of the arrays that describe a tensor map.
     *
     * @param dims extents, u64, innermost first
     * @param strides bytes between neighbours of all dimensions but the innermost, u64
     * @param box extents of the box, u32
     * @param elementStrides steps, u32
     */
    record Geometry(long dims, long strides, long box, long elementStrides) {}

    // ---------------------------------------------------------------------------------------------- graphs

    /** Begins to record a stream's work instead of doing it, for this thread only. */
    void beginCapture(long stream);

    /** {@return the graph of what was recorded} */
    long endCapture(long stream);

    /** {@return whether the stream is recording} */
    boolean isCapturing(long stream);

    /** {@return the nodes of a graph, in the order of the driver} */
    long[] nodes(long graph);

    /** {@return a {@code CUgraphNodeType}: 0 is a kernel} */
    int nodeType(long node);

    /** {@return the kernel of a kernel node} */
    long nodeFunction(long node);

    /** {@return an executable form of a graph} */
    long instantiate(long graph);

    /** Gives a graph back. */
    void destroyGraph(long graph);

    /** Gives an executable graph back. */
    void destroyExecutable(long executable);

    /** Launches a graph. */
    void launchGraph(long executable, long stream);

    /** Replaces grid, block, shared memory and parameters of one kernel node; arguments as for {@link #launch}. */
    void updateNode(long executable, long node, long config, long function, long parameters);
}
