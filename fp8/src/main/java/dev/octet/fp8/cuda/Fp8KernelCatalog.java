package dev.octet.fp8.cuda;

import dev.octet.cuda.ComputeCapability;
import dev.octet.cuda.KernelCatalog;
import dev.octet.cuda.KernelSource;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;

/** The sources of this module's kernels, each with the headers beside it. */
public final class Fp8KernelCatalog implements KernelCatalog {
    /** The name of the Hopper GEMM, whatever the variant. */
    static final String HOPPER_KERNEL = "octet_gemm_hopper";

    private static final List<String> HEADERS = List.of("fp8_numbers.cuh", "fp8_epilogue.cuh");
    private static final List<String> HOPPER_HEADERS = List.of("fp8_hopper.cuh", "fp8_numbers.cuh",
            "fp8_gemm_hopper_schedule.cuh", "fp8_gemm_hopper_load.cuh", "fp8_gemm_hopper_multiply.cuh",
            "fp8_gemm_hopper_store.cuh");
    private static final Map<HopperVariant, KernelSource> VARIANTS = new ConcurrentHashMap<>();
    private static final Map<String, KernelSource> SOURCES = new ConcurrentHashMap<>();

    /** For the service loader. */
    public Fp8KernelCatalog() {}

    @Override
    public String module() {
        return "fp8";
    }

    @Override
    public List<KernelSource> sources(ComputeCapability capability) {
        Stream<KernelSource> portable =
                Stream.of(Fp8Kernel.values()).map(Fp8Kernel::file).distinct().map(Fp8KernelCatalog::source);
        Stream<KernelSource> hopper = capability.equals(ComputeCapability.HOPPER)
                ? HopperModel.usual().stream().map(Fp8KernelCatalog::source) : Stream.empty();
        return Stream.concat(portable, hopper).toList();
    }

    /** {@return a variant of the Hopper GEMM, the same object each time} */
    static KernelSource source(HopperVariant variant) {
        return VARIANTS.computeIfAbsent(variant, v -> {
            KernelSource source = KernelSource.read("fp8_gemm_hopper.cu",
                    Fp8KernelCatalog.class.getResourceAsStream("fp8_gemm_hopper.cu"));
            for (String header : HOPPER_HEADERS) {
                source = source.withHeader(header, Fp8KernelCatalog.class.getResourceAsStream(header));
            }
            return source.withOptions("-DOCTET_KERNEL=" + HOPPER_KERNEL)
                    .withOptions(v.options().toArray(String[]::new));
        });
    }

    /** {@return one file, the same object each time: a GPU keeps modules by their source} */
    static KernelSource source(String file) {
        return SOURCES.computeIfAbsent(file, name -> {
            KernelSource source = KernelSource.read(name, Fp8KernelCatalog.class.getResourceAsStream(name));
            for (String header : HEADERS) {
                source = source.withHeader(header, Fp8KernelCatalog.class.getResourceAsStream(header));
            }
            return source;
        });
    }
}
