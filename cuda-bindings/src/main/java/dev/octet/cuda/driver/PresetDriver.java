package dev.octet.cuda.driver;

import dev.octet.cuda.CudaException;
import dev.octet.cuda.driver.PresetPointers.Addresses;
import dev.octet.cuda.driver.PresetPointers.Context;
import dev.octet.cuda.driver.PresetPointers.Event;
import dev.octet.cuda.driver.PresetPointers.Executable;
import dev.octet.cuda.driver.PresetPointers.Function;
import dev.octet.cuda.driver.PresetPointers.Graph;
import dev.octet.cuda.driver.PresetPointers.Host;
import dev.octet.cuda.driver.PresetPointers.Map;
import dev.octet.cuda.driver.PresetPointers.Module;
import dev.octet.cuda.driver.PresetPointers.Stream;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.SizeTPointer;

/**
 * The driver through JavaCPP's CUDA presets, {@code org.bytedeco:cuda}: used where they are on the class path. Loading
 * this class loads their native library, which needs a driver for CUDA 13 and {@code libcudart.so.13}.
 *
 * <p>Addresses go to JNI in pointer objects that own nothing and are never freed by JavaCPP. What is called often takes
 * them from a thread's own set, so that a launch allocates nothing.
 */
public final class PresetDriver extends GraphNodes {
    private static final int OLDEST = 13000;
    private static final int SUCCESS = cudart.CUDA_SUCCESS;
    private static final ThreadLocal<Addresses> ADDRESSES = ThreadLocal.withInitial(Addresses::new);

    private final int[] devices;

    /** Starts the driver. */
    public PresetDriver() {
        if (version() < OLDEST) {
            // A missing function would end the process when it is called.
            throw new UnsatisfiedLinkError("the presets are built for drivers for CUDA 13.0 and later, this one is for "
                    + version() / 1000 + "." + version() % 1000 / 10);
        }
        check("cuInit", cudart.cuInit(0));
        int[] count = new int[1];
        check("cuDeviceGetCount", cudart.cuDeviceGetCount(count));
        devices = new int[count[0]];
        for (int i = 0; i < devices.length; i++) {
            int[] device = new int[1];
            check("cuDeviceGet", cudart.cuDeviceGet(device, i));
            devices[i] = device[0];
        }
    }

    // ---------------------------------------------------------------------------------------------- addresses

    private static Stream stream(long handle) {
        return ADDRESSES.get().stream.at(handle);
    }

    private static Event event(long handle) {
        return ADDRESSES.get().event.at(handle);
    }

    private static Function function(long handle) {
        return ADDRESSES.get().function.at(handle);
    }

    private static Host host(long address) {
        return ADDRESSES.get().host.at(address);
    }

    private static void check(String call, int status) {
        if (status != SUCCESS) {
            throw failure(call, status);
        }
    }

    @Override
    CudaException failed(String call, int status) {
        return failure(call, status);
    }

    private static CudaException failure(String call, int status) {
        return new CudaException(call, status, text(status, true), text(status, false));
    }

    private static String text(int status, boolean name) {
        BytePointer text = new BytePointer((Pointer) null);
        int known = name ? cudart.cuGetErrorName(status, text) : cudart.cuGetErrorString(status, text);
        return known != SUCCESS || text.isNull() ? "a status that the driver does not know" : text.getString();
    }

    // ---------------------------------------------------------------------------------------------- devices, contexts

    @Override
    public String binding() {
        return "JavaCPP's presets";
    }

    @Override
    public int version() {
        int[] version = new int[1];
        check("cuDriverGetVersion", cudart.cuDriverGetVersion(version));
        return version[0];
    }

    @Override
    public int deviceCount() {
        return devices.length;
    }

    @Override
    public String deviceName(int device) {
        byte[] name = new byte[256];
        check("cuDeviceGetName", cudart.cuDeviceGetName(name, name.length, devices[device]));
        return MemorySegment.ofArray(name).getString(0);
    }

    @Override
    public int deviceAttribute(int attribute, int device) {
        int[] value = new int[1];
        check("cuDeviceGetAttribute", cudart.cuDeviceGetAttribute(value, attribute, devices[device]));
        return value[0];
    }

    @Override
    public long deviceMemory(int device) {
        try (SizeTPointer bytes = new SizeTPointer(1)) {
            check("cuDeviceTotalMem", cudart.cuDeviceTotalMem(bytes, devices[device]));
            return bytes.get();
        }
    }

    @Override
    public long retainContext(int device) {
        Context context = new Context();
        check("cuDevicePrimaryCtxRetain", cudart.cuDevicePrimaryCtxRetain(context, devices[device]));
        return context.address();
    }

    @Override
    public void setCurrent(long context) {
        check("cuCtxSetCurrent", cudart.cuCtxSetCurrent(ADDRESSES.get().context.at(context)));
    }

