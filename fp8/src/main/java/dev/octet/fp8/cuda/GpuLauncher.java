package dev.octet.fp8.cuda;

import dev.octet.core.Device;
import dev.octet.cuda.ComputeCapability;
import dev.octet.cuda.Cuda;
import dev.octet.cuda.CudaDevice;
import dev.octet.cuda.CudaStream;
import dev.octet.cuda.KernelLaunch;
import dev.octet.cuda.TensorMap;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Launches kernels on one GPU, on the calling thread's current stream. Kernels are compiled and loaded when they are
 * first launched; each thread prepares a launch once for each kernel, and allocates nothing after that.
 */
final class GpuLauncher implements Launcher {
    /** What {@code __reduce_max_sync} and 16-byte asynchronous copies need. */
    private static final ComputeCapability LEAST = new ComputeCapability(8, 0);

    private static final Map<Integer, GpuLauncher> ALL = new ConcurrentHashMap<>();

    private final CudaDevice gpu;
    private final ThreadLocal<@Nullable KernelLaunch[]> prepared =
            ThreadLocal.withInitial(() -> new KernelLaunch[Fp8Kernel.values().length]);
    private final ThreadLocal<Map<HopperVariant, KernelLaunch>> hopperKernels = ThreadLocal.withInitial(HashMap::new);
    private final ThreadLocal<EncodedMaps> maps = ThreadLocal.withInitial(EncodedMaps::new);
    private final HopperModel.@Nullable Gpu hopper;

    private GpuLauncher(CudaDevice gpu) {
        this.gpu = gpu;
        HopperModel.Gpu like = gpu.name().contains("H200") ? HopperModel.Gpu.H200 : HopperModel.Gpu.H800;
        hopper = gpu.capability().equals(ComputeCapability.HOPPER)
                ? like.withMultiprocessors(gpu.multiprocessors()) : null;
    }

    /** {@return why there is no GPU to launch on, or nothing} */
    static Optional<String> unavailable() {
        Optional<String> why = Cuda.unavailable();
        if (why.isPresent()) {
            return why;
        }
        CudaDevice first = Cuda.device(0);
        return first.capability().compareTo(LEAST) >= 0 ? Optional.empty()
                : Optional.of(first.name() + " has compute capability " + first.capability() + ", 8.0 is needed");
    }

    /** {@return which GPU, in a few words} */
    static String describe() {
        CudaDevice first = Cuda.device(0);
        return first.name() + ", compute capability " + first.capability();
    }

    /** {@return the launcher for tensors on a device} */
    static GpuLauncher of(Device device) {
        GpuLauncher known = ALL.get(device.index());
        return known != null ? known
                : ALL.computeIfAbsent(device.index(), index -> new GpuLauncher(Cuda.device(index)));
    }

    /** Compiles and loads the kernels of a GPU. */
    static void warmUp(Device device) {
        CudaDevice gpu = Cuda.device(device.index());
        gpu.warmUp(new Fp8KernelCatalog().sources(gpu.capability()));
    }

    @Override
    public void launch(Fp8Kernel kernel, long blocks, MemorySegment parameters) {
        if (blocks > Integer.MAX_VALUE) {
            throw new IllegalArgumentException("the matrix has " + blocks + " tiles, a launch takes 2147483647");
        }
        KernelLaunch[] mine = prepared.get();
        KernelLaunch launch = mine[kernel.ordinal()];
        if (launch == null) {
            launch = gpu.kernel(Fp8KernelCatalog.source(kernel.file()), kernel.function()).prepare()
                    .block(Fp8Kernel.THREADS);
            mine[kernel.ordinal()] = launch;
        }
        launch.grid((int) blocks).setStruct(0, parameters).launch();
    }

    @Override
    public HopperModel.@Nullable Gpu hopper() {
        return hopper;
    }

    @Override
    public void launch(HopperLaunch launch) {
        HopperVariant v = launch.variant();
        Map<HopperVariant, KernelLaunch> mine = hopperKernels.get();
        KernelLaunch kernel = mine.get(v);
        if (kernel == null) {
            kernel = gpu.kernel(Fp8KernelCatalog.source(v), Fp8KernelCatalog.HOPPER_KERNEL).prepare()
                    .block(HopperVariant.THREADS).dynamicShared(v.sharedBytes());
            mine.put(v, kernel);
        }
        EncodedMaps encoded = maps.get();
        for (int i = 0; i < HopperLaunch.MAPS; i++) {
            TensorMap.Layout layout = launch.layout(i);
            // A map that the variant has no use for is any.
            int from = layout == null ? 0 : i;
            kernel.setTensorMap(i, encoded.map(gpu, Objects.requireNonNull(launch.layout(from)), launch.address(from)));
        }
        kernel.setStruct(HopperLaunch.MAPS, launch.arguments).grid(launch.grid()).cluster(launch.cluster(), 1, 1)
                .launch();
    }

    /**
     * Maps that a thread has encoded, where the hash of layout and address says: weights are where they were, and
     * activations often. The driver takes half a microsecond for each that is not there.
     */
    private static final class EncodedMaps {
        private static final int KEPT = 512;

        private final @Nullable TensorMap[] maps = new TensorMap[KEPT];
        private final TensorMap.@Nullable Layout[] layouts = new TensorMap.Layout[KEPT];
        private final long[] addresses = new long[KEPT];

        TensorMap map(CudaDevice gpu, TensorMap.Layout layout, long address) {
            int at = (int) ((address + 31L * System.identityHashCode(layout)) * 0x9E3779B97F4A7C15L >>> 55);
            TensorMap map = maps[at];
            if (map == null) {
                map = new TensorMap();
                maps[at] = map;
            } else if (layouts[at] == layout && addresses[at] == address) {
                return map;
            }
            layouts[at] = null; // if the driver refuses it
            map.encode(gpu, layout, address);
            layouts[at] = layout;
            addresses[at] = address;
            return map;
        }
    }

    @Override
    public long scratch() {
        return gpu.currentStream().scratch(Fp8Kernel.SCRATCH_BYTES).address();
    }

    @Override
    public long workspace(long bytes) {
        CudaStream stream = gpu.currentStream();
        return stream.isCapturing() ? 0 : stream.scratch(bytes).address();
    }

    @Override
    public Object order() {
        return gpu.currentStream();
    }
}
