package dev.octet.cuda;

import dev.octet.core.spi.Component;
import dev.octet.cuda.driver.Compiler;
import dev.octet.cuda.driver.NativeLibrary;
import dev.octet.cuda.driver.Nvrtc;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.FutureTask;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * NVRTC, with a cache on disk in front of it. Needs neither a GPU nor a driver. Safe for use by several threads.
 *
 * <p>System properties: {@code octet.cuda.nvrtc=FILE} names the library; {@code octet.cuda.cache=FOLDER} the cache,
 * which otherwise is {@code octet/cuda} in {@code XDG_CACHE_HOME} or {@code ~/.cache}, and {@code octet.cuda.cache=off}
 * takes it away; {@code octet.cuda.lineinfo=true} puts line numbers into the machine code, for NVIDIA's tools.
 */
public final class KernelCompiler {
    private static final KernelCompiler SHARED = new KernelCompiler(Nvrtc::new, new KernelCache(cacheFolder()));

    /**
     * A compiled program.
     *
     * @param image the machine code, a CUBIN
     * @param log what NVRTC printed: warnings, and registers, shared memory and spills of each kernel; empty if it came
     *     from the cache
     * @param cached whether it came from the cache
     */
    public record Compiled(byte[] image, String log, boolean cached) {
        /** {@return what each kernel takes of a multiprocessor, as the log has it; empty if there is no log} */
        public List<KernelUsage> usage() {
            return KernelUsage.parse(log);
        }
    }

    private final Supplier<Compiler> open;
    private final KernelCache cache;
    private final Map<String, FutureTask<Compiled>> underWay = new ConcurrentHashMap<>();
    private @Nullable Compiler compiler;
    private @Nullable String absent;

    /**
     * @param open opens the compiler when it is first needed; a linkage error becomes the reason why there is none
     * @param cache what was compiled before
     */
    KernelCompiler(Supplier<Compiler> open, KernelCache cache) {
        this.open = open;
        this.cache = cache;
    }

    /** {@return the compiler of this process} */
    public static KernelCompiler shared() {
        return SHARED;
    }

    /** {@return empty if NVRTC can be used, else why not and what would help} */
    public synchronized Optional<String> unavailable() {
        if (compiler == null && absent == null) {
            try {
                compiler = open.get();
            } catch (LinkageError | RuntimeException e) {
                absent = e.getMessage() == null ? e.toString() : e.getMessage();
            }
        }
        return Optional.ofNullable(absent);
    }

    private synchronized Compiler compiler() {
        unavailable().ifPresent(why -> {
            throw new IllegalStateException("kernels can't be compiled: " + why);
        });
        Compiler c = compiler;
        if (c == null) {
            throw new IllegalStateException("no compiler and no reason"); // one of both is set above
        }
        return c;
    }

    /**
     * {@return NVRTC's version, for example {@code 13.0}}
     *
     * @throws IllegalStateException if there is no NVRTC here; the message has the reason
     */
    public String version() {
        return compiler().version();
    }

    /**
     * {@return the options that a program is compiled with}
     *
     * @param source the program, whose own options come last
     * @param arch for example {@code sm_90a}
     */
    public static List<String> options(KernelSource source, String arch) {
        List<String> options = new ArrayList<>();
        options.add("--gpu-architecture=" + ComputeCapability.checked(arch));
        options.add("--std=c++20");
        options.add("--ptxas-options=-v"); // only prints
        if (Boolean.getBoolean("octet.cuda.lineinfo")) {
            options.add("--generate-line-info");
        }
        options.addAll(source.options());
        return options;
    }

