package dev.octet.cuda;

import dev.octet.core.Device;
import dev.octet.cuda.driver.Driver;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * One NVIDIA GPU: its properties, memory, streams and kernels. Work goes through the device's primary context, which
 * other libraries of the process share. Safe for use by several threads.
 */
public final class CudaDevice {
    private static final ScopedValue<CudaStream> CURRENT = ScopedValue.newInstance();

    private final Driver driver;
    private final Device device;
    private final Resources resources = new Resources();
    private final Map<KernelSource, CudaModule> modules = new ConcurrentHashMap<>();
    private final String name;
    private final ComputeCapability capability;
    private final int multiprocessors;
    private volatile long context;
    private volatile @Nullable CudaStream main;

    CudaDevice(Driver driver, int index) {
        this.driver = driver;
        device = Device.cuda(index);
        name = driver.deviceName(index);
        capability = new ComputeCapability(driver.deviceAttribute(DeviceAttribute.CAPABILITY_MAJOR.code, index),
                driver.deviceAttribute(DeviceAttribute.CAPABILITY_MINOR.code, index));
        multiprocessors = driver.deviceAttribute(DeviceAttribute.MULTIPROCESSORS.code, index);
    }

    // ---------------------------------------------------------------------------------------------- properties

    /** {@return the device of a tensor on this GPU} */
    public Device device() {
        return device;
    }

    /** {@return its number, from 0} */
    public int index() {
        return device.index();
    }

    /** {@return the product's name, for example {@code NVIDIA H200}} */
    public String name() {
        return name;
    }

    /** {@return which instructions it has} */
    public ComputeCapability capability() {
        return capability;
    }

    /** {@return the number of streaming multiprocessors} */
    public int multiprocessors() {
        return multiprocessors;
    }

    /** {@return the shared memory in bytes that one block can have, if its kernel asks for it: 232,448 on Hopper} */
    public int sharedMemoryPerBlock() {
        return attribute(DeviceAttribute.SHARED_MEMORY_PER_BLOCK);
    }

    /** {@return the second-level cache in bytes} */
    public int l2Bytes() {
        return attribute(DeviceAttribute.L2_BYTES);
    }

    /**
     * {@return one of the driver's numbers about this GPU}
     *
     * @param attribute which
     */
    public int attribute(DeviceAttribute attribute) {
        return driver.deviceAttribute(attribute.code, index());
    }

    /** {@return the memory in bytes} */
    public long totalMemory() {
        return driver.deviceMemory(index());
    }

    /** {@return the memory in bytes that no process holds} */
    public long freeMemory() {
        return enter().freeMemory();
    }

    /** {@return the newest CUDA version that the driver supports, for example 13000 for 13.0} */
    public int driverVersion() {
        return driver.version();
    }

    /** {@return how the driver is called, for people: {@code JavaCPP's presets} or {@code java.lang.foreign}} */
    public String binding() {
        return driver.binding();
    }

    // ---------------------------------------------------------------------------------------------- memory

    /**
     * Allocates device memory, not initialised. The caller closes it.
     *
     * @param bytes the size, not negative
     * @return the memory, aligned to 256 bytes
     * @throws OutOfMemoryError if the GPU has not that much
     */
    public DeviceBuffer allocate(long bytes) {
        return DeviceBuffer.allocate(this, bytes);
    }

    /**
     * Allocates device memory, not initialised, for as long as an arena lives.
     *
     * @param arena whose end frees the memory
     * @param bytes the size, not negative
     * @return the memory, aligned to 256 bytes
     * @throws OutOfMemoryError if the GPU has not that much
     */
    public DeviceBuffer allocate(Arena arena, long bytes) {
        return closeWith(arena, allocate(bytes));
    }

    /**
     * Allocates page-locked host memory, which copies at full speed and without waiting. The caller closes it.
     *
     * @param bytes the size, not negative
     * @return the memory, not initialised
     */
    public PinnedBuffer allocatePinned(long bytes) {
        return PinnedBuffer.allocate(this, bytes);
    }

    /**
     * Allocates page-locked host memory for as long as an arena lives.
     *
     * @param arena whose end frees the memory
     * @param bytes the size, not negative
     * @return the memory, not initialised
     */
    public PinnedBuffer allocatePinned(Arena arena, long bytes) {
        return closeWith(arena, allocatePinned(bytes));
    }

    @SuppressWarnings("restricted") // an empty segment, only for the action at the arena's end
    private static <T extends Resource> T closeWith(Arena arena, T resource) {
        try {
            MemorySegment.NULL.reinterpret(0, arena, s -> resource.close());
            return resource;
        } catch (RuntimeException | Error e) {
            resource.close();
            throw e;
        }
    }

    // ---------------------------------------------------------------------------------------------- streams, events

    /** {@return a new stream; the caller closes it} */
    public CudaStream newStream() {
        return CudaStream.create(this);
    }

    /** {@return a new event that keeps the time; the caller closes it} */
    public CudaEvent newEvent() {
        return CudaEvent.create(this, true);
    }

