package dev.octet.benchmarks.gpu;

import dev.octet.cuda.ComputeCapability;
import dev.octet.cuda.KernelCatalog;
import dev.octet.cuda.KernelSource;
import java.util.List;

/** The kernels of the launch benchmarks. */
public final class LaunchKernelCatalog implements KernelCatalog {
    /** For the service loader. */
    public LaunchKernelCatalog() {}

    @Override
    public String module() {
        return "bench";
    }

    @Override
    public List<KernelSource> sources(ComputeCapability capability) {
        return List.of(LaunchCases.SOURCE);
    }
}
