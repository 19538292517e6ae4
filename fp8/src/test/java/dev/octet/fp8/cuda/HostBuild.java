package dev.octet.fp8.cuda;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A {@code .cu} file built by the host's C++ compiler against {@code src/test/cuda}, where {@code host_runtime.hpp}
 * says what that gives. The compiler is that of the environment variable {@code CXX}, or {@code c++}, {@code g++} or
 * {@code clang++} on the path. Libraries are kept in {@code target/cuda-host} under a hash of all that went into them.
 */
final class HostBuild {
    private static final Path SUPPORT = Path.of("src", "test", "cuda").toAbsolutePath();
    private static final Path OUTPUT = Path.of("target", "cuda-host").toAbsolutePath();
    static final List<String> OPTIONS = List.of("-std=c++17", "-O2", "-march=native", "-ffp-contract=off",
            "-fno-strict-aliasing", "-fPIC", "-shared", "-pthread", "-fvisibility=hidden");
    private static final Pattern KERNEL = Pattern.compile(
            "extern\\s+\"C\"\\s+__global__\\s+void\\s+(?:__launch_bounds__\\([^)]*\\)\\s*)?(\\w+)\\s*\\(");
    private static final int ERROR_BYTES = 2048;
    private static final Optional<Path> COMPILER = findCompiler();
    private static final Map<Path, HostBuild> ALL = new ConcurrentHashMap<>();

    private final MethodHandle launch;
    private final MethodHandle parameters;

