package dev.octet.cuda.driver;

import dev.octet.cuda.CudaException;
import dev.octet.cuda.KernelCompileException;
import dev.octet.cuda.KernelSource;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * NVRTC, {@code libnvrtc.so}: the file that the system property {@code octet.cuda.nvrtc} names, or one that
 * {@link NativeLibrary#candidates} finds. Needs neither a GPU nor a driver.
 */
public final class Nvrtc implements Compiler {
    /** Newest first. */
    private static final List<String> NAMES = List.of("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so");
    private static final int SUCCESS = 0;

    private final NativeLibrary library;
    private final MethodHandle create;
    private final MethodHandle compile;
    private final MethodHandle destroy;
    private final MethodHandle cubinSize;
    private final MethodHandle cubin;
    private final MethodHandle logSize;
    private final MethodHandle log;
    private final MethodHandle errorString;
    private final String version;

    /**
     * Opens the library.
     *
     * @throws UnsatisfiedLinkError if there is none
     */
    public Nvrtc() {
        library = NativeLibrary.open("NVRTC", NativeLibrary.candidates("octet.cuda.nvrtc", NAMES),
                "It is in the CUDA toolkit and in Python's package nvidia-cuda-nvrtc; name the file by"
                        + " -Doctet.cuda.nvrtc, or its folder by LD_LIBRARY_PATH.");
        loadBuiltins(library.file());
        create = library.function("nvrtcCreateProgram", "lllill");
        compile = library.function("nvrtcCompileProgram", "lil");
        destroy = library.function("nvrtcDestroyProgram", "l");
        cubinSize = library.function("nvrtcGetCUBINSize", "ll");
        cubin = library.function("nvrtcGetCUBIN", "ll");
        logSize = library.function("nvrtcGetProgramLogSize", "ll");
        log = library.function("nvrtcGetProgramLog", "ll");
        errorString = library.functionOfText("nvrtcGetErrorString");
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(8, 8);
            MethodHandle h = library.function("nvrtcVersion", "ll");
            check("nvrtcVersion", (int) h.invokeExact(out.address(), out.address() + 4));
            version = out.get(ValueLayout.JAVA_INT, 0) + "." + out.get(ValueLayout.JAVA_INT, 4);
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /**
     * NVRTC opens a second library by its name alone. One that is loaded already is found whatever its folder, so the
     * one beside it is loaded here.
     */
    @SuppressWarnings("restricted")
    private static void loadBuiltins(String file) {
        Path folder = file.contains("/") ? Path.of(file).toAbsolutePath().getParent() : null;
        if (folder == null) {
            return;
        }
        try (Stream<Path> files = Files.list(folder)) {
            files.filter(p -> p.getFileName().toString().startsWith("libnvrtc-builtins.so"))
                    .max(Comparator.comparing(Path::toString))
                    .ifPresent(p -> SymbolLookup.libraryLookup(p, Arena.global()));
        } catch (IOException | IllegalArgumentException e) {
            // Where it can't be had, the first compilation says so.
        }
    }

    @Override
    public String version() {
        return version;
    }

    @Override
    public String file() {
        return library.file();
    }

    @Override
    public Result compile(KernelSource source, List<String> options) {
        String what = source.name() + " with " + String.join(" ", options);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment handle = arena.allocate(8, 8);
            List<String> names = new ArrayList<>();
            List<String> texts = new ArrayList<>();
            for (Map.Entry<String, String> header : source.headers().entrySet()) {
                names.add(header.getKey());
                texts.add(header.getValue());
            }
            check("nvrtcCreateProgram", (int) create.invokeExact(handle.address(),
                    arena.allocateFrom(source.text()).address(), arena.allocateFrom(source.name()).address(),
                    names.size(), strings(arena, texts), strings(arena, names)));
            long program = handle.get(ValueLayout.JAVA_LONG, 0);
            try {
                int status = (int) compile.invokeExact(program, options.size(), strings(arena, options));
                MemorySegment printed = bytes(arena, "nvrtcGetProgramLog", program, logSize, log);
                String text = printed.byteSize() == 0 ? "" : printed.getString(0);
                if (status != SUCCESS) {
                    throw new KernelCompileException(what, status, name(status), text);
                }
                return new Result(bytes(arena, "nvrtcGetCUBIN", program, cubinSize, cubin)
                        .toArray(ValueLayout.JAVA_BYTE), text);
            } finally {
                int ignored = (int) destroy.invokeExact(handle.address());
            }
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /** Something whose size one function tells and whose bytes another. */
    private MemorySegment bytes(Arena arena, String name, long program, MethodHandle sizeOf, MethodHandle read)
            throws Throwable {
        MemorySegment size = arena.allocate(8, 8);
        check(name + "Size", (int) sizeOf.invokeExact(program, size.address()));
        MemorySegment out = arena.allocate(size.get(ValueLayout.JAVA_LONG, 0));
        if (out.byteSize() > 0) {
            check(name, (int) read.invokeExact(program, out.address()));
        }
        return out;
    }

    private static long strings(Arena arena, List<String> strings) {
        MemorySegment array = arena.allocate(8L * Math.max(1, strings.size()), 8);
        for (int i = 0; i < strings.size(); i++) {
            array.setAtIndex(ValueLayout.JAVA_LONG, i, arena.allocateFrom(strings.get(i)).address());
        }
        return array.address();
    }

    private void check(String call, int status) {
        if (status != SUCCESS) {
            throw new CudaException(call, status, name(status), "of " + library.file());
        }
    }

    @SuppressWarnings("restricted") // a string of the library's
    private String name(int status) {
        try {
            long address = (long) errorString.invokeExact(status);
            return address == 0 ? "unknown"
                    : MemorySegment.ofAddress(address).reinterpret(Long.MAX_VALUE).getString(0);
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    private static RuntimeException unexpected(Throwable t) {
        return NativeLibrary.unexpected(t);
    }
}
