package dev.octet.core.spi;

import dev.octet.core.Device;
import java.util.Optional;

/**
 * Gives tensors memory on a kind of device other than the CPU. Found through {@link java.util.ServiceLoader}; asking
 * it whether it is available must never throw.
 */
public interface DeviceProvider {
    /** {@return the kind of device this provider serves} */
    Device.Kind kind();

    /** {@return empty if devices can be used, else the reason why not and what would help} */
    Optional<String> unavailable();

    /**
     * Allocates zeroed memory.
     *
     * @param device the device, of this provider's kind
     * @param bytes the size in bytes, not negative
     * @return the memory, owned by the caller
     * @throws IllegalArgumentException if there is no such device
     * @throws OutOfMemoryError if the device has not that much memory
     */
    Storage allocate(Device device, long bytes);
}
