package dev.octet.cuda;

import java.util.List;
import java.util.Optional;

/**
 * Whether there are NVIDIA GPUs here, and which. The first question loads the driver's library; what goes wrong then is
 * kept as the reason, and nothing here throws because of it.
 *
 * <p>The system property {@code octet.cuda.disable=true} makes all GPUs unavailable.
 */
public final class Cuda {
    private Cuda() {}

    /** {@return empty if there is a GPU that can be used, else why not and what would help} */
    public static Optional<String> unavailable() {
        return Optional.ofNullable(Probe.RESULT.reason());
    }

    /** {@return the GPUs in the driver's order; none if they are {@link #unavailable}} */
    public static List<CudaDevice> devices() {
        return Probe.RESULT.devices();
    }

    /**
     * {@return one GPU}
     *
     * @param index its number, from 0
     * @throws IllegalArgumentException if there is no such GPU; the message has the reason
     */
    public static CudaDevice device(int index) {
        List<CudaDevice> devices = devices();
        if (index < 0 || index >= devices.size()) {
            throw new IllegalArgumentException("device cuda:" + index + " can't be used: "
                    + unavailable().orElse("there are " + devices.size() + ", numbered from 0"));
        }
        return devices.get(index);
    }
}
