/**
 * NVIDIA GPUs: devices, memory, streams, kernels compiled at run time, graphs. The driver is called through JavaCPP's
 * CUDA presets where they are there, else through {@code java.lang.foreign}; no dependency is needed at run time, and on
 * a machine without a driver the module only says so.
 */
module dev.octet.cuda {
    requires transitive dev.octet.core;
    requires static org.jspecify;
    requires static org.bytedeco.javacpp;
    requires static org.bytedeco.cuda;

    exports dev.octet.cuda;

    uses dev.octet.cuda.KernelCatalog;

    provides dev.octet.core.spi.DeviceProvider with
            dev.octet.cuda.CudaDeviceProvider;
    provides dev.octet.core.spi.Component with
            dev.octet.cuda.CudaComponent;
}
