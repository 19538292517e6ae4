package dev.octet.cuda;

import dev.octet.core.spi.Component;
import java.util.List;

/**
 * NVRTC, with a cache on disk in front of it. Needs neither a GPU nor a driver. Safe for use by several threads.
 */
public final class KernelCompiler {
    private static final KernelCompiler SHARED = new KernelCompiler();

    /**
     * A compiled program.
     *
     * @param image the machine code, a CUBIN
     * @param log what NVRTC printed; empty if it came from the cache
     * @param cached whether it came from the cache
     */
    public record Compiled(byte[] image, String log, boolean cached) {}

    private KernelCompiler() {}

    /** {@return the compiler of this process} */
    public static KernelCompiler shared() {
        return SHARED;
    }

    /**
     * {@return the options that every program is compiled with, for one architecture}
     *
     * @param arch for example {@code sm_90a}
     */
    public static List<String> commonOptions(String arch) {
        return List.of("--gpu-architecture=" + arch, "--std=c++20", "--device-as-default-execution-space",
                "--device-int128");
    }

    /**
     * Compiles a program, or reads it from the cache.
     *
     * @param source the program
     * @param arch the architecture, for example {@code sm_90a}: {@link ComputeCapability#arch()}
     * @return the machine code
     * @throws KernelCompileException if NVRTC refuses it; the message has its log
     * @throws IllegalStateException if there is no NVRTC here; the message has the reason
     */
    public Compiled compile(KernelSource source, String arch) {
        throw new IllegalStateException("no NVRTC here");
    }

    Component.Path describe() {
        return new Component.Path("cuda.nvrtc", "none", "");
    }
}
