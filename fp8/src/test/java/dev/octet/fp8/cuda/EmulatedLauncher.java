package dev.octet.fp8.cuda;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * A Hopper GPU of few multiprocessors, so that blocks have several tiles: the Hopper GEMM runs on emulated
 * instructions, all else on the host build. Memory of the stream begins as NaN for every call.
 */
final class EmulatedLauncher implements Launcher {
    static final HopperModel.Gpu SMALL = HopperModel.Gpu.H200.withMultiprocessors(6);

    private static final ThreadLocal<MemorySegment> WORKSPACE = new ThreadLocal<>();

    /** What was launched. */
    final List<String> launched = Collections.synchronizedList(new ArrayList<>());
    private final HostLauncher host = new HostLauncher();
    private final HopperEmulation.Timing timing;
    private int seed = 11;

    EmulatedLauncher(HopperEmulation.Timing timing) {
        this.timing = timing;
    }

    @Override
    public void launch(Fp8Kernel kernel, long blocks, MemorySegment parameters) {
        launched.add(kernel.name());
        host.launch(kernel, blocks, parameters);
    }

    @Override
    public HopperModel.Gpu hopper() {
        return SMALL;
    }

    @Override
    public void launch(HopperLaunch launch) {
        launched.add(launch.variant().toString());
        HopperEmulation.run(launch, timing, seed++);
    }

    @Override
    public long scratch() {
        return host.scratch();
    }

    @Override
    public long workspace(long bytes) {
        MemorySegment memory = Arena.ofAuto().allocate(bytes, 256).fill((byte) 0xFF);
        WORKSPACE.set(memory); // until the thread's next call
        return memory.address();
    }
}
