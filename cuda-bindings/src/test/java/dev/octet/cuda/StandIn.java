package dev.octet.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.cuda.driver.NativeLibrary;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;

/** The library built from {@code standin.c}: a driver that writes down what it is given. */
final class StandIn {
    private final MethodHandle takeLog;
    private final MethodHandle fail;
    private final MethodHandle quiet;

    private StandIn(NativeLibrary library) {
        takeLog = library.function("standin_take_log", "ll");
        fail = library.function("standin_fail", "li");
        quiet = library.function("standin_quiet", "i");
    }

    /** Builds the library where {@code octet.cuda.libcuda} says; skips the test without a compiler or header. */
    static StandIn build() throws IOException, InterruptedException {
        Path library = Path.of(System.getProperty("octet.cuda.libcuda"));
        Optional<Path> header = Stream.of(System.getenv("CUDA_HOME"), "/usr/local/cuda", "/usr")
                .filter(h -> h != null).map(h -> Path.of(h, "include")).filter(h -> Files.exists(h.resolve("cuda.h")))
                .findFirst();
        Optional<String> compiler = Stream.of("cc", "gcc", "clang").filter(StandIn::runs).findFirst();
        if (header.isEmpty() || compiler.isEmpty()) {
            String why = "SKIPPED: the driver's calls are not checked against cuda.h: no "
                    + (header.isEmpty() ? "CUDA headers" : "C compiler");
            System.out.println(why);
            Assumptions.abort(why);
        }
        if ("presets".equals(System.getProperty("octet.cuda.binding")) && !hasRuntime()) {
            String why = "SKIPPED: the driver's calls through JavaCPP's presets are not checked: no libcudart.so.13";
            System.out.println(why);
            Assumptions.abort(why);
        }
        Files.createDirectories(library.getParent());
        Process p = new ProcessBuilder(List.of(compiler.orElseThrow(), "-shared", "-fPIC", "-O1", "-Wall", "-Werror",
                "-Wl,-soname,libcuda.so.1", "-isystem", header.orElseThrow().toString(), "src/test/c/standin.c", "-o", library.toString()))
                .redirectErrorStream(true).start();
        String printed = new String(p.getInputStream().readAllBytes());
        assertEquals(0, p.waitFor(), printed);
        return new StandIn(NativeLibrary.open("stand-in", List.of(library.toString()), ""));
    }

    private static boolean hasRuntime() {
        return Stream.of(System.getenv("LD_LIBRARY_PATH").split(":"))
                .anyMatch(folder -> Files.exists(Path.of(folder, "libcudart.so.13")));
    }

    private static boolean runs(String command) {
        try {
            return new ProcessBuilder(command, "--version").redirectErrorStream(true)
                    .redirectOutput(ProcessBuilder.Redirect.DISCARD).start().waitFor() == 0;
        } catch (IOException e) {
            return false;
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    /** {@return the calls since the last time, one line each} */
    String takeLog() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment text = arena.allocate(1 << 16);
            int length = (int) takeLog.invokeExact(text.address(), text.byteSize());
            return length == 0 ? "" : text.getString(0);
        } catch (Throwable t) {
            throw new AssertionError(t);
        }
    }

    /** Makes the next call of that name return a status. */
    void fail(String call, int status) {
        try (Arena arena = Arena.ofConfined()) {
            int ignored = (int) fail.invokeExact(arena.allocateFrom(call).address(), status);
        } catch (Throwable t) {
            throw new AssertionError(t);
        }
    }

    /** Says whether launches are neither looked at nor written down. */
    void quiet(boolean on) {
        try {
            int ignored = (int) quiet.invokeExact(on ? 1 : 0);
        } catch (Throwable t) {
            throw new AssertionError(t);
        }
    }
}
