package dev.octet.fp8.cuda;

import dev.octet.cuda.ComputeCapability;
import dev.octet.cuda.KernelCatalog;
import dev.octet.cuda.KernelSource;
import java.io.InputStream;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** The sources of this module's kernels, each with the headers beside it. */
public final class Fp8KernelCatalog implements KernelCatalog {
    /** The name of the Hopper GEMM, whatever the variant. */
    static final String HOPPER_KERNEL = "octet_gemm_hopper";

    private static final Pattern INCLUDE = Pattern.compile("(?m)^#include \"([^\"]+)\"");
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
        return VARIANTS.computeIfAbsent(variant, v -> read("fp8_gemm_hopper.cu")
                .withOptions("-DOCTET_KERNEL=" + HOPPER_KERNEL).withOptions(v.options().toArray(String[]::new)));
    }

    /** {@return one file, the same object each time: a GPU keeps modules by their source} */
    static KernelSource source(String file) {
        return SOURCES.computeIfAbsent(file, Fp8KernelCatalog::read);
    }

    /** With the headers that it includes and no others: a change of the rest leaves what was compiled of it valid. */
    private static KernelSource read(String file) {
        KernelSource source = KernelSource.read(file, resource(file));
        Deque<String> texts = new ArrayDeque<>(List.of(source.text()));
        while (!texts.isEmpty()) {
            Matcher include = INCLUDE.matcher(texts.pop());
            while (include.find()) {
                String header = include.group(1);
                if (!source.headers().containsKey(header)) {
                    source = source.withHeader(header, resource(header));
                    texts.push(source.headers().get(header));
                }
            }
        }
        return source;
    }

    private static @Nullable InputStream resource(String name) {
        return Fp8KernelCatalog.class.getResourceAsStream(name);
    }
}