    @Override
    public void synchronizeContext() {
        check("cuCtxSynchronize", cudart.cuCtxSynchronize());
    }

    // ---------------------------------------------------------------------------------------------- memory

    @Override
    public long freeMemory() {
        try (SizeTPointer free = new SizeTPointer(1); SizeTPointer total = new SizeTPointer(1)) {
            check("cuMemGetInfo", cudart.cuMemGetInfo(free, total));
            return free.get();
        }
    }

    @Override
    public long allocate(long bytes) {
        long[] address = new long[1];
        check("cuMemAlloc of " + bytes + " bytes", cudart.cuMemAlloc(address, bytes));
        return address[0];
    }

    @Override
    public void free(long address) {
        check("cuMemFree", cudart.cuMemFree(address));
    }

    @Override
    public long allocateHost(long bytes) {
        Host host = new Host();
        check("cuMemHostAlloc of " + bytes + " bytes",
                cudart.cuMemHostAlloc(host, bytes, cudart.CU_MEMHOSTALLOC_PORTABLE));
        return host.address();
    }

    @Override
    public void freeHost(long address) {
        check("cuMemFreeHost", cudart.cuMemFreeHost(host(address)));
    }

    @Override
    public void copyToDevice(long device, long host, long bytes, long stream) {
        check("cuMemcpyHtoDAsync", cudart.cuMemcpyHtoDAsync(device, host(host), bytes, stream(stream)));
    }

    @Override
    public void copyToHost(long host, long device, long bytes, long stream) {
        check("cuMemcpyDtoHAsync", cudart.cuMemcpyDtoHAsync(host(host), device, bytes, stream(stream)));
    }

    @Override
    public void copyOnDevice(long to, long from, long bytes, long stream) {
        check("cuMemcpyDtoDAsync", cudart.cuMemcpyDtoDAsync(to, from, bytes, stream(stream)));
    }

    @Override
    public void fill(long device, byte value, long bytes, long stream) {
        check("cuMemsetD8Async", cudart.cuMemsetD8Async(device, value, bytes, stream(stream)));
    }

    // ---------------------------------------------------------------------------------------------- streams, events

    @Override
    public long createStream() {
        Stream stream = new Stream();
        check("cuStreamCreate", cudart.cuStreamCreate(stream, cudart.CU_STREAM_NON_BLOCKING));
        return stream.address();
    }

    @Override
    public void destroyStream(long stream) {
        check("cuStreamDestroy", cudart.cuStreamDestroy(stream(stream)));
    }

    @Override
    public void synchronizeStream(long stream) {
        check("cuStreamSynchronize", cudart.cuStreamSynchronize(stream(stream)));
    }

    @Override
    public boolean isIdle(long stream) {
        return isReady("cuStreamQuery", cudart.cuStreamQuery(stream(stream)));
    }

    @Override
    public void waitFor(long stream, long event) {
        check("cuStreamWaitEvent", cudart.cuStreamWaitEvent(stream(stream), event(event), 0));
    }

    @Override
    public long createEvent(boolean timing) {
        Event event = new Event();
        check("cuEventCreate",
                cudart.cuEventCreate(event, timing ? cudart.CU_EVENT_DEFAULT : cudart.CU_EVENT_DISABLE_TIMING));
        return event.address();
    }

    @Override
    public void destroyEvent(long event) {
        check("cuEventDestroy", cudart.cuEventDestroy(event(event)));
    }

    @Override
    public void record(long event, long stream) {
        check("cuEventRecord", cudart.cuEventRecord(event(event), stream(stream)));
    }

    @Override
    public void synchronizeEvent(long event) {
        check("cuEventSynchronize", cudart.cuEventSynchronize(event(event)));
    }

    @Override
    public boolean isDone(long event) {
        return isReady("cuEventQuery", cudart.cuEventQuery(event(event)));
    }

    private static boolean isReady(String call, int status) {
        if (status != SUCCESS && status != cudart.CUDA_ERROR_NOT_READY) {
            throw failure(call, status);
        }
        return status == SUCCESS;
    }

    @Override
    public float elapsedMillis(long start, long end) {
        float[] millis = new float[1];
        check("cuEventElapsedTime", cudart.cuEventElapsedTime(millis, new Event().at(start), new Event().at(end)));
        return millis[0];
    }

    // ---------------------------------------------------------------------------------------------- modules, kernels

    @Override
    public long loadModule(long image) {
        Module module = new Module();
        check("cuModuleLoadData", cudart.cuModuleLoadData(module, host(image)));
        return module.address();
    }

    @Override
    public void unloadModule(long module) {
        check("cuModuleUnload", cudart.cuModuleUnload(new Module().at(module)));
    }

