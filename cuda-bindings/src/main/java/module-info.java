/**
 * NVIDIA GPUs: devices, memory, streams, kernels compiled at run time, graphs. Everything goes to the driver's library
 * through {@code java.lang.foreign}; there is no run-time dependency, and on a machine without a driver the module only
 * says so.
 */
module dev.octet.cuda {
    requires transitive dev.octet.core;
    requires static org.jspecify;

    exports dev.octet.cuda;

    provides dev.octet.core.spi.DeviceProvider with
            dev.octet.cuda.CudaDeviceProvider;
    provides dev.octet.core.spi.Component with
            dev.octet.cuda.CudaComponent;
}
