package dev.octet.fp8.cuda;

import dev.octet.cuda.TensorMap;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Runs launches of {@code fp8_gemm_hopper.cu} on emulated instructions: {@code hopper_machine.hpp} says what that
 * notices. Each variant is a library of its own.
 */
final class HopperEmulation {
    /** When what is asynchronous happens: at once, as late as possible, or at some time. */
    enum Timing { EAGER, LAZY, RANDOM }

    private static final int ERROR_BYTES = 2048;
    private static final Map<HopperVariant, HopperEmulation> ALL = new ConcurrentHashMap<>();

    private final MethodHandle encode;
    private final MethodHandle launch;

    private HopperEmulation(Path library) {
        SymbolLookup symbols = SymbolLookup.libraryLookup(library, Arena.global());
        Linker linker = Linker.nativeLinker();
        encode = linker.downcallHandle(symbols.findOrThrow("octet_encode"),
                FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.JAVA_INT,
                        ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG, ValueLayout.ADDRESS, ValueLayout.ADDRESS,
                        ValueLayout.ADDRESS, ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.JAVA_LONG));
        launch = linker.downcallHandle(symbols.findOrThrow("octet_hopper_launch"),
                FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.ADDRESS,
                        ValueLayout.JAVA_LONG, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT,
                        ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.JAVA_LONG));
    }

    private static HopperEmulation of(HopperVariant variant) {
        HopperEmulation known = ALL.get(variant);
        if (known != null) {
            return known;
        }
        List<String> options = new ArrayList<>(HostBuild.OPTIONS);
        // The machine is a few large functions: less to optimise, and less to wait for.
        options.replaceAll(o -> o.equals("-O2") ? "-O1" : o.equals("-std=c++17") ? "-std=c++20" : o);
        options.add("-DOCTET_KERNEL=octet_gemm");
        options.addAll(variant.options());
        try {
            Path library = HostBuild.build("fp8_gemm_hopper", """
                    #include "hopper_machine.hpp"
                    #include "fp8_gemm_hopper.cu"
                    #include "hopper_exports.hpp"
                    """, HostLauncher.SOURCES.toAbsolutePath(), options); // before the map is touched
            return ALL.computeIfAbsent(variant, v -> new HopperEmulation(library));
        } catch (IOException e) {
            throw new UncheckedIOException("building " + variant, e);
        }
    }

    /**
     * Runs a launch, and each seed another order of events. Variants are built by as many threads as ask for one, but
     * a process runs one launch at a time.
     *
     * @throws IllegalStateException if something went wrong that a GPU might not have noticed; the message says what
     */
    static void run(HopperLaunch launch, Timing timing, int seed) {
        run(of(launch.variant()), launch, timing, seed);
    }

    private static synchronized void run(HopperEmulation e, HopperLaunch launch, Timing timing, int seed) {
        HopperVariant v = launch.variant();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = arena.allocate(ERROR_BYTES);
            MemorySegment maps = arena.allocate((long) HopperLaunch.MAPS * TensorMap.BYTES, 64);
            for (int i = 0; i < HopperLaunch.MAPS; i++) {
                TensorMap.Layout l = launch.layout(i);
                if (l == null) {
                    continue;
                }
                int swizzle = switch (l.swizzle()) {
                    case NONE -> 0;
                    case B32 -> 32;
                    case B64 -> 64;
                    case B128 -> 128;
                };
                MemorySegment strides = arena.allocateFrom(ValueLayout.JAVA_LONG, Arrays.copyOf(l.strides(), 4));
                int failed = (int) e.encode.invokeExact(maps.asSlice((long) i * TensorMap.BYTES), l.element().bytes(),
                        l.dims().length, launch.address(i), arena.allocateFrom(ValueLayout.JAVA_LONG, l.dims()),
                        strides, arena.allocateFrom(ValueLayout.JAVA_INT, l.box()), swizzle, error, (long) ERROR_BYTES);
                if (failed != 0) {
                    throw new IllegalStateException("map " + i + ", " + l + ": " + error.getString(0));
                }
            }
            int failed = (int) e.launch.invokeExact(maps, launch.arguments, launch.arguments.byteSize(),
                    launch.grid(), launch.cluster(), v.sharedBytes(), timing.ordinal(), seed,
                    error, (long) ERROR_BYTES);
            if (failed != 0) {
                throw new IllegalStateException(v + ", " + timing + ", seed " + seed + ": " + error.getString(0));
            }
        } catch (RuntimeException | Error x) {
            throw x;
        } catch (Throwable x) {
            throw new IllegalStateException(x);
        }
    }
}