    @Override
    public long function(long module, String name) {
        Function function = new Function();
        check("cuModuleGetFunction of " + name,
                cudart.cuModuleGetFunction(function, new Module().at(module), name));
        return function.address();
    }

    @Override
    public long variable(long module, String name) {
        long[] address = new long[1];
        try (SizeTPointer bytes = new SizeTPointer(1); BytePointer cName = new BytePointer(name)) {
            check("cuModuleGetGlobal of " + name,
                    cudart.cuModuleGetGlobal(address, bytes, new Module().at(module), cName));
        }
        return address[0];
    }

    @Override
    public int functionAttribute(int attribute, long function) {
        int[] value = new int[1];
        check("cuFuncGetAttribute", cudart.cuFuncGetAttribute(value, attribute, function(function)));
        return value[0];
    }

    @Override
    public void setFunctionAttribute(int attribute, int value, long function) {
        check("cuFuncSetAttribute of attribute " + attribute + " to " + value,
                cudart.cuFuncSetAttribute(function(function), attribute, value));
    }

    @Override
    public long parameter(long function, int index) {
        try (SizeTPointer offset = new SizeTPointer(1); SizeTPointer size = new SizeTPointer(1)) {
            int status = cudart.cuFuncGetParamInfo(function(function), index, offset, size);
            if (status == cudart.CUDA_ERROR_INVALID_VALUE) {
                return -1;
            }
            check("cuFuncGetParamInfo", status);
            return offset.get() << 32 | size.get();
        }
    }

    @Override
    public int maxBlocks(long function, int threads, long sharedBytes) {
        int[] blocks = new int[1];
        check("cuOccupancyMaxActiveBlocksPerMultiprocessor", cudart.cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks,
                function(function), threads, sharedBytes));
        return blocks[0];
    }

    @Override
    public int maxClusters(long function, long config) {
        int[] clusters = new int[1];
        check("cuOccupancyMaxActiveClusters", cudart.cuOccupancyMaxActiveClusters(clusters, function(function),
                ADDRESSES.get().config.at(config)));
        return clusters[0];
    }

    @Override
    public void launch(long config, long function, long parameters) {
        Addresses a = ADDRESSES.get();
        check("cuLaunchKernelEx", cudart.cuLaunchKernelEx(a.config.at(config), a.function.at(function),
                a.parameters.at(parameters), null));
    }

    @Override
    public void encodeTiled(long map, int dataType, int rank, long address, Geometry g, int interleave, int swizzle,
            int l2Promotion, int outOfBounds) {
        check("cuTensorMapEncodeTiled", cudart.cuTensorMapEncodeTiled(new Map().at(map), dataType, rank, host(address),
                longs(g.dims(), rank), longs(g.strides(), rank - 1), ints(g.box(), rank),
                ints(g.elementStrides(), rank), interleave, swizzle, l2Promotion, outOfBounds));
    }

    @SuppressWarnings("restricted") // the caller's array
    private static long[] longs(long address, int count) {
        return MemorySegment.ofAddress(address).reinterpret(8L * count).toArray(ValueLayout.JAVA_LONG);
    }

    @SuppressWarnings("restricted") // the caller's array
    private static int[] ints(long address, int count) {
        return MemorySegment.ofAddress(address).reinterpret(4L * count).toArray(ValueLayout.JAVA_INT);
    }

    // ---------------------------------------------------------------------------------------------- graphs

    @Override
    public void beginCapture(long stream) {
        check("cuStreamBeginCapture",
                cudart.cuStreamBeginCapture(stream(stream), cudart.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    }

    @Override
    public long endCapture(long stream) {
        Graph graph = new Graph();
        check("cuStreamEndCapture", cudart.cuStreamEndCapture(stream(stream), graph));
        return graph.address();
    }

    @Override
    public boolean isCapturing(long stream) {
        int[] status = new int[1];
        check("cuStreamIsCapturing", cudart.cuStreamIsCapturing(stream(stream), status));
        return status[0] != 0;
    }

    @Override
    public long instantiate(long graph) {
        Executable executable = new Executable();
        check("cuGraphInstantiate", cudart.cuGraphInstantiate(executable, new Graph().at(graph), 0));
        return executable.address();
    }

    @Override
    public void destroyGraph(long graph) {
        check("cuGraphDestroy", cudart.cuGraphDestroy(new Graph().at(graph)));
    }

    @Override
    public void destroyExecutable(long executable) {
        check("cuGraphExecDestroy", cudart.cuGraphExecDestroy(new Executable().at(executable)));
    }

    @Override
    public void launchGraph(long executable, long stream) {
        Addresses a = ADDRESSES.get();
        check("cuGraphLaunch", cudart.cuGraphLaunch(a.executable.at(executable), a.stream.at(stream)));
    }
}
