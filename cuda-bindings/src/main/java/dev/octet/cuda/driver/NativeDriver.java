package dev.octet.cuda.driver;

import dev.octet.cuda.CudaException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * The driver through {@code java.lang.foreign}. Loading this class opens its library; where that fails, the error says
 * why.
 *
 * <p>The names with {@code _v2} are those that {@code cuda.h} puts in the place of the plain ones. The functions are
 * static constants, so that a call compiles to a call. Pointers are passed as {@code long}: both go through the same
 * registers.
 */
public final class NativeDriver extends GraphNodes {
    private static final MethodHandle INIT = LIBRARY.function("cuInit", "i");
    private static final MethodHandle DRIVER_GET_VERSION = LIBRARY.function("cuDriverGetVersion", "l");
    private static final MethodHandle GET_ERROR_NAME = LIBRARY.function("cuGetErrorName", "il");
    private static final MethodHandle GET_ERROR_STRING = LIBRARY.function("cuGetErrorString", "il");
    private static final MethodHandle DEVICE_GET_COUNT = LIBRARY.function("cuDeviceGetCount", "l");
    private static final MethodHandle DEVICE_GET = LIBRARY.function("cuDeviceGet", "li");
    private static final MethodHandle DEVICE_GET_NAME = LIBRARY.function("cuDeviceGetName", "lii");
    private static final MethodHandle DEVICE_GET_ATTRIBUTE = LIBRARY.function("cuDeviceGetAttribute", "lii");
    private static final MethodHandle DEVICE_TOTAL_MEM = LIBRARY.function("cuDeviceTotalMem_v2", "li");
    private static final MethodHandle DEVICE_PRIMARY_CTX_RETAIN = LIBRARY.function("cuDevicePrimaryCtxRetain", "li");
    private static final MethodHandle CTX_SET_CURRENT = LIBRARY.function("cuCtxSetCurrent", "l");
    private static final MethodHandle CTX_SYNCHRONIZE = LIBRARY.function("cuCtxSynchronize", "");
    private static final MethodHandle MEM_GET_INFO = LIBRARY.function("cuMemGetInfo_v2", "ll");
    private static final MethodHandle MEM_ALLOC = LIBRARY.function("cuMemAlloc_v2", "ll");
    private static final MethodHandle MEM_FREE = LIBRARY.function("cuMemFree_v2", "l");
    private static final MethodHandle MEM_HOST_ALLOC = LIBRARY.function("cuMemHostAlloc", "lli");
    private static final MethodHandle MEM_FREE_HOST = LIBRARY.function("cuMemFreeHost", "l");
    private static final MethodHandle MEMCPY_H_TO_D_ASYNC = LIBRARY.function("cuMemcpyHtoDAsync_v2", "llll");
    private static final MethodHandle MEMCPY_D_TO_H_ASYNC = LIBRARY.function("cuMemcpyDtoHAsync_v2", "llll");
    private static final MethodHandle MEMCPY_D_TO_D_ASYNC = LIBRARY.function("cuMemcpyDtoDAsync_v2", "llll");
    private static final MethodHandle MEMSET_D8_ASYNC = LIBRARY.function("cuMemsetD8Async", "lbll");
    private static final MethodHandle STREAM_CREATE = LIBRARY.function("cuStreamCreate", "li");
    private static final MethodHandle STREAM_DESTROY = LIBRARY.function("cuStreamDestroy_v2", "l");
    private static final MethodHandle STREAM_SYNCHRONIZE = LIBRARY.function("cuStreamSynchronize", "l");
    private static final MethodHandle STREAM_QUERY = LIBRARY.function("cuStreamQuery", "l");
    private static final MethodHandle STREAM_WAIT_EVENT = LIBRARY.function("cuStreamWaitEvent", "lli");
    private static final MethodHandle EVENT_CREATE = LIBRARY.function("cuEventCreate", "li");
    private static final MethodHandle EVENT_DESTROY = LIBRARY.function("cuEventDestroy_v2", "l");
    private static final MethodHandle EVENT_RECORD = LIBRARY.function("cuEventRecord", "ll");
    private static final MethodHandle EVENT_SYNCHRONIZE = LIBRARY.function("cuEventSynchronize", "l");
    private static final MethodHandle EVENT_QUERY = LIBRARY.function("cuEventQuery", "l");
    private static final MethodHandle EVENT_ELAPSED_TIME = LIBRARY.function("cuEventElapsedTime", "lll");
    private static final MethodHandle MODULE_LOAD_DATA = LIBRARY.function("cuModuleLoadData", "ll");
    private static final MethodHandle MODULE_UNLOAD = LIBRARY.function("cuModuleUnload", "l");
    private static final MethodHandle MODULE_GET_FUNCTION = LIBRARY.function("cuModuleGetFunction", "lll");
    private static final MethodHandle MODULE_GET_GLOBAL = LIBRARY.function("cuModuleGetGlobal_v2", "llll");
    private static final MethodHandle FUNC_GET_ATTRIBUTE = LIBRARY.function("cuFuncGetAttribute", "lil");
    private static final MethodHandle FUNC_SET_ATTRIBUTE = LIBRARY.function("cuFuncSetAttribute", "lii");
    private static final MethodHandle FUNC_GET_PARAM_INFO = LIBRARY.function("cuFuncGetParamInfo", "llll");
    private static final MethodHandle MAX_ACTIVE_BLOCKS =
            LIBRARY.function("cuOccupancyMaxActiveBlocksPerMultiprocessor", "llil");
    private static final MethodHandle MAX_ACTIVE_CLUSTERS = LIBRARY.function("cuOccupancyMaxActiveClusters", "lll");
    private static final MethodHandle LAUNCH_KERNEL_EX = LIBRARY.function("cuLaunchKernelEx", "llll");
    private static final MethodHandle TENSOR_MAP_ENCODE_TILED =
            LIBRARY.function("cuTensorMapEncodeTiled", "liillllliiii");
    private static final MethodHandle STREAM_BEGIN_CAPTURE = LIBRARY.function("cuStreamBeginCapture_v2", "li");
    private static final MethodHandle STREAM_END_CAPTURE = LIBRARY.function("cuStreamEndCapture", "ll");
    private static final MethodHandle STREAM_IS_CAPTURING = LIBRARY.function("cuStreamIsCapturing", "ll");
    private static final MethodHandle GRAPH_INSTANTIATE_WITH_FLAGS =
            LIBRARY.function("cuGraphInstantiateWithFlags", "lll");
    private static final MethodHandle GRAPH_DESTROY = LIBRARY.function("cuGraphDestroy", "l");
    private static final MethodHandle GRAPH_EXEC_DESTROY = LIBRARY.function("cuGraphExecDestroy", "l");
    private static final MethodHandle GRAPH_LAUNCH = LIBRARY.function("cuGraphLaunch", "ll");

