package dev.octet.fp8;

import dev.octet.core.spi.Component;
import java.util.List;

/** Tells {@link dev.octet.core.Octet#describe()} which backend each FP8 operation runs on. */
public final class Fp8Component implements Component {
    private static final List<String> OPERATIONS =
            List.of("fp8.cast", "fp8.quantize", "fp8.dequantize", "fp8.requantize", "fp8.gemm", "fp8.groupedGemm",
                    "fp8.maskedGroupedGemm", "fp8.kGroupedGemm");

    /** For the service loader. */
    public Fp8Component() {}

    @Override
    public String name() {
        return "fp8";
    }

    @Override
    public List<Path> paths() {
        return Fp8Backends.FOUND.paths(OPERATIONS);
    }
}
