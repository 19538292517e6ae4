package dev.octet.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * CUDA C++ that NVRTC compiles at run time. Kernels are declared {@code extern "C"}, so that their names are what they
 * look like. No header of the toolkit is needed or found; the headers are the ones named here.
 *
 * @param name the file's name, for messages and listings
 * @param text the program
 * @param headers what {@code #include "NAME"} finds, by name
 * @param options more options for NVRTC, such as {@code -DTILE=128}; the common ones are
 *     in {@link KernelCompiler#options}
 */
public record KernelSource(String name, String text, Map<String, String> headers, List<String> options) {
    /** Copies the headers and options. */
    public KernelSource {
        Objects.requireNonNull(name, "name");
        Objects.requireNonNull(text, "text");
        headers = java.util.Collections.unmodifiableMap(new TreeMap<>(headers));
        options = List.copyOf(options);
    }

    /**
     * {@return a program without headers and options}
     *
     * @param name the file's name
     * @param text the program
     */
    public static KernelSource of(String name, String text) {
        return new KernelSource(name, text, Map.of(), List.of());
    }

    /**
     * Reads a program from a resource: {@code KernelSource.read("gemm.cu", Gemm.class.getResourceAsStream("gemm.cu"))}.
     *
     * @param name the resource's name
     * @param resource its bytes in UTF-8; closed here
     * @return a program without headers and options
     * @throws IllegalArgumentException if the resource is null: there is none of that name
     */
    public static KernelSource read(String name, @Nullable InputStream resource) {
        return of(name, text(name, resource));
    }

    /**
     * {@return the same with one more header}
     *
     * @param header its name, as in {@code #include "NAME"}
     * @param resource its bytes in UTF-8; closed here
     * @throws IllegalArgumentException if the resource is null: there is none of that name
     */
    public KernelSource withHeader(String header, @Nullable InputStream resource) {
        Map<String, String> more = new LinkedHashMap<>(headers);
        more.put(header, text(header, resource));
        return new KernelSource(name, text, more, options);
    }

    /**
     * {@return the same with more options}
     *
     * @param more options for NVRTC, such as {@code -DTILE=128}
     */
    public KernelSource withOptions(String... more) {
        List<String> all = new ArrayList<>(options);
        all.addAll(List.of(more));
        return new KernelSource(name, text, headers, all);
    }

    private static String text(String name, @Nullable InputStream resource) {
        if (resource == null) {
            throw new IllegalArgumentException("there is no resource " + name);
        }
        try (resource) {
            return new String(resource.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException("reading " + name, e);
        }
    }

    /** {@return the name, with the options if there are any} */
    @Override
    public String toString() {
        return options.isEmpty() ? name : name + " " + String.join(" ", options);
    }
}