    private static final int SUCCESS = 0;
    private static final int INVALID_VALUE = 1;
    private static final int NOT_READY = 600;

    private static final int PORTABLE = 1;
    private static final int NON_BLOCKING = 1;
    private static final int DISABLE_TIMING = 2;
    private static final int THREAD_LOCAL_CAPTURE = 1;

    /** The driver's number of each device, in its own order. */
    private final int[] devices;

    /**
     * Starts the driver.
     *
     * @throws CudaException if it does not start, for example because there is no GPU
     */
    public NativeDriver() {
        check("cuInit", () -> (int) INIT.invokeExact(0));
        devices = new int[intFrom("cuDeviceGetCount", out -> (int) DEVICE_GET_COUNT.invokeExact(out))];
        for (int i = 0; i < devices.length; i++) {
            int ordinal = i;
            devices[i] = intFrom("cuDeviceGet", out -> (int) DEVICE_GET.invokeExact(out, ordinal));
        }
    }

    // ---------------------------------------------------------------------------------------------- calls

    /** A call that returns a status. */
    private interface Call {
        int status() throws Throwable;
    }

    /** A call that writes its result to an address. */
    private interface Query {
        int status(long out) throws Throwable;
    }

    private static void check(String name, Call call) {
        int status = status(call);
        if (status != SUCCESS) {
            throw failure(name, status);
        }
    }

