package dev.octet.fp8;

import dev.octet.core.Device;
import dev.octet.core.spi.Component;
import dev.octet.fp8.spi.Fp8Backend;
import java.util.ArrayList;
import java.util.List;

/** Tells {@link dev.octet.core.Octet#describe()} which backend each FP8 operation runs on. */
public final class Fp8Component implements Component {
    private static final List<String> OPERATIONS =
            List.of("fp8.cast", "fp8.quantize", "fp8.dequantize", "fp8.requantize", "fp8.gemm");

    /** For the service loader. */
    public Fp8Component() {}

    @Override
    public String name() {
        return "fp8";
    }

    @Override
    public List<Path> paths() {
        Fp8Backend best = Fp8Backends.best(Device.Kind.CPU);
        StringBuilder reason = new StringBuilder("best of those that can run");
        for (Fp8Backend b : Fp8Backends.all()) {
            Fp8Backends.unavailable(b)
                    .ifPresent(why -> reason.append("; not ").append(b.name()).append(": ").append(why));
        }
        List<Path> paths = new ArrayList<>();
        for (String operation : OPERATIONS) {
            paths.add(new Path(operation, best.name() + ", " + best.description(), reason.toString()));
        }
        return paths;
    }
}
