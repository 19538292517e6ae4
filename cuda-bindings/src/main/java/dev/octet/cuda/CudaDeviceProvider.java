package dev.octet.cuda;

import dev.octet.core.Device;
import dev.octet.core.spi.DeviceProvider;
import dev.octet.core.spi.Storage;
import java.util.Optional;

/** Gives tensors memory on NVIDIA GPUs. */
public final class CudaDeviceProvider implements DeviceProvider {
    /** For the service loader. */
    public CudaDeviceProvider() {}

    @Override
    public Device.Kind kind() {
        return Device.Kind.CUDA;
    }

    @Override
    public Optional<String> unavailable() {
        return Cuda.unavailable();
    }

    @Override
    public Storage allocate(Device device, long bytes) {
        if (device.kind() != Device.Kind.CUDA) {
            throw new IllegalArgumentException("device is " + device + ", takes a CUDA device");
        }
        CudaDevice gpu = Cuda.device(device.index());
        DeviceBuffer buffer = gpu.allocate(bytes);
        try {
            CudaStream stream = gpu.currentStream();
            stream.fill(buffer, (byte) 0);
            // Another stream may be the first to use it.
            stream.synchronize();
            return buffer;
        } catch (RuntimeException | Error e) {
            buffer.close();
            throw e;
        }
    }
}
