package dev.octet.cuda;

import dev.octet.core.Tensor;
import dev.octet.cuda.driver.Driver;
import dev.octet.cuda.driver.LaunchLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.util.List;
import java.util.Objects;

/**
 * A call of a kernel, prepared: grid, block and parameters lie in native memory as the driver reads them, so that
 * {@link #launch} allocates nothing. Values stay as they are until they are set again, and the driver copies them
 * during the call: they can be set anew for the next call right after it.
 *
 * <p>The kernel knows the offset and the size of each parameter, and each setter checks the size. Not safe for use by
 * several threads at a time; nothing has to be closed, so one in a {@link ThreadLocal} is a good way to have one for
 * each thread.
 */
public final class KernelLaunch {
    /** As tensor maps want it. */
    private static final long ALIGNMENT = 128;

    private final CudaKernel kernel;
    private final MemorySegment config;
    private final MemorySegment values;
    private final MemorySegment pointers;
    private final int[] offsets;
    private final int[] sizes;
    private final boolean[] known;
    private int missing;
    private int clusterX = 1;
    private int clusterY = 1;
    private int clusterZ = 1;
    private boolean programmatic;
    private boolean cooperative;

    KernelLaunch(CudaKernel kernel) {
        this.kernel = kernel;
        List<CudaKernel.Parameter> parameters = kernel.parameters();
        int count = parameters.size();
        offsets = new int[count];
        sizes = new int[count];
        known = new boolean[count];
        missing = count;
        long bytes = 0;
        for (int i = 0; i < count; i++) {
            offsets[i] = parameters.get(i).offset();
            sizes[i] = parameters.get(i).bytes();
            bytes = Math.max(bytes, offsets[i] + (long) sizes[i]);
        }
        Arena arena = Arena.ofAuto(); // lives as long as this object
        config = arena.allocate(LaunchLayout.BYTES, 8);
        values = arena.allocate(Math.max(1, bytes), ALIGNMENT);
        pointers = arena.allocate(8L * Math.max(1, count), 8);
        for (int i = 0; i < count; i++) {
            pointers.setAtIndex(ValueLayout.JAVA_LONG, i, values.address() + offsets[i]);
        }
        LaunchLayout.clear(config);
    }

    /** {@return what is launched} */
    public CudaKernel kernel() {
        return kernel;
    }

    // ---------------------------------------------------------------------------------------------- geometry

    /**
     * Sets the blocks of the grid.
     *
     * @param x blocks along x
     * @param y blocks along y
     * @param z blocks along z
     * @return this
     * @throws IllegalArgumentException if one is less than 1
     */
    public KernelLaunch grid(int x, int y, int z) {
        positive("grid", x, y, z);
        LaunchLayout.grid(config, x, y, z);
        return this;
    }

    /**
     * Sets the blocks of the grid.
     *
     * @param x blocks along x
     * @return this
     * @throws IllegalArgumentException if it is less than 1
     */
    public KernelLaunch grid(int x) {
        return grid(x, 1, 1);
    }

    /**
     * Sets the threads of a block.
     *
     * @param x threads along x
     * @param y threads along y
     * @param z threads along z
     * @return this
     * @throws IllegalArgumentException if one is less than 1
     */
    public KernelLaunch block(int x, int y, int z) {
        positive("block", x, y, z);
        LaunchLayout.block(config, x, y, z);
        return this;
    }

    /**
     * Sets the threads of a block.
     *
     * @param x threads along x
     * @return this
     * @throws IllegalArgumentException if it is less than 1
     */
    public KernelLaunch block(int x) {
        return block(x, 1, 1);
    }

    /**
     * Sets the blocks of a cluster, which run at the same time and see each other's shared memory; Hopper and later.
     * The grid must be a multiple of it.
     *
     * @param x blocks of a cluster along x
     * @param y blocks of a cluster along y
     * @param z blocks of a cluster along z
     * @return this
     * @throws IllegalArgumentException if one is less than 1
     */
    public KernelLaunch cluster(int x, int y, int z) {
        positive("cluster", x, y, z);
        kernel.allowCluster(Math.multiplyExact(Math.multiplyExact(x, y), z));
        clusterX = x;
        clusterY = y;
        clusterZ = z;
        return attributes();
    }

    /**
     * Sets the dynamic shared memory of a block; asks the driver for more than 48 KB where that is needed.
     *
     * @param bytes the size
     * @return this
     * @throws IllegalArgumentException if it is negative
     * @throws CudaException if the GPU has not that much
     */
    public KernelLaunch dynamicShared(int bytes) {
        if (bytes < 0) {
            throw new IllegalArgumentException("bytes is " + bytes + ", takes 0 or more");
        }
        kernel.allowDynamicShared(bytes);
        LaunchLayout.shared(config, bytes);
        return this;
    }

    /**
     * Says whether this kernel may begin before the one in front of it on the stream has ended. The kernel then must
     * wait with {@code griddepcontrol.wait} before it reads what the other wrote; Hopper and later.
     *
     * @param early whether it may
     * @return this
     */
    public KernelLaunch programmatic(boolean early) {
        programmatic = early;
        return attributes();
    }

    /**
     * Says whether all blocks must run at the same time, so that they can wait for each other.
     *
     * @param together whether they must
     * @return this
     */
    public KernelLaunch cooperative(boolean together) {
        cooperative = together;
        return attributes();
    }

