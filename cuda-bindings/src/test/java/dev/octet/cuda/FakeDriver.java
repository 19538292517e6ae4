package dev.octet.cuda;

import dev.octet.cuda.driver.Driver;
import dev.octet.cuda.driver.LaunchLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * A driver without a GPU that keeps books and is strict: device memory is host memory of this process, copies are made
 * at once, a handle that it does not know is an error, and a call without a current context too. Kernels are declared
 * with their parameters' sizes and only recorded. Not for several threads, except for the current context.
 */
@SuppressWarnings("restricted")
final class FakeDriver implements Driver {
    /** A launch as the driver saw it. */
    record Launch(long function, int[] grid, int[] block, int shared, long stream, int[] attributes, byte[] values) {}

    private static final int INVALID_VALUE = 1;
    private static final int OUT_OF_MEMORY = 2;
    private static final int INVALID_CONTEXT = 201;
    private static final int INVALID_HANDLE = 400;
    private static final int NOT_FOUND = 500;
    private static final int STREAM_CAPTURE_UNSUPPORTED = 900;

    /** What is open, by handle; a handle is used once. */
    final Map<Long, String> open = new TreeMap<>();
    final List<String> calls = new ArrayList<>();
    final List<Launch> launches = new ArrayList<>();
    final Map<Integer, Integer> functionAttributes = new TreeMap<>();
    /** Offsets and sizes of the parameters of each kernel. */
    final Map<String, int[][]> kernels = new LinkedHashMap<>();
    final byte[] tensorMap = new byte[128];
    final ThreadLocal<Long> current = ThreadLocal.withInitial(() -> 0L);
    long freeBytes = 1 << 20;
    /** The status that the next call returns instead of doing anything, and the call's name; null for none. */
    String failing;
    int devices = 1;
    long capturing;
    /** Whether launches are taken without being written down. */
    boolean silent;

    private final Map<Long, Arena> memory = new TreeMap<>();
    private final Map<Long, Long> sizes = new TreeMap<>();
    private final Map<Long, String> functions = new LinkedHashMap<>();
    private final Map<Long, List<Long>> graphNodes = new LinkedHashMap<>();
    private final Map<Long, Long> nodeFunctions = new LinkedHashMap<>();
    private final List<Long> recorded = new ArrayList<>();
    private long next = 0x1000;

    private void call(String name) {
        calls.add(name);
        if (name.equals(failing)) {
            failing = null;
            throw error(name, 719, "CUDA_ERROR_LAUNCH_FAILED");
        }
    }