    private static int status(Call call) {
        try {
            return call.status();
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    private static long longFrom(String name, Query query) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(16, 8);
            check(name, () -> query.status(out.address()));
            return out.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    private static int intFrom(String name, Query query) {
        return (int) longFrom(name, query); // the memory is zeroed, and numbers are little-endian wherever CUDA runs
    }

    @Override
    CudaException failed(String call, int status) {
        return failure(call, status);
    }

    private static CudaException failure(String call, int status) {
        return new CudaException(call, status, text(GET_ERROR_NAME, status), text(GET_ERROR_STRING, status));
    }

    /** The name or the meaning of a status, by the driver itself. */
    @SuppressWarnings("restricted") // a string of the driver's
    private static String text(MethodHandle function, int status) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(8, 8);
            int known = status(() -> (int) function.invokeExact(status, out.address()));
            long address = out.get(ValueLayout.JAVA_LONG, 0);
            return known != SUCCESS || address == 0 ? "a status that the driver does not know"
                    : MemorySegment.ofAddress(address).reinterpret(Long.MAX_VALUE).getString(0);
        }
    }

    private static RuntimeException unexpected(Throwable t) {
        return NativeLibrary.unexpected(t);
    }

    // ---------------------------------------------------------------------------------------------- devices, contexts

    @Override
    public String binding() {
        return "java.lang.foreign";
    }

    @Override
    public int version() {
        return intFrom("cuDriverGetVersion", out -> (int) DRIVER_GET_VERSION.invokeExact(out));
    }

    @Override
    public int deviceCount() {
        return devices.length;
    }

