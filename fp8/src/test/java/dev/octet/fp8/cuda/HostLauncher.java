package dev.octet.fp8.cuda;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;

/**
 * Launches on the host build what the CUDA backend launches on a GPU, with the same grid, block and parameter. Each
 * launch has another order of turns, which must not change any result.
 */
final class HostLauncher implements Launcher {
    static final Path SOURCES = Path.of("src", "main", "resources", "dev", "octet", "fp8", "cuda");

    private static final AtomicBoolean BUILT = new AtomicBoolean();

    private final AtomicLong launches = new AtomicLong();
    private final ThreadLocal<MemorySegment> scratch =
            ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(Fp8Kernel.SCRATCH_BYTES, 16).fill((byte) 0xFF));

    @Override
    public void launch(Fp8Kernel kernel, long blocks, MemorySegment parameters) {
        if (!BUILT.getAndSet(true)) {
            HostBuild.all(Stream.of(Fp8Kernel.values()).map(Fp8Kernel::file).distinct().map(SOURCES::resolve).toList());
        }
        HostBuild.of(SOURCES.resolve(kernel.file())).launch(kernel.function(), Math.toIntExact(blocks),
                Fp8Kernel.THREADS, 0, launches.getAndIncrement() % 5, parameters);
    }

    @Override
    public long scratch() {
        return scratch.get().address();
    }
}
