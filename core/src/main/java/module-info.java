/**
 * Tensors, memory, safetensors files and CPU threads: what every Octet kernel stands on. No run-time dependency.
 */
module dev.octet.core {
    requires static org.jspecify;
    requires static jdk.incubator.vector;
    requires jdk.jfr;

    exports dev.octet.core;
    exports dev.octet.core.cpu;
    exports dev.octet.core.ffi;
    exports dev.octet.core.json;
    exports dev.octet.core.safetensors;
    exports dev.octet.core.spi;

    uses dev.octet.core.spi.Component;
    uses dev.octet.core.spi.DeviceProvider;
}