    @Override
    public String deviceName(int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment name = arena.allocate(256);
            check("cuDeviceGetName", () -> (int) DEVICE_GET_NAME.invokeExact(name.address(), 256, devices[device]));
            return name.getString(0);
        }
    }

    @Override
    public int deviceAttribute(int attribute, int device) {
        return intFrom("cuDeviceGetAttribute",
                out -> (int) DEVICE_GET_ATTRIBUTE.invokeExact(out, attribute, devices[device]));
    }

    @Override
    public long deviceMemory(int device) {
        return longFrom("cuDeviceTotalMem", out -> (int) DEVICE_TOTAL_MEM.invokeExact(out, devices[device]));
    }

    @Override
    public long retainContext(int device) {
        return longFrom("cuDevicePrimaryCtxRetain",
                out -> (int) DEVICE_PRIMARY_CTX_RETAIN.invokeExact(out, devices[device]));
    }

    @Override
    public void setCurrent(long context) {
        int status;
        try {
            status = (int) CTX_SET_CURRENT.invokeExact(context);
        } catch (Throwable t) {
            throw unexpected(t);
        }
        if (status != SUCCESS) {
            throw failure("cuCtxSetCurrent", status);
        }
    }

    @Override
    public void synchronizeContext() {
        check("cuCtxSynchronize", () -> (int) CTX_SYNCHRONIZE.invokeExact());
    }

    // ---------------------------------------------------------------------------------------------- memory

    @Override
    public long freeMemory() {
        return longFrom("cuMemGetInfo", out -> (int) MEM_GET_INFO.invokeExact(out, out + 8));
    }

    @Override
    public long allocate(long bytes) {
        return longFrom("cuMemAlloc of " + bytes + " bytes", out -> (int) MEM_ALLOC.invokeExact(out, bytes));
    }

    @Override
    public void free(long address) {
        check("cuMemFree", () -> (int) MEM_FREE.invokeExact(address));
    }

    @Override
    public long allocateHost(long bytes) {
        return longFrom("cuMemHostAlloc of " + bytes + " bytes",
                out -> (int) MEM_HOST_ALLOC.invokeExact(out, bytes, PORTABLE));
    }

    @Override
    public void freeHost(long address) {
        check("cuMemFreeHost", () -> (int) MEM_FREE_HOST.invokeExact(address));
    }

    @Override
    public void copyToDevice(long device, long host, long bytes, long stream) {
        check("cuMemcpyHtoDAsync", () -> (int) MEMCPY_H_TO_D_ASYNC.invokeExact(device, host, bytes, stream));
    }

    @Override
    public void copyToHost(long host, long device, long bytes, long stream) {
        check("cuMemcpyDtoHAsync", () -> (int) MEMCPY_D_TO_H_ASYNC.invokeExact(host, device, bytes, stream));
    }

    @Override
    public void copyOnDevice(long to, long from, long bytes, long stream) {
        check("cuMemcpyDtoDAsync", () -> (int) MEMCPY_D_TO_D_ASYNC.invokeExact(to, from, bytes, stream));
    }

    @Override
    public void fill(long device, byte value, long bytes, long stream) {
        check("cuMemsetD8Async", () -> (int) MEMSET_D8_ASYNC.invokeExact(device, value, bytes, stream));
    }

    // ---------------------------------------------------------------------------------------------- streams, events

    @Override
    public long createStream() {
        return longFrom("cuStreamCreate", out -> (int) STREAM_CREATE.invokeExact(out, NON_BLOCKING));
    }

    @Override
    public void destroyStream(long stream) {
        check("cuStreamDestroy", () -> (int) STREAM_DESTROY.invokeExact(stream));
    }

    @Override
    public void synchronizeStream(long stream) {
        check("cuStreamSynchronize", () -> (int) STREAM_SYNCHRONIZE.invokeExact(stream));
    }

    @Override
    public boolean isIdle(long stream) {
        return isReady("cuStreamQuery", status(() -> (int) STREAM_QUERY.invokeExact(stream)));
    }

    @Override
    public void waitFor(long stream, long event) {
        check("cuStreamWaitEvent", () -> (int) STREAM_WAIT_EVENT.invokeExact(stream, event, 0));
    }

    @Override
    public long createEvent(boolean timing) {
        return longFrom("cuEventCreate", out -> (int) EVENT_CREATE.invokeExact(out, timing ? 0 : DISABLE_TIMING));
    }

    @Override
    public void destroyEvent(long event) {
        check("cuEventDestroy", () -> (int) EVENT_DESTROY.invokeExact(event));
    }

    @Override
    public void record(long event, long stream) {
        check("cuEventRecord", () -> (int) EVENT_RECORD.invokeExact(event, stream));
    }

    @Override
    public void synchronizeEvent(long event) {
        check("cuEventSynchronize", () -> (int) EVENT_SYNCHRONIZE.invokeExact(event));
    }

    @Override
    public boolean isDone(long event) {
        return isReady("cuEventQuery", status(() -> (int) EVENT_QUERY.invokeExact(event)));
    }

    private static boolean isReady(String name, int status) {
        if (status != SUCCESS && status != NOT_READY) {
            throw failure(name, status);
        }
        return status == SUCCESS;
    }

    @Override
    public float elapsedMillis(long start, long end) {
        return Float.intBitsToFloat(intFrom("cuEventElapsedTime",
                out -> (int) EVENT_ELAPSED_TIME.invokeExact(out, start, end)));
    }

    // ---------------------------------------------------------------------------------------------- modules, kernels

    @Override
    public long loadModule(long image) {
        return longFrom("cuModuleLoadData", out -> (int) MODULE_LOAD_DATA.invokeExact(out, image));
    }

    @Override
    public void unloadModule(long module) {
        check("cuModuleUnload", () -> (int) MODULE_UNLOAD.invokeExact(module));
    }

    @Override
    public long function(long module, String name) {
        try (Arena arena = Arena.ofConfined()) {
            long cName = arena.allocateFrom(name).address();
            return longFrom("cuModuleGetFunction of " + name,
                    out -> (int) MODULE_GET_FUNCTION.invokeExact(out, module, cName));
        }
    }

    @Override
    public long variable(long module, String name) {
        try (Arena arena = Arena.ofConfined()) {
            long cName = arena.allocateFrom(name).address();
            return longFrom("cuModuleGetGlobal of " + name,
                    out -> (int) MODULE_GET_GLOBAL.invokeExact(out, out + 8, module, cName));
        }
    }

    @Override
    public int functionAttribute(int attribute, long function) {
        return intFrom("cuFuncGetAttribute",
                out -> (int) FUNC_GET_ATTRIBUTE.invokeExact(out, attribute, function));
    }

    @Override
    public void setFunctionAttribute(int attribute, int value, long function) {
        check("cuFuncSetAttribute of attribute " + attribute + " to " + value,
                () -> (int) FUNC_SET_ATTRIBUTE.invokeExact(function, attribute, value));
    }

    @Override
    public long parameter(long function, int index) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(16, 8);
            long offset = out.address();
            long size = offset + 8;
            long number = index;
            int status = status(() -> (int) FUNC_GET_PARAM_INFO.invokeExact(function, number, offset, size));
            if (status == INVALID_VALUE) {
                return -1;
            }
            if (status != SUCCESS) {
                throw failure("cuFuncGetParamInfo", status);
            }
            return out.get(ValueLayout.JAVA_LONG, 0) << 32 | out.get(ValueLayout.JAVA_LONG, 8);
        }
    }

    @Override
    public int maxBlocks(long function, int threads, long sharedBytes) {
        return intFrom("cuOccupancyMaxActiveBlocksPerMultiprocessor",
                out -> (int) MAX_ACTIVE_BLOCKS.invokeExact(out, function, threads, sharedBytes));
    }

    @Override
    public int maxClusters(long function, long config) {
        return intFrom("cuOccupancyMaxActiveClusters",
                out -> (int) MAX_ACTIVE_CLUSTERS.invokeExact(out, function, config));
    }

    @Override
    public void launch(long config, long function, long parameters) {
        int status;
        try {
            status = (int) LAUNCH_KERNEL_EX.invokeExact(config, function, parameters, 0L);
        } catch (Throwable t) {
            throw unexpected(t);
        }
        if (status != SUCCESS) {
            throw failure("cuLaunchKernelEx", status);
        }
    }

    @Override
    public void encodeTiled(long map, int dataType, int rank, long address, Geometry g, int interleave, int swizzle,
            int l2Promotion, int outOfBounds) {
        int status;
        try {
            status = (int) TENSOR_MAP_ENCODE_TILED.invokeExact(map, dataType, rank, address, g.dims(), g.strides(),
                    g.box(), g.elementStrides(), interleave, swizzle, l2Promotion, outOfBounds);
        } catch (Throwable t) {
            throw unexpected(t);
        }
        if (status != SUCCESS) {
            throw failure("cuTensorMapEncodeTiled", status);
        }
    }

    // ---------------------------------------------------------------------------------------------- graphs

    @Override
    public void beginCapture(long stream) {
        check("cuStreamBeginCapture", () -> (int) STREAM_BEGIN_CAPTURE.invokeExact(stream, THREAD_LOCAL_CAPTURE));
    }

    @Override
    public long endCapture(long stream) {
        return longFrom("cuStreamEndCapture", out -> (int) STREAM_END_CAPTURE.invokeExact(stream, out));
    }

    @Override
    public boolean isCapturing(long stream) {
        return intFrom("cuStreamIsCapturing", out -> (int) STREAM_IS_CAPTURING.invokeExact(stream, out)) != 0;
    }

    @Override
    public long instantiate(long graph) {
        return longFrom("cuGraphInstantiate",
                out -> (int) GRAPH_INSTANTIATE_WITH_FLAGS.invokeExact(out, graph, 0L));
    }

    @Override
    public void destroyGraph(long graph) {
        check("cuGraphDestroy", () -> (int) GRAPH_DESTROY.invokeExact(graph));
    }

    @Override
    public void destroyExecutable(long executable) {
        check("cuGraphExecDestroy", () -> (int) GRAPH_EXEC_DESTROY.invokeExact(executable));
    }

    @Override
    public void launchGraph(long executable, long stream) {
        int status;
        try {
            status = (int) GRAPH_LAUNCH.invokeExact(executable, stream);
        } catch (Throwable t) {
            throw unexpected(t);
        }
        if (status != SUCCESS) {
            throw failure("cuGraphLaunch", status);
        }
    }
}
