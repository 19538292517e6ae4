package dev.octet.cuda;

import dev.octet.cuda.driver.Driver;
import java.util.ArrayList;
import java.util.List;

/** Work that was recorded from a stream: {@link CudaStream#capture}. */
public final class CudaGraph extends Resource {
    private static final int KERNEL_NODE = 0;

    CudaGraph(CudaDevice device, long handle) {
        super(device, handle);
    }

    /** A kernel in a graph. */
    public static final class KernelNode {
        private final long handle;
        private final long function;

        private KernelNode(long handle, long function) {
            this.handle = handle;
            this.function = function;
        }

        /**
     * {@return whether this node runs that kernel}
     *
     * @param kernel the kernel
     */
        public boolean runs(CudaKernel kernel) {
            return kernel.function() == function;
        }

        long handle() {
            return handle;
        }
    }

    /** {@return the kernels, in the order in which the driver lists them, which is that of the recording} */
    public List<KernelNode> kernelNodes() {
        Driver driver = gpu().enter();
        List<KernelNode> nodes = new ArrayList<>();
        for (long n : driver.nodes(handle())) {
            if (driver.nodeType(n) == KERNEL_NODE) {
                nodes.add(new KernelNode(n, driver.nodeFunction(n)));
            }
        }
        return nodes;
    }

    /** {@return a form of it that can be launched; the caller closes it. The graph must stay open to update it} */
    public CudaGraphExec instantiate() {
        return new CudaGraphExec(gpu(), gpu().enter().instantiate(handle()));
    }

    @Override
    void release(long handle) {
        gpu().enter().destroyGraph(handle);
    }

    /** {@return for example {@code a graph of cuda:0}} */
    @Override
    public String toString() {
        return "a graph of " + gpu().device();
    }
}
