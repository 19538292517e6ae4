package dev.octet.cuda.driver;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A library of C functions that return an {@code int} status. It stays loaded.
 *
 * @param file what was opened
 * @param symbols its functions
 */
@SuppressWarnings("restricted") // calling C is what this module is for
public record NativeLibrary(String file, SymbolLookup symbols) {
    /**
     * Opens the first library that is there.
     *
     * @param what what it is, for the message
     * @param candidates file names, which the loader looks for, and paths
     * @param remedy what to do where there is none
     * @return the library
     * @throws UnsatisfiedLinkError if there is none
     */
    public static NativeLibrary open(String what, List<String> candidates, String remedy) {
        for (String c : candidates) {
            try {
                SymbolLookup found = c.contains("/") ? SymbolLookup.libraryLookup(Path.of(c), Arena.global())
                        : SymbolLookup.libraryLookup(c, Arena.global());
                return new NativeLibrary(c, found);
            } catch (IllegalArgumentException e) {
                // Not there: the next one may be.
            }
        }
        throw new UnsatisfiedLinkError("no " + what + ": none of " + String.join(", ", candidates) + " opens. "
                + remedy);
    }

    /**
     * {@return where to look for a library of the CUDA toolkit: the file that a system property names and nowhere else;
     * without the property where the loader looks, which is {@code LD_LIBRARY_PATH} and the system's folders, then
     * {@code lib64} of {@code CUDA_HOME}, {@code CUDA_PATH} and {@code /usr/local/cuda}}
     *
     * @param property the property's name
     * @param names file names, the best first
     */
    static List<String> candidates(String property, List<String> names) {
        String given = System.getProperty(property);
        if (given != null) {
            return List.of(given);
        }
        List<String> files = new ArrayList<>(names);
        for (String home : new String[] {System.getenv("CUDA_HOME"), System.getenv("CUDA_PATH"), "/usr/local/cuda"}) {
            if (home != null && !home.isEmpty()) {
                names.forEach(n -> files.add(home + "/lib64/" + n));
            }
        }
        return files;
    }

    /**
     * {@return a function}
     *
     * @param name its exported name
     * @param arguments a letter for each: {@code i} int, {@code l} 64 bits or an address, {@code f} float, {@code b}
     *     byte
     * @throws UnsatisfiedLinkError if there is no such function
     */
    public MethodHandle function(String name, String arguments) {
        List<MemoryLayout> layouts = new ArrayList<>();
        for (char c : arguments.toCharArray()) {
            layouts.add(switch (c) {
                case 'i' -> ValueLayout.JAVA_INT;
                case 'l' -> ValueLayout.JAVA_LONG;
                case 'f' -> ValueLayout.JAVA_FLOAT;
                case 'b' -> ValueLayout.JAVA_BYTE;
                default -> throw new IllegalArgumentException("arguments is '" + arguments + "', takes i, l, f, b");
            });
        }
        return function(name, FunctionDescriptor.of(ValueLayout.JAVA_INT, layouts.toArray(MemoryLayout[]::new)));
    }

    /** {@return a function of a status whose result is the address of a text} */
    MethodHandle functionOfText(String name) {
        return function(name, FunctionDescriptor.of(ValueLayout.JAVA_LONG, ValueLayout.JAVA_INT));
    }

    private MethodHandle function(String name, FunctionDescriptor type) {
        return Linker.nativeLinker().downcallHandle(
                symbols.find(name).orElseThrow(() -> new UnsatisfiedLinkError(file + " has no function " + name
                        + ": it is older than what Octet needs")), type);
    }

    /** {@return what to throw for something that came out of a downcall, unless it can be thrown as it is} */
    public static RuntimeException unexpected(Throwable t) {
        if (t instanceof RuntimeException e) {
            throw e;
        }
        if (t instanceof Error e) {
            throw e;
        }
        return new IllegalStateException(t); // a downcall throws nothing that is checked
    }
}