    /**
     * Compiles a program, or reads it from the cache. Several threads may compile several programs at the same time; of
     * those that want the same one, one compiles it and the others wait for it.
     *
     * @param source the program
     * @param arch the architecture, for example {@code sm_90a}: {@link ComputeCapability#arch()}
     * @return the machine code
     * @throws KernelCompileException if NVRTC refuses it; the message has its log
     * @throws IllegalStateException if there is no NVRTC here; the message has the reason
     */
    public Compiled compile(KernelSource source, String arch) {
        Compiler c = compiler();
        List<String> options = options(source, arch);
        String key = KernelCache.key(source, options, c.version());
        FutureTask<Compiled> mine = new FutureTask<>(() -> compile(c, source, options, key));
        FutureTask<Compiled> first = underWay.putIfAbsent(key, mine);
        if (first == null) {
            mine.run();
            underWay.remove(key, mine);
        }
        return result(first == null ? mine : first);
    }

    private Compiled compile(Compiler c, KernelSource source, List<String> options, String key) {
        Optional<byte[]> known = cache.read(key);
        if (known.isPresent()) {
            return new Compiled(known.get(), "", true);
        }
        Compiler.Result made = c.compile(source, options);
        cache.write(key, made.image());
        return new Compiled(made.image(), made.log(), false);
    }

    /**
     * Compiles several programs at the same time, one on each processor, or reads them from the cache. The longest
     * texts come first: a long compilation that begins last would be waited for alone.
     *
     * @param sources the programs
     * @param arch the architecture, for example {@code sm_90a}
     * @return the machine code of each, in the order of {@code sources}
     * @throws KernelCompileException if NVRTC refuses one; the others are compiled and in the cache all the same
     * @throws IllegalStateException if there is no NVRTC here; the message has the reason
     */
    public List<Compiled> compileAll(List<KernelSource> sources, String arch) {
        compiler();
        List<FutureTask<Compiled>> all =
                sources.stream().map(s -> new FutureTask<>(() -> compile(s, arch))).toList();
        int threads = Math.clamp(sources.size(), 1, Runtime.getRuntime().availableProcessors());
        try (ExecutorService pool = Executors.newFixedThreadPool(threads,
                Thread.ofPlatform().daemon().name("octet-compile-", 0).factory())) {
            IntStream.range(0, all.size()).boxed()
                    .sorted(Comparator.comparing(i -> -textBytes(sources.get(i)))).map(all::get).forEach(pool::execute);
        }
        return all.stream().map(KernelCompiler::result).toList();
    }

    private static int textBytes(KernelSource source) {
        return source.text().length() + source.headers().values().stream().mapToInt(String::length).sum();
    }

    private static Compiled result(FutureTask<Compiled> task) {
        boolean interrupted = false;
        try {
            while (true) {
                try {
                    return task.get();
                } catch (InterruptedException e) {
                    interrupted = true; // a compilation can't be stopped, and is soon done
                } catch (ExecutionException e) {
                    throw NativeLibrary.unexpected(e.getCause());
                }
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /**
     * Compiles a program whatever the cache has, and leaves the cache as it is.
     *
     * @param source the program
     * @param arch the architecture, for example {@code sm_90a}
     * @return the machine code, with the log
     * @throws KernelCompileException if NVRTC refuses it
     * @throws IllegalStateException if there is no NVRTC here; the message has the reason
     */
    public Compiled compileAnew(KernelSource source, String arch) {
        Compiler.Result made = compiler().compile(source, options(source, arch));
        return new Compiled(made.image(), made.log(), false);
    }

    private static @Nullable Path cacheFolder() {
        String given = System.getProperty("octet.cuda.cache");
        if (given != null) {
            return given.equals("off") ? null : Path.of(given);
        }
        String xdg = System.getenv("XDG_CACHE_HOME");
        Path caches = xdg != null && !xdg.isEmpty() ? Path.of(xdg) : Path.of(System.getProperty("user.home"), ".cache");
        return caches.resolve("octet").resolve("cuda");
    }

    /** A row for the description of this machine. */
    Component.Path describe() {
        Optional<String> why = unavailable();
        if (why.isPresent()) {
            return new Component.Path("cuda.nvrtc", "none", why.get());
        }
        Compiler c = compiler();
        Path folder = cache.folder();
        return new Component.Path("cuda.nvrtc", c.version() + ", " + c.file(),
                folder == null ? "no cache" : "cache in " + folder);
    }
}
