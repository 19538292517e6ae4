package dev.octet.cuda;

/** A graph that is ready to be launched. Launches of one of them never overlap. Not safe for several threads. */
public final class CudaGraphExec extends Resource {
    CudaGraphExec(CudaDevice device, long handle) {
        super(device, handle);
    }

    /**
     * Gives all of its work to a stream.
     *
     * @param stream the stream, of the same GPU
     * @throws CudaException if the driver refuses it
     */
    public void launch(CudaStream stream) {
        gpu().enter().launchGraph(handle(), stream.handle());
    }

    /**
     * Gives a kernel of the graph new parameters and a new geometry, for the launches from now on. Cluster size and the
     * other attributes stay as they were recorded.
     *
     * @param node which kernel, of the graph that this was made from
     * @param launch what it becomes: a launch of the same kernel
     * @throws IllegalArgumentException if the launch is of another kernel
     * @throws CudaException if the driver refuses it
     */
    public void update(CudaGraph.KernelNode node, KernelLaunch launch) {
        if (!node.runs(launch.kernel())) {
            throw new IllegalArgumentException("launch is of " + launch.kernel() + ", the node runs another kernel");
        }
        launch.update(handle(), node.handle());
    }

    @Override
    void release(long handle) {
        gpu().enter().destroyExecutable(handle);
    }

    /** {@return for example {@code an executable graph of cuda:0}} */
    @Override
    public String toString() {
        return "an executable graph of " + gpu().device();
    }
}
