package dev.octet.cuda;

import java.util.List;

/**
 * The kernels of one module, all of them: what is compiled by the build's check, by a warm-up and by whoever wants to
 * know how long a cold start takes. Found through {@link java.util.ServiceLoader} on the class path, by a file in
 * {@code META-INF/services}: a module descriptor can't provide a service of a module that may be absent.
 */
public interface KernelCatalog {
    /** {@return the module's short name, for example {@code fp8}} */
    String module();

    /**
     * {@return the sources that this module loads on a GPU, with the options it loads them with; each once}
     *
     * @param capability the GPU's
     */
    List<KernelSource> sources(ComputeCapability capability);
}