    private void contextCall(String name) {
        if (current.get() == 0) {
            throw error(name, INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT");
        }
        call(name);
    }

    private static CudaException error(String call, int status, String name) {
        return new CudaException(call, status, name, "says the fake driver");
    }

    private long opened(String kind) {
        next += 0x100;
        open.put(next, kind);
        return next;
    }

    private void closed(String call, long handle, String kind) {
        contextCall(call);
        if (!kind.equals(open.get(handle))) {
            throw error(call, INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE");
        }
        open.remove(handle);
    }

    private void use(String call, long handle, String kind) {
        contextCall(call);
        if (!kind.equals(open.get(handle))) {
            throw error(call, INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE");
        }
    }

    // ---------------------------------------------------------------------------------------------- devices, contexts

    @Override
    public int version() {
        return 13000;
    }

    @Override
    public int deviceCount() {
        return devices;
    }

    @Override
    public String deviceName(int device) {
        return "Fake";
    }

    @Override
    public int deviceAttribute(int attribute, int device) {
        return switch (attribute) {
            case 75 -> 9;
            case 76 -> 0;
            case 16 -> 132;
            default -> attribute;
        };
    }

    @Override
    public long deviceMemory(int device) {
        return 1 << 20;
    }

    @Override
    public long retainContext(int device) {
        call("retainContext");
        return 0xC0 + device;
    }

    @Override
    public void setCurrent(long context) {
        if (silent) {
            return;
        }
        current.set(context);
    }

    @Override
    public void synchronizeContext() {
        contextCall("synchronizeContext");
    }

    // ---------------------------------------------------------------------------------------------- memory

    @Override
    public long freeMemory() {
        contextCall("freeMemory");
        return freeBytes;
    }

    @Override
    public long allocate(long bytes) {
        contextCall("allocate");
        if (bytes > freeBytes) {
            throw error("cuMemAlloc", OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY");
        }
        freeBytes -= bytes;
        return allocate(bytes, "device memory");
    }

    private long allocate(long bytes, String kind) {
        Arena arena = Arena.ofShared();
        MemorySegment s = arena.allocate(bytes, 256);
        s.fill((byte) 0xA5);
        memory.put(s.address(), arena);
        sizes.put(s.address(), bytes);
        open.put(s.address(), kind);
        return s.address();
    }

    @Override
    public void free(long address) {
        closed("free", address, "device memory");
        freeBytes += sizes.get(address);
        memory.remove(address).close();
    }

    @Override
    public long allocateHost(long bytes) {
        contextCall("allocateHost");
        return allocate(bytes, "host memory");
    }

    @Override
    public void freeHost(long address) {
        closed("freeHost", address, "host memory");
        memory.remove(address).close();
    }

    @Override
    public void copyToDevice(long device, long host, long bytes, long stream) {
        use("copyToDevice", stream, "stream");
        copy(host, device, bytes);
    }

    @Override
    public void copyToHost(long host, long device, long bytes, long stream) {
        use("copyToHost", stream, "stream");
        copy(device, host, bytes);
    }

    @Override
    public void copyOnDevice(long to, long from, long bytes, long stream) {
        use("copyOnDevice", stream, "stream");
        copy(from, to, bytes);
    }

    private static void copy(long from, long to, long bytes) {
        MemorySegment.ofAddress(to).reinterpret(bytes).copyFrom(MemorySegment.ofAddress(from).reinterpret(bytes));
    }

    @Override
    public void fill(long device, byte value, long bytes, long stream) {
        use("fill", stream, "stream");
        MemorySegment.ofAddress(device).reinterpret(bytes).fill(value);
    }

    // ---------------------------------------------------------------------------------------------- streams, events

    @Override
    public long createStream() {
        contextCall("createStream");
        return opened("stream");
    }

    @Override
    public void destroyStream(long stream) {
        closed("destroyStream", stream, "stream");
    }

    @Override
    public void synchronizeStream(long stream) {
        use("synchronizeStream", stream, "stream");
        if (capturing == stream) {
            throw error("cuStreamSynchronize", STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED");
        }
    }

    @Override
    public boolean isIdle(long stream) {
        use("isIdle", stream, "stream");
        return true;
    }

    @Override
    public void waitFor(long stream, long event) {
        use("waitFor", stream, "stream");
        use("waitFor", event, "event");
    }

    @Override
    public long createEvent(boolean timing) {
        contextCall("createEvent");
        return opened("event");
    }

    @Override
    public void destroyEvent(long event) {
        closed("destroyEvent", event, "event");
    }

    @Override
    public void record(long event, long stream) {
        use("record", stream, "stream");
        use("record", event, "event");
    }

    @Override
    public void synchronizeEvent(long event) {
        use("synchronizeEvent", event, "event");
    }

    @Override
    public boolean isDone(long event) {
        use("isDone", event, "event");
        return true;
    }

    @Override
    public float elapsedMillis(long start, long end) {
        use("elapsedMillis", start, "event");
        use("elapsedMillis", end, "event");
        return 1.5f;
    }

    // ---------------------------------------------------------------------------------------------- modules, kernels

    @Override
    public long loadModule(long image) {
        contextCall("loadModule");
        return opened("module");
    }

    @Override
    public void unloadModule(long module) {
        closed("unloadModule", module, "module");
    }

    @Override
    public long function(long module, String name) {
        use("function", module, "module");
        if (!kernels.containsKey(name)) {
            throw error("cuModuleGetFunction", NOT_FOUND, "CUDA_ERROR_NOT_FOUND");
        }
        next += 0x100;
        functions.put(next, name);
        return next;
    }

    @Override
    public long variable(long module, String name) {
        use("variable", module, "module");
        return 0xABC0;
    }

    @Override
    public int functionAttribute(int attribute, long function) {
        contextCall("functionAttribute");
        return functionAttributes.getOrDefault(attribute, 0);
    }

    @Override
    public void setFunctionAttribute(int attribute, int value, long function) {
        contextCall("setFunctionAttribute");
        if (value > 232448) {
            throw error("cuFuncSetAttribute", INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE");
        }
        functionAttributes.put(attribute, value);
    }

    @Override
    public long parameter(long function, int index) {
        contextCall("parameter");
        int[][] p = kernels.get(functions.get(function));
        return index < p.length ? (long) p[index][0] << 32 | p[index][1] : -1;
    }

    @Override
    public int maxBlocks(long function, int threads, long sharedBytes) {
        contextCall("maxBlocks");
        return 2;
    }

    @Override
    public int maxClusters(long function, long config) {
        contextCall("maxClusters");
        return 66;
    }

    @Override
    public void launch(long config, long function, long parameters) {
        if (silent) {
            return;
        }
        contextCall("launch");
        Launch launch = read(config, function, parameters);
        if (launch.stream() == 0 || launch.stream() != capturing) {
            launches.add(launch);
        } else {
            next += 0x100;
            nodeFunctions.put(next, function);
            recorded.add(next);
        }
    }

    private Launch read(long config, long function, long parameters) {
        MemorySegment c = MemorySegment.ofAddress(config).reinterpret(LaunchLayout.BYTES);
        int count = c.get(ValueLayout.JAVA_INT, 48);
        MemorySegment attributes = MemorySegment.ofAddress(c.get(ValueLayout.JAVA_LONG, 40)).reinterpret(72L * count);
        int[][] p = kernels.get(functions.get(function));
        MemorySegment addresses = MemorySegment.ofAddress(parameters).reinterpret(8L * p.length);
        int size = p.length == 0 ? 0 : p[p.length - 1][0] + p[p.length - 1][1];
        byte[] values = new byte[size];
        for (int i = 0; i < p.length; i++) {
            MemorySegment v = MemorySegment.ofAddress(addresses.getAtIndex(ValueLayout.JAVA_LONG, i))
                    .reinterpret(p[i][1]);
            MemorySegment.copy(v, ValueLayout.JAVA_BYTE, 0, values, p[i][0], p[i][1]);
        }
        return new Launch(function, c.asSlice(0, 12).toArray(ValueLayout.JAVA_INT),
                c.asSlice(12, 12).toArray(ValueLayout.JAVA_INT), c.get(ValueLayout.JAVA_INT, 24),
                c.get(ValueLayout.JAVA_LONG, 32), attributes.toArray(ValueLayout.JAVA_INT), values);
    }

    @Override
    public void encodeTiled(long map, int dataType, int rank, long address, Geometry geometry, int interleave,
            int swizzle, int l2Promotion, int outOfBounds) {
        contextCall("encodeTiled");
        MemorySegment m = MemorySegment.ofAddress(map).reinterpret(128);
        m.set(ValueLayout.JAVA_LONG, 0, address);
        m.set(ValueLayout.JAVA_INT, 8, dataType);
        m.set(ValueLayout.JAVA_INT, 12, rank);
        m.set(ValueLayout.JAVA_INT, 16, swizzle);
        m.set(ValueLayout.JAVA_INT, 20, l2Promotion);
        m.set(ValueLayout.JAVA_INT, 24, outOfBounds);
        for (int d = 0; d < rank; d++) {
            m.set(ValueLayout.JAVA_INT, 32 + 4 * d, MemorySegment.ofAddress(geometry.box() + 4 * d).reinterpret(4)
                    .get(ValueLayout.JAVA_INT, 0));
            m.set(ValueLayout.JAVA_LONG, 56 + 8 * d, MemorySegment.ofAddress(geometry.dims() + 8 * d).reinterpret(8)
                    .get(ValueLayout.JAVA_LONG, 0));
        }
        for (int d = 0; d < rank - 1; d++) {
            m.set(ValueLayout.JAVA_LONG, 96 + 8 * d, MemorySegment.ofAddress(geometry.strides() + 8 * d).reinterpret(8)
                    .get(ValueLayout.JAVA_LONG, 0));
        }
        MemorySegment.copy(m, ValueLayout.JAVA_BYTE, 0, tensorMap, 0, 128);
    }

    // ---------------------------------------------------------------------------------------------- graphs

    @Override
    public void beginCapture(long stream) {
        use("beginCapture", stream, "stream");
        capturing = stream;
        recorded.clear();
    }

    @Override
    public long endCapture(long stream) {
        use("endCapture", stream, "stream");
        capturing = 0;
        long graph = opened("graph");
        graphNodes.put(graph, List.copyOf(recorded));
        return graph;
    }

    @Override
    public boolean isCapturing(long stream) {
        use("isCapturing", stream, "stream");
        return capturing == stream;
    }

    @Override
    public long[] nodes(long graph) {
        use("nodes", graph, "graph");
        return graphNodes.get(graph).stream().mapToLong(n -> n).toArray();
    }

    @Override
    public int nodeType(long node) {
        contextCall("nodeType");
        return 0;
    }

    @Override
    public long nodeFunction(long node) {
        contextCall("nodeFunction");
        return nodeFunctions.get(node);
    }

    @Override
    public long instantiate(long graph) {
        use("instantiate", graph, "graph");
        return opened("executable");
    }

    @Override
    public void destroyGraph(long graph) {
        closed("destroyGraph", graph, "graph");
    }

    @Override
    public void destroyExecutable(long executable) {
        closed("destroyExecutable", executable, "executable");
    }

    @Override
    public void launchGraph(long executable, long stream) {
        use("launchGraph", executable, "executable");
        use("launchGraph", stream, "stream");
    }

    @Override
    public void updateNode(long executable, long node, long config, long function, long parameters) {
        use("updateNode", executable, "executable");
        launches.add(read(config, function, parameters));
    }
}
