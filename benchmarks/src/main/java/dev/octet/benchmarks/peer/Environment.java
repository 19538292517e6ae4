package dev.octet.benchmarks.peer;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/** The environment of this very process, which Java can only read: native libraries look there when they are loaded. */
final class Environment {
    private Environment() {}

    /** Removes a variable where the C library can; elsewhere does nothing. */
    @SuppressWarnings("restricted")
    static void remove(String name) {
        Linker linker = Linker.nativeLinker();
        linker.defaultLookup().find("unsetenv").ifPresent(address -> {
            MethodHandle unsetenv = linker.downcallHandle(address,
                    FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS));
            try (Arena arena = Arena.ofConfined()) {
                int status = (int) unsetenv.invokeExact(arena.allocateFrom(name));
                if (status != 0) {
                    throw new IllegalStateException("unsetenv(" + name + ") returned " + status);
                }
            } catch (RuntimeException | Error e) {
                throw e;
            } catch (Throwable e) {
                throw new IllegalStateException(e);
            }
        });
    }
}