    /**
     * {@return the stream that operations of the calling thread use on this device: the one of the innermost
     * {@link CudaStream#run} around the call, else the device's main stream, which all threads share and nobody can
     * close}
     */
    public CudaStream currentStream() {
        CudaStream bound = CURRENT.isBound() ? CURRENT.get() : null;
        return bound != null && bound.gpu() == this ? bound : mainStream();
    }

    static void runWith(CudaStream stream, Runnable work) {
        ScopedValue.where(CURRENT, stream).run(work);
    }

    private CudaStream mainStream() {
        CudaStream s = main;
        if (s == null) {
            synchronized (this) {
                s = main;
                if (s == null) {
                    s = CudaStream.createMain(this);
                    main = s;
                }
            }
        }
        return s;
    }

    /** Waits for all work of this device's context, also that of other libraries. */
    public void synchronize() {
        enter().synchronizeContext();
    }

    // ---------------------------------------------------------------------------------------------- kernels

    /**
     * {@return the module of a source: compiled by NVRTC for exactly this GPU or read from the disk cache, loaded once
     * and kept}
     *
     * @param source the kernels
     * @throws KernelCompileException if NVRTC refuses it
     * @throws IllegalStateException if it is not in the disk cache and there is no NVRTC; the message has the reason
     */
    public CudaModule module(KernelSource source) {
        CudaModule known = modules.get(source);
        // Compiled before the map is touched: it makes others wait that want other modules.
        return known != null ? known : module(source, KernelCompiler.shared().compile(source, capability.arch()));
    }

    private CudaModule module(KernelSource source, KernelCompiler.Compiled compiled) {
        return modules.computeIfAbsent(source, s -> CudaModule.load(this, s.name(), compiled.image()));
    }

    /**
     * Compiles kernels that are not in the disk cache, several at a time, and loads them all, so that no later call
     * waits for a compiler. What is loaded already costs nothing. Without this, each kernel is compiled when it is
     * first launched, in a tenth of a second to some seconds.
     *
     * @param sources the kernels
     * @return what there was to do
     * @throws KernelCompileException if NVRTC refuses one
     * @throws IllegalStateException if some are not in the disk cache and there is no NVRTC; the message has the reason
     */
    public WarmUp warmUp(List<KernelSource> sources) {
        long start = System.nanoTime();
        List<KernelSource> missing = sources.stream().distinct().filter(s -> !modules.containsKey(s)).toList();
        int compiled = 0;
        List<KernelCompiler.Compiled> images = missing.isEmpty() ? List.of()
                : KernelCompiler.shared().compileAll(missing, capability.arch());
        for (int i = 0; i < images.size(); i++) {
            module(missing.get(i), images.get(i));
            compiled += images.get(i).cached() ? 0 : 1;
        }
        return new WarmUp(missing.size(), compiled, Duration.ofNanos(System.nanoTime() - start));
    }

    /**
     * Compiles and loads the kernels of all of Octet's modules that are there, as {@link #warmUp(List)}: those that
     * {@link KernelCatalog} lists for this GPU.
     *
     * @return what there was to do
     * @throws KernelCompileException if NVRTC refuses one
     * @throws IllegalStateException if some are not in the disk cache and there is no NVRTC; the message has the reason
     */
    public WarmUp warmUp() {
        return warmUp(ServiceLoader.load(KernelCatalog.class, CudaDevice.class.getClassLoader()).stream()
                .flatMap(c -> c.get().sources(capability).stream()).toList());
    }

    /**
     * What a warm-up did.
     *
     * @param loaded programs that were not loaded before
     * @param compiled those of them that were not in the disk cache
     * @param took the time it took
     */
    public record WarmUp(int loaded, int compiled, Duration took) {}

    /**
     * {@return a kernel of a source, compiled and loaded when it is first asked for}
     *
     * @param source the kernels
     * @param kernel the name of one, declared {@code extern "C"}
     * @throws IllegalArgumentException if the source has no such kernel
     */
    public CudaKernel kernel(KernelSource source, String kernel) {
        return module(source).kernel(kernel);
    }

    /**
     * Loads a CUBIN. The caller closes the module.
     *
     * @param name what to call it in messages
     * @param cubin the machine code
     * @return the module
     */
    public CudaModule load(String name, byte[] cubin) {
        return CudaModule.load(this, name, cubin);
    }

    // ---------------------------------------------------------------------------------------------- this module's

    /**
     * {@return what is open on this device, one line each: memory, streams, events, graphs and modules that somebody
     * must close. A test that finds more after its work than before has found a leak; with the system property
     * {@code octet.cuda.traceResources=true} the lines have the place where each was opened}
     */
    public List<String> openResources() {
        return resources.describe();
    }

    Resources resources() {
        return resources;
    }

    /** {@return the driver, with this device's context current on the calling thread} */
    Driver enter() {
        long c = context;
        if (c == 0) {
            c = retain();
        }
        // Each time: another library of the process may have made its own current on this thread.
        driver.setCurrent(c);
        return driver;
    }

    private synchronized long retain() {
        if (context == 0) {
            context = driver.retainContext(index());
        }
        return context;
    }

    /** {@return for example {@code cuda:0, NVIDIA H200, 9.0, 132 multiprocessors}} */
    @Override
    public String toString() {
        return device + ", " + name + ", " + capability + ", " + multiprocessors + " multiprocessors";
    }
}
