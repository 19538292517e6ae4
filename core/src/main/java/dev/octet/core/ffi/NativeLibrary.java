package dev.octet.core.ffi;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A module's native library, {@code liboctet_MODULE.so}, if it can be used here, else the reason why not. Opening one
 * never throws.
 *
 * <p><b>Where it comes from.</b> The module's Maven build compiles the C files in its folder {@code src/main/c}, each
 * for the instruction set that ends its name ({@code gemm_avx512bf16.c}), with {@code core/src/main/native/build.sh},
 * and packs the library into a jar with a classifier of its own, for example
 * {@code octet-fp8-VERSION-linux-x86_64.jar}. A module needs nothing for this but the folder and a function
 * {@code octet_abi}. Looked for are, in this order,
 * <ol>
 *   <li>the folders in the system property {@code octet.native.path}, and {@code META-INF/octet/PLATFORM} in each: the
 *       tests and the launcher name the build's {@code target/native} so;
 *   <li>the resource {@code META-INF/octet/PLATFORM/liboctet_MODULE.so} of the class path. It is copied to a private
 *       temporary file, compared, loaded, and deleted.
 * </ol>
 *
 * <p><b>Which instruction sets.</b> {@link #best} asks the processor and the operating system. The property
 * {@code octet.native.level} (such as {@code avx2}) sets a limit, and {@code octet.native=false} switches native
 * libraries off.
 *
 * <p><b>How it is called.</b> {@link #function} makes a method handle once; keep it in a static final field and call
 * it with {@code invokeExact}. Functions take addresses, from {@code MemorySegment.address()}, as longs: nothing on the
 * native side checks them, so callers check shapes and lifetimes before, and keep the memory reachable until after the
 * call. Native code keeps the JVM's garbage collector waiting only if the handle was made as critical.
 *
 * <p>Libraries stay loaded until the JVM ends. Safe for use by several threads.
 */
public final class NativeLibrary {
    private static final String PATH = "octet.native.path";
    private static final String LEVEL = "octet.native.level";
    private static final String SWITCH = "octet.native";
    /** A downcall costs 7 ns in this form, and 2 ns as critical, on a Zen 5; see benchmarks/docs/native-gemm.md. */
    private static final Linker.Option[] ORDINARY = {};
    private static final Linker.Option[] CRITICAL = {Linker.Option.critical(false)};

    private static final String ELSEWHERE = "unpack the library's jar and name the folder in the property " + PATH
            + ", or name another folder for temporary files in java.io.tmpdir";
    private static final String AGAIN = "build it again, or take the jar again";
    /** Of a 64-bit ELF file: the header's size, its first bytes, and where the table of sections is described. */
    private static final int ELF_HEADER = 64;
    private static final int ELF_MAGIC = 0x464C457F;
    private static final int ELF_SECTIONS = 0x28;
    private static final int ELF_SECTION_BYTES = 0x3A;
    private static final int ELF_SECTION_COUNT = 0x3C;

    private final String name;
    private final @Nullable SymbolLookup symbols;
    private final String origin;
    private final @Nullable String reason;
    private final Set<InstructionSet> supported;

    private NativeLibrary(String name, @Nullable SymbolLookup symbols, String origin, @Nullable String reason,
            Set<InstructionSet> supported) {
        this.name = name;
        this.symbols = symbols;
        this.origin = origin;
        this.reason = reason;
        this.supported = supported;
    }

    /**
     * Finds and loads a library. A library that is there and can't be used is reported on the logger {@code dev.octet};
     * one that is not there is not, since nobody has to have it.
     *
     * @param owner a class of the module, by whose class loader the resource is looked for
     * @param module the module's short name, for example {@code fp8}
     * @param abi what the library's {@code octet_abi()} has to return
     * @return the library, usable or not
     */
    public static NativeLibrary open(Class<?> owner, String module, int abi) {
        String file = "liboctet_" + module + ".so";
        if ("false".equals(System.getProperty(SWITCH))) {
            return unusable(file, SWITCH + "=false");
        }
        String platform = platform();
        if (platform == null) {
            return unusable(file, "there are no native kernels for " + System.getProperty("os.name") + " on "
                    + System.getProperty("os.arch"));
        }
        String resource = "META-INF/octet/" + platform + "/" + file;
        try {
            for (String folder : System.getProperty(PATH, "").split(java.io.File.pathSeparator)) {
                for (Path candidate : new Path[] {Path.of(folder, file), Path.of(folder, resource)}) {
                    if (!folder.isEmpty() && Files.isRegularFile(candidate)) {
                        return load(file, candidate.toAbsolutePath(), candidate.toString(), abi);
                    }
                }
            }
            ClassLoader loader = owner.getClassLoader();
            try (InputStream in = loader == null ? null : loader.getResourceAsStream(resource)) {
                if (in != null) {
                    return loadCopy(file, in.readAllBytes(), resource, abi);
                }
            }
        } catch (IOException | RuntimeException | LinkageError e) {
            String why = file + " can't be loaded: " + (e instanceof Unusable ? e.getMessage() : e.toString());
            System.getLogger("dev.octet").log(System.Logger.Level.WARNING, why + "; slower kernels run instead");
            return unusable(file, why);
        }
        return unusable(file, file + " is neither in " + PATH + " nor on the class path: add the jar with classifier "
                + platform + " of octet-" + module + ", or build with a C compiler");
    }

    private static NativeLibrary unusable(String file, String reason) {
        return new NativeLibrary(file, null, "", reason, EnumSet.noneOf(InstructionSet.class));
    }

    private static @Nullable String platform() {
        if (!System.getProperty("os.name", "").startsWith("Linux")) {
            return null;
        }
        return switch (System.getProperty("os.arch", "").toLowerCase(Locale.ROOT)) {
            case "amd64", "x86_64" -> "linux-x86_64";
            case "aarch64", "arm64" -> "linux-aarch64";
            default -> null;
        };
    }

    /** A library that is there, can't be used, and the message says what to do about it. */
    private static final class Unusable extends RuntimeException {
        @java.io.Serial
        private static final long serialVersionUID = 1;

        Unusable(String message, @Nullable Throwable cause) {
            super(message, cause);
        }
    }

    private static NativeLibrary loadCopy(String file, byte[] content, String origin, int abi) throws IOException {
        String temporary = System.getProperty("java.io.tmpdir", "");
        Path folder;
        try {
            folder = Files.createTempDirectory(Path.of(temporary), "octet-",
                    PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        } catch (IOException e) {
            throw new Unusable("it has to be copied to a file, and the folder for temporary files, " + temporary
                    + ", takes none (" + e + "): " + ELSEWHERE, e);
        }
        Path copy = folder.resolve(file);
        try {
            Files.write(copy, content);
            if (!Arrays.equals(Files.readAllBytes(copy), content)) {
                throw new IOException(copy + " does not hold what was written to it");
            }
            return load(file, copy, origin, abi);
        } catch (IOException e) {
            throw new Unusable("it can't be copied to " + copy + " (" + e + "): " + ELSEWHERE, e);
        } finally { // Linux keeps a mapped file until nobody maps it any more
            Files.deleteIfExists(copy);
            Files.deleteIfExists(folder);
        }
    }

    /** The system's loader trusts a file's tables, and a process that touches a page beyond its end is killed. */
    private static void requireWhole(Path path, String origin) throws IOException {
        ByteBuffer header = ByteBuffer.allocate(ELF_HEADER).order(ByteOrder.LITTLE_ENDIAN);
        long size;
        try (FileChannel channel = FileChannel.open(path)) {
            size = channel.size();
            while (header.hasRemaining() && channel.read(header) >= 0) {
                continue;
            }
        }
        if (header.hasRemaining() || header.getInt(0) != ELF_MAGIC) {
            throw new Unusable(origin + " is not a library of this system: " + AGAIN, null);
        }
        // The table of sections is the last thing in a file.
        long end = header.getLong(ELF_SECTIONS) + (long) Short.toUnsignedInt(header.getShort(ELF_SECTION_BYTES))
                * Short.toUnsignedInt(header.getShort(ELF_SECTION_COUNT));
        if (end < ELF_HEADER || end > size) {
            throw new Unusable(origin + " is cut off: it has " + size + " bytes of " + end + "; " + AGAIN, null);
        }
    }

    @SuppressWarnings("restricted") // the module is run with --enable-native-access
    private static NativeLibrary load(String file, Path path, String origin, int abi) throws IOException {
        requireWhole(path, origin);
        SymbolLookup symbols;
        try {
            symbols = SymbolLookup.libraryLookup(path, Arena.global());
        } catch (IllegalArgumentException e) {
            throw new Unusable("the system does not load " + path + " (" + e.getMessage()
                    + "): if programs may not be run from that folder (noexec), " + ELSEWHERE + "; else " + AGAIN, e);
        } catch (IllegalCallerException e) {
            throw new Unusable("native access is denied (" + e.getMessage() + "): start Java with"
                    + " --enable-native-access=ALL-UNNAMED, or =dev.octet.core on the module path", e);
        }
        if (symbols.find("octet_abi").isEmpty() || symbols.find("octet_cpu_sets").isEmpty()) {
            throw new Unusable(origin + " is not a library of Octet: " + AGAIN, null);
        }
        int found = callInt(symbols, "octet_abi");
        if (found != abi) {
            throw new Unusable(origin + " has interface " + found + ", these classes need " + abi
                    + ": take the library of the same version", null);
        }
        int bits = callInt(symbols, "octet_cpu_sets");
        String limit = System.getProperty(LEVEL);
        Set<InstructionSet> sets = EnumSet.noneOf(InstructionSet.class);
        for (InstructionSet s : InstructionSet.values()) {
            if ((bits >> s.ordinal() & 1) != 0 && (limit == null || parse(limit).allows(s))) {
                sets.add(s);
            }
        }
        return new NativeLibrary(file, symbols, origin, null, sets);
    }

    private static InstructionSet parse(String level) {
        for (InstructionSet s : InstructionSet.values()) {
            if (s.id().equals(level)) {
                return s;
            }
        }
        throw new Unusable(LEVEL + " is '" + level + "', it takes avx2, avx512, avx512_bf16, amx, neon or neon_bf16",
                null);
    }

    private static int callInt(SymbolLookup symbols, String function) {
        try {
            return (int) handle(symbols, function, FunctionDescriptor.of(ValueLayout.JAVA_INT), ORDINARY).invokeExact();
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    @SuppressWarnings("restricted")
    private static MethodHandle handle(SymbolLookup symbols, String function, FunctionDescriptor descriptor,
            Linker.Option[] options) {
        return Linker.nativeLinker().downcallHandle(symbols.findOrThrow(function), descriptor, options);
    }

    /** {@return empty if the library is loaded, else why not and what would help} */
    public Optional<String> unavailable() {
        return Optional.ofNullable(reason);
    }

    /**
     * {@return the best of some instruction sets that can be used here, empty if none can or the library is not there}
     *
     * @param compiled those that the module has kernels for
     */
    public Optional<InstructionSet> best(InstructionSet... compiled) {
        return Arrays.stream(compiled).filter(supported::contains).max(Enum::compareTo);
    }

    /** {@return the sets that this processor and system support, up to the limit; none if the library is not there} */
    public Set<InstructionSet> supported() {
        return Set.copyOf(supported);
    }

    /**
     * Prepares calls of a function.
     *
     * @param function its name
     * @param descriptor its C type
     * @return a handle for {@code invokeExact}
     * @throws IllegalStateException if the library is not there
     * @throws java.util.NoSuchElementException if it has no such function
     */
    public MethodHandle function(String function, FunctionDescriptor descriptor) {
        return handle(loaded(), function, descriptor, ORDINARY);
    }

    /**
     * The same for a function that returns within about a microsecond and calls nothing: while it runs the garbage
     * collector has to wait for it.
     *
     * @param function its name
     * @param descriptor its C type
     * @return a handle for {@code invokeExact}
     */
    public MethodHandle shortFunction(String function, FunctionDescriptor descriptor) {
        return handle(loaded(), function, descriptor, CRITICAL);
    }

    private SymbolLookup loaded() {
        if (symbols == null) {
            throw new IllegalStateException(name + " is not loaded: " + reason);
        }
        return symbols;
    }

    /** {@return the file's name, and where it was found or why it was not} */
    @Override
    public String toString() {
        return reason == null ? name + " from " + origin : name + ": " + reason;
    }
}
