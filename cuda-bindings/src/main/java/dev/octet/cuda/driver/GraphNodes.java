package dev.octet.cuda.driver;

import dev.octet.cuda.CudaException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.List;

/**
 * The driver's own library, {@code libcuda.so.1}, or what the system property {@code octet.cuda.libcuda} names; and
 * what both ways of calling it do alike: the nodes of a graph are looked at and given new parameters through
 * {@code java.lang.foreign}, since JavaCPP's form of {@code cuGraphGetNodes} has room for a single node.
 */
abstract sealed class GraphNodes implements Driver permits NativeDriver, PresetDriver {
    /** Where it can't be opened, loading this class fails with the reason. */
    static final NativeLibrary LIBRARY = NativeLibrary.open("NVIDIA driver",
            List.of(System.getProperty("octet.cuda.libcuda", "libcuda.so.1")),
            "Octet's kernels for GPUs need an NVIDIA GPU and its driver for CUDA 12.4 or later; everything else runs on"
                    + " the CPU without them.");

    private static final MethodHandle GET_NODES = LIBRARY.function("cuGraphGetNodes", "lll");
    private static final MethodHandle GET_TYPE = LIBRARY.function("cuGraphNodeGetType", "ll");
    private static final MethodHandle GET_PARAMS = LIBRARY.function("cuGraphKernelNodeGetParams_v2", "ll");
    private static final MethodHandle SET_PARAMS = LIBRARY.function("cuGraphExecKernelNodeSetParams_v2", "lll");

    /** {@return the exception for a status that is not success} */
    abstract CudaException failed(String call, int status);

    private void check(String call, int status) {
        if (status != 0) {
            throw failed(call, status);
        }
    }

    @Override
    public final long[] nodes(long graph) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment size = arena.allocate(ValueLayout.JAVA_LONG);
            check("cuGraphGetNodes", (int) GET_NODES.invokeExact(graph, 0L, size.address()));
            long count = size.get(ValueLayout.JAVA_LONG, 0);
            MemorySegment nodes = arena.allocate(8 * Math.max(1, count), 8);
            check("cuGraphGetNodes", (int) GET_NODES.invokeExact(graph, nodes.address(), size.address()));
            return nodes.asSlice(0, 8 * count).toArray(ValueLayout.JAVA_LONG);
        } catch (Throwable t) {
            throw NativeLibrary.unexpected(t);
        }
    }

    @Override
    public final int nodeType(long node) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment type = arena.allocate(ValueLayout.JAVA_INT);
            check("cuGraphNodeGetType", (int) GET_TYPE.invokeExact(node, type.address()));
            return type.get(ValueLayout.JAVA_INT, 0);
        } catch (Throwable t) {
            throw NativeLibrary.unexpected(t);
        }
    }

    @Override
    public final long nodeFunction(long node) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment params = arena.allocate(KernelNodeLayout.BYTES, 8);
            check("cuGraphKernelNodeGetParams", (int) GET_PARAMS.invokeExact(node, params.address()));
            return KernelNodeLayout.function(params);
        } catch (Throwable t) {
            throw NativeLibrary.unexpected(t);
        }
    }

    @Override
    public final void updateNode(long executable, long node, long config, long function, long parameters) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment params = arena.allocate(KernelNodeLayout.BYTES, 8);
            KernelNodeLayout.write(params, config, function, parameters);
            check("cuGraphExecKernelNodeSetParams",
                    (int) SET_PARAMS.invokeExact(executable, node, params.address()));
        } catch (Throwable t) {
            throw NativeLibrary.unexpected(t);
        }
    }
}
