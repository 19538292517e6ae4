package dev.octet.cuda;

import dev.octet.core.spi.Component;
import java.util.ArrayList;
import java.util.List;

/** Tells {@link dev.octet.core.Octet#describe()} which GPUs there are, or why there are none. */
public final class CudaComponent implements Component {
    /** For the service loader. */
    public CudaComponent() {}

    @Override
    public String name() {
        return "cuda";
    }

    @Override
    public List<Path> paths() {
        List<Path> paths = new ArrayList<>();
        for (CudaDevice d : Cuda.devices()) {
            paths.add(new Path("cuda.device", d.toString(), d.totalMemory() / (1 << 20) + " MiB, driver for CUDA "
                    + d.driverVersion() / 1000 + "." + d.driverVersion() % 1000 / 10 + ", called through "
                    + d.binding()));
        }
        Cuda.unavailable().ifPresent(why -> paths.add(new Path("cuda.device", "none", why)));
        paths.add(KernelCompiler.shared().describe());
        return paths;
    }
}
