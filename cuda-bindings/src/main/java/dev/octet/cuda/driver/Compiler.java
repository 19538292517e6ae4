package dev.octet.cuda.driver;

import dev.octet.cuda.KernelSource;
import java.util.List;

/** What turns CUDA C++ into machine code. */
public interface Compiler {
    /**
     * What came of a compilation.
     *
     * @param image the CUBIN
     * @param log what the compiler printed
     */
    record Result(byte[] image, String log) {}

    /** {@return its version, for example {@code 13.1}: another version may make other code of the same source} */
    String version();

    /** {@return where it lies} */
    String file();

    /**
     * Compiles.
     *
     * @throws dev.octet.cuda.KernelCompileException if the source or an option is refused
     */
    Result compile(KernelSource source, List<String> options);
}
