package dev.octet.fp8.cuda;

import dev.octet.core.Device;
import dev.octet.cuda.ComputeCapability;
import dev.octet.cuda.Cuda;
import dev.octet.cuda.CudaDevice;
import dev.octet.cuda.KernelLaunch;
import dev.octet.cuda.TensorMap;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;
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
    private final ThreadLocal<TensorMap[]> maps = ThreadLocal.withInitial(() -> Stream.generate(TensorMap::new)
            .limit(HopperLaunch.MAPS).toArray(TensorMap[]::new));
    private final Optional<HopperModel.Gpu> hopper;

    private GpuLauncher(CudaDevice gpu) {
        this.gpu = gpu;
        HopperModel.Gpu like = gpu.name().contains("H200") ? HopperModel.Gpu.H200 : HopperModel.Gpu.H800;
        hopper = gpu.capability().equals(ComputeCapability.HOPPER)
                ? Optional.of(like.withMultiprocessors(gpu.multiprocessors())) : Optional.empty();
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
    public Optional<HopperModel.Gpu> hopper() {
        return hopper;
    }

    @Override
    public void launch(HopperLaunch launch) {
        HopperModel.Choice choice = launch.choice();
        HopperVariant v = choice.variant();
        KernelLaunch kernel = hopperKernels.get().computeIfAbsent(v, w ->
                gpu.kernel(Fp8KernelCatalog.source(w), Fp8KernelCatalog.HOPPER_KERNEL).prepare()
                        .block(HopperVariant.THREADS).dynamicShared(w.sharedBytes()));
        TensorMap[] mine = maps.get();
        for (int i = 0; i < HopperLaunch.MAPS; i++) {
            HopperLaunch.Map map = launch.maps().get(i);
            // A map that the variant has no use for is any.
            kernel.setTensorMap(i, map == null ? mine[0] : mine[i].encode(gpu, map.layout(), map.address()));
        }
        kernel.setStruct(HopperLaunch.MAPS, launch.arguments()).grid(choice.grid())
                .cluster(choice.clusterBlocks(), 1, 1).launch();
    }

    @Override
    public long scratch() {
        return gpu.currentStream().scratch(Fp8Kernel.SCRATCH_BYTES).address();
    }
}