    private KernelLaunch attributes() {
        LaunchLayout.attributes(config, clusterX, clusterY, clusterZ, programmatic, cooperative);
        return this;
    }

    /** {@return how many clusters of this launch fit on the GPU at a time} */
    public int maxClusters() {
        int n = kernel.gpu().enter().maxClusters(kernel.function(), config.address());
        Reference.reachabilityFence(this);
        return n;
    }

    // ---------------------------------------------------------------------------------------------- parameters

    /**
     * Sets a parameter of 4 bytes.
     *
     * @param index which, from 0
     * @param value its value
     * @return this
     * @throws IllegalArgumentException if the parameter has another size
     */
    public KernelLaunch setInt(int index, int value) {
        values.set(ValueLayout.JAVA_INT, at(index, 4), value);
        return this;
    }

    /**
     * Sets a parameter of 8 bytes.
     *
     * @param index which, from 0
     * @param value its value
     * @return this
     * @throws IllegalArgumentException if the parameter has another size
     */
    public KernelLaunch setLong(int index, long value) {
        values.set(ValueLayout.JAVA_LONG, at(index, 8), value);
        return this;
    }

    /**
     * Sets a parameter of 4 bytes.
     *
     * @param index which, from 0
     * @param value its value
     * @return this
     * @throws IllegalArgumentException if the parameter has another size
     */
    public KernelLaunch setFloat(int index, float value) {
        values.set(ValueLayout.JAVA_FLOAT, at(index, 4), value);
        return this;
    }

    /**
     * Sets a pointer to the first element of a tensor.
     *
     * @param index which, from 0
     * @param tensor a tensor on the kernel's GPU
     * @return this
     * @throws IllegalArgumentException if the parameter is no pointer, or the tensor is on another device
     * @throws IllegalStateException if the tensor is closed
     */
    public KernelLaunch setPointer(int index, Tensor tensor) {
        if (!tensor.device().equals(kernel.gpu().device())) {
            throw new IllegalArgumentException("parameter " + index + " of " + kernel + " is " + tensor
                    + ", takes a tensor on " + kernel.gpu().device());
        }
        return setLong(index, tensor.address());
    }

    /**
     * Sets a pointer to a buffer.
     *
     * @param index which, from 0
     * @param buffer memory of the kernel's GPU
     * @return this
     * @throws IllegalArgumentException if the parameter is no pointer
     * @throws IllegalStateException if the buffer is closed
     */
    public KernelLaunch setPointer(int index, DeviceBuffer buffer) {
        return setLong(index, buffer.address());
    }

    /**
     * Sets a parameter {@code const __grid_constant__ CUtensorMap} by copying the map.
     *
     * @param index which, from 0
     * @param map an encoded map
     * @return this
     * @throws IllegalArgumentException if the parameter has not 128 bytes
     */
    public KernelLaunch setTensorMap(int index, TensorMap map) {
        return setStruct(index, map.segment());
    }

    /**
     * Sets a parameter of any size.
     *
     * @param index which, from 0
     * @param bytes its bytes as the kernel's compiler lays them out
     * @return this
     * @throws IllegalArgumentException if the parameter has another size
     */
    public KernelLaunch setStruct(int index, MemorySegment bytes) {
        MemorySegment.copy(bytes, 0, values, at(index, bytes.byteSize()), bytes.byteSize());
        return this;
    }

    private long at(int index, long bytes) {
        Objects.checkIndex(index, sizes.length);
        if (sizes[index] != bytes) {
            throw new IllegalArgumentException("parameter " + index + " of " + kernel + " has " + sizes[index]
                    + " bytes, the value has " + bytes);
        }
        if (!known[index]) {
            known[index] = true;
            missing--;
        }
        return offsets[index];
    }

    // ---------------------------------------------------------------------------------------------- launching

    /**
     * Gives the kernel to a stream.
     *
     * @param stream the stream, of the kernel's GPU
     * @throws IllegalStateException if a parameter was never set, or the module or the stream is closed
     * @throws CudaException if the driver refuses the launch
     */
    public void launch(CudaStream stream) {
        Driver driver = ready(stream);
        driver.launch(config.address(), kernel.function(), pointers.address());
        Reference.reachabilityFence(this);
    }

    /** Gives the kernel to the GPU's {@link CudaDevice#currentStream() current stream}. */
    public void launch() {
        launch(kernel.gpu().currentStream());
    }

    /** Puts this launch in the place of a graph's node. */
    void update(long executable, long node) {
        Driver driver = checked();
        driver.updateNode(executable, node, config.address(), kernel.function(), pointers.address());
        Reference.reachabilityFence(this);
    }

    private Driver ready(CudaStream stream) {
        if (stream.gpu() != kernel.gpu()) {
            throw new IllegalArgumentException("stream is " + stream + ", " + kernel + " takes one of its own GPU");
        }
        LaunchLayout.stream(config, stream.handle());
        return checked();
    }

    private Driver checked() {
        if (missing > 0) {
            int first = 0;
            while (known[first]) {
                first++;
            }
            throw new IllegalStateException("parameter " + first + " of " + kernel + " was never set");
        }
        return kernel.gpu().enter();
    }

    private static void positive(String what, int x, int y, int z) {
        if (x < 1 || y < 1 || z < 1) {
            throw new IllegalArgumentException(what + " is " + x + ", " + y + ", " + z + ", takes 1 or more of each");
        }
    }
}
