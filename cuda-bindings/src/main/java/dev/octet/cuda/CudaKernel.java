package dev.octet.cuda;

import dev.octet.cuda.driver.Driver;
import java.util.ArrayList;
import java.util.List;

/** A kernel on a GPU, open as long as its module. Safe for use by several threads. */
public final class CudaKernel {
    private static final int STATIC_SHARED = 1;
    private static final int LOCAL_BYTES = 3;
    private static final int REGISTERS = 4;
    private static final int MAX_DYNAMIC_SHARED = 8;
    private static final int NON_PORTABLE_CLUSTER = 14;
    /** What every kernel may take without asking, and the largest cluster likewise. */
    private static final int DYNAMIC_SHARED_WITHOUT_ASKING = 48 * 1024;
    private static final int CLUSTER_WITHOUT_ASKING = 8;

    /**
     * Where a parameter lies among the others.
     *
     * @param offset bytes from the first
     * @param bytes its size
     */
    record Parameter(int offset, int bytes) {}

    private final CudaModule module;
    private final String name;
    private final long function;
    private final List<Parameter> parameters;
    private int dynamicShared = DYNAMIC_SHARED_WITHOUT_ASKING;
    private boolean nonPortableCluster;

    CudaKernel(CudaModule module, String name, long function) {
        this.module = module;
        this.name = name;
        this.function = function;
        List<Parameter> found = new ArrayList<>();
        Driver driver = module.gpu().enter();
        for (long p = driver.parameter(function, 0); p >= 0; p = driver.parameter(function, found.size())) {
            found.add(new Parameter((int) (p >>> 32), (int) p));
        }
        parameters = List.copyOf(found);
    }

    /** {@return its name} */
    public String name() {
        return name;
    }

    /** {@return the GPU it is on} */
    public CudaDevice gpu() {
        return module.gpu();
    }

    /** {@return how many parameters it has} */
    public int parameterCount() {
        return parameters.size();
    }

    /**
     * {@return a new launch of this kernel: one block of one thread, no parameter set. Preparing takes microseconds and
     * allocates; keep it and launch it often, but from one thread at a time}
     */
    public KernelLaunch prepare() {
        return new KernelLaunch(this);
    }

    /** {@return 32-bit registers of each thread} */
    public int registers() {
        return attribute(REGISTERS);
    }

    /** {@return bytes of local memory of each thread: arrays and spilled registers} */
    public int localBytes() {
        return attribute(LOCAL_BYTES);
    }

    /** {@return bytes of shared memory of each block that are declared in the source} */
    public int staticSharedBytes() {
        return attribute(STATIC_SHARED);
    }

    /**
     * {@return how many blocks fit on one multiprocessor at a time}
     *
     * @param threads threads of a block
     * @param dynamicShared bytes of dynamic shared memory of a block
     */
    public int blocksPerMultiprocessor(int threads, int dynamicShared) {
        allowDynamicShared(dynamicShared);
        return gpu().enter().maxBlocks(function(), threads, dynamicShared);
    }

    private int attribute(int attribute) {
        return gpu().enter().functionAttribute(attribute, function());
    }

    /** {@return the driver's handle, as long as the module is open} */
    long function() {
        module.handle();
        return function;
    }

    List<Parameter> parameters() {
        return parameters;
    }

    /** More than 48 KB has to be asked for, once for each kernel; the largest wins. */
    synchronized void allowDynamicShared(int bytes) {
        if (bytes > dynamicShared) {
            gpu().enter().setFunctionAttribute(MAX_DYNAMIC_SHARED, bytes, function());
            dynamicShared = bytes;
        }
    }

    /** Clusters of more than 8 blocks have to be asked for, once for each kernel. */
    synchronized void allowCluster(int blocks) {
        if (blocks > CLUSTER_WITHOUT_ASKING && !nonPortableCluster) {
            gpu().enter().setFunctionAttribute(NON_PORTABLE_CLUSTER, 1, function());
            nonPortableCluster = true;
        }
    }

    /** {@return the name and the module} */
    @Override
    public String toString() {
        return "kernel " + name + " of " + module;
    }
}