    private HostBuild(Path library) {
        SymbolLookup symbols = SymbolLookup.libraryLookup(library, Arena.global());
        Linker linker = Linker.nativeLinker();
        launch = linker.downcallHandle(symbols.findOrThrow("octet_launch"),
                FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.ADDRESS,
                        ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG, ValueLayout.ADDRESS, ValueLayout.ADDRESS,
                        ValueLayout.JAVA_LONG));
        parameters = linker.downcallHandle(symbols.findOrThrow("octet_parameters"),
                FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.ADDRESS));
    }

    /** {@return why nothing can be built here, or nothing} */
    static Optional<String> unavailable() {
        if (!Files.isDirectory(SUPPORT)) {
            return Optional.of("the sources are not here: CUDA kernels are not run on the host");
        }
        return COMPILER.isPresent() ? Optional.empty()
                : Optional.of("no C++ compiler found (CXX, c++, g++, clang++): CUDA kernels are not run on the host");
    }

    private static Optional<Path> findCompiler() {
        String named = System.getenv("CXX");
        List<String> names = named == null ? List.of("c++", "g++", "clang++") : List.of(named);
        List<Path> path = Stream.of(System.getenv().getOrDefault("PATH", "").split(":")).filter(p -> !p.isEmpty())
                .map(Path::of).toList();
        return names.stream().flatMap(name -> path.stream().map(folder -> folder.resolve(name)))
                .filter(Files::isExecutable).findFirst();
    }

    // ---------------------------------------------------------------------------------------------- building

    /** Builds several files at the same time, so that nobody waits for one compiler after the other. */
    static void all(List<Path> sources) {
        sources.parallelStream().forEach(HostBuild::of);
    }

    /**
     * {@return a file's kernels, built when they are first asked for}
     *
     * @param source the {@code .cu} file
     */
    static HostBuild of(Path source) {
        Path s = source.toAbsolutePath();
        HostBuild known = ALL.get(s);
        if (known != null) {
            return known;
        }
        try {
            Path library = build(s); // before the map is touched: it makes others wait
            return ALL.computeIfAbsent(s, x -> new HostBuild(library));
        } catch (IOException e) {
            throw new UncheckedIOException("building " + s, e);
        }
    }

    private static Path build(Path source) throws IOException {
        Matcher m = KERNEL.matcher(Files.readString(source));
        String kernels = m.results().map(r -> "OCTET_KERNEL(" + r.group(1) + ")").collect(Collectors.joining(", "));
        return build(source.getFileName().toString().replace(".cu", ""), "#include \"host_cuda.hpp\"\n#include \""
                + source + "\"\n#include \"host_exports.hpp\"\nOCTET_KERNELS(" + kernels + ")\nOCTET_EXPORTS\n",
                source.getParent(), OPTIONS);
    }

    /**
     * {@return a library, built unless it is there already}
     *
     * @param name what its file is to be called
     * @param program C++
     * @param sources the folder of the kernels that it includes
     * @param options for the compiler
     */
    static Path build(String name, String program, Path sources, List<String> options) throws IOException {
        Path compiler = COMPILER.orElseThrow(() -> new IllegalStateException(unavailable().orElseThrow()));
        Path library = OUTPUT.resolve(name + "-" + hash(program + options, compiler, sources) + ".so");
        if (Files.exists(library)) {
            return library;
        }
        Files.createDirectories(OUTPUT);
        Path text = Files.createTempFile(OUTPUT, name, ".cpp");
        Files.writeString(text, program);
        Path unfinished = Files.createTempFile(OUTPUT, name, ".so");
        List<String> command = new ArrayList<>(List.of(compiler.toString()));
        command.addAll(options);
        command.addAll(List.of("-I" + SUPPORT, "-I" + sources, "-o", unfinished.toString(), text.toString(), "-ldl"));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        try {
            if (process.waitFor() != 0) {
                throw new IllegalStateException(String.join(" ", command) + ":\n" + said);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
        Files.move(unfinished, library, StandardCopyOption.ATOMIC_MOVE);
        Files.delete(text);
        return library;
    }

    private static String hash(String program, Path compiler, Path sources) throws IOException {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            digest.update((program + compiler).getBytes(StandardCharsets.UTF_8));
            for (Path folder : List.of(SUPPORT, sources)) {
                try (Stream<Path> files = Files.list(folder)) {
                    for (Path file : files.filter(Files::isRegularFile).sorted().toList()) {
                        digest.update(Files.readAllBytes(file));
                    }
                }
            }
            return HexFormat.of().formatHex(digest.digest(), 0, 8);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    // ---------------------------------------------------------------------------------------------- running

    /**
     * Runs a kernel whose only parameter is a struct.
     *
     * @param kernel its name
     * @param blocks blocks of the grid
     * @param threads threads of a block
     * @param shared bytes of dynamic shared memory
     * @param order in which order threads take turns: 0 forward, 1 backward, else by that seed
     * @param struct the parameter
     * @throws IllegalStateException if the kernel has other parameters, or something went wrong that a GPU might not
     *     have noticed; the message says what
     */
    void launch(String kernel, int blocks, int threads, int shared, long order, MemorySegment struct) {
        long expected = parameterBytes(kernel);
        if (expected != struct.byteSize()) {
            throw new IllegalStateException(kernel + " has a parameter of " + expected
                    + " bytes, the launch has one of " + struct.byteSize());
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment name = arena.allocateFrom(kernel);
            MemorySegment shape = arena.allocateFrom(ValueLayout.JAVA_INT, blocks, 1, 1, threads, 1, 1, 1, 1, 1);
            MemorySegment arguments = arena.allocateFrom(ValueLayout.JAVA_LONG, struct.address());
            MemorySegment error = arena.allocate(ERROR_BYTES);
            int failed = (int) launch.invokeExact(name, shape, (long) shared, order, arguments, error,
                    (long) ERROR_BYTES);
            if (failed != 0) {
                throw new IllegalStateException(kernel + ": " + error.getString(0));
            }
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    /**
     * {@return the size of a kernel's only parameter}
     *
     * @param kernel its name
     */
    long parameterBytes(String kernel) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment sizes = arena.allocate(16 * 8L, 8);
            int count = (int) parameters.invokeExact(arena.allocateFrom(kernel), sizes);
            if (count != 1) {
                throw new IllegalStateException(
                        kernel + (count < 0 ? " is not there" : " has " + count + " parameters"));
            }
            return sizes.get(ValueLayout.JAVA_LONG, 0);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }
}
